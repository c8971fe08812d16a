"""A worker that the tests kill: claims items, takes a moment for each, and notes every result it could write.

Run as: python queue_worker.py DATABASE_URL NAME NOTES
"""

import os
import sys
import time

from harken.storage.database import Database
from harken.storage.jobs import JobQueue

LEASE_S = 1.0


def main(url: str, name: str, notes: str) -> None:
    queue = JobQueue(Database.open(url), max_attempts=1000)
    log = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        claim = queue.claim(name, ["squares"], lease_s=LEASE_S)
        if claim is None:
            time.sleep(0.02)
            continue
        time.sleep(0.005)
        result = {"square": claim.payload["n"] ** 2, "by": name, "attempt": claim.attempt}
        if queue.complete(claim, result):
            os.write(log, f"{claim.position}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
