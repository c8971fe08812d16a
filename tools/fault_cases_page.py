"""docs/guide/faults.md from benchmarks/results/faults/*.json: what two servers did with the same 40 cases.

python -m tools.fault_cases_page [--check]
"""

import json
import re
import sys
from typing import Any

from tools.generated import ROOT, keep_up_to_date

RESULTS = ROOT / "benchmarks" / "results" / "faults"
PAGE = ROOT / "docs" / "guide" / "faults.md"
TOUCHED = ("the canary was read", "a connection was opened", "a UDP port was opened")
_BODY = re.compile(r"(\b\d{3}) [{].*?(?=; memory|; /health|; Retry-After|; the canary|; a connection|; a UDP|$)")
"""A status and the body of its answer, up to what was noted beside it."""

INTRODUCTION = """\
<!-- Written by `python -m tools.fault_cases_page` from benchmarks/results/faults; do not edit. -->

# Bad input and faults

Forty cases of what reaches a server sooner or later: files that are no audio, headers that lie, callers without a key,
clients that leave, processes that die. Here they are posed from outside, by URL, to Harken and to another open server,
with the same program, in the shape of OpenAI's API:

```bash
python -m tools.fault_cases --url URL --name NAME --pid PID --out benchmarks/results/faults/NAME.json
```

*As asked* means: a status of the client's (4xx) for what is the client's fault, 503 with `Retry-After` for too much,
no file or socket opened that an upload names, memory that rises by less than 64 MiB, and a server that lives
afterwards. Other answers are shown by their status alone: 200 where the file was transcribed.

The cases were written for Harken, whose tests pose every one of them (`tests/serving/faults`); another server never
promised these answers, and many of them matter only where strangers can send files.
"""

READING = """\
## Reading it

Both servers were given a key and limits where they have a setting for one; everything else was left as it is. The
other server heard with a randomly initialised Whisper, small but of the usual layout, because the cases are about
robustness and not about text; a real one is slower. It was bound to loopback, and its optional parts for other
engines were not installed. The machine was busy with other work, so that times tell seconds from minutes and no more.

A reverse proxy in front catches some of this for any server: bodies over a size, slow bodies, wrong lengths, rates,
and connections. It does not look into audio: playlists, forged headers, and hours of Opus in a megabyte get through.
An answer of 500 where 400 was asked is a nuisance rather than a danger: the file is refused all the same. So is a
text for a file that is too short, damaged or oddly described. A file of the server that an upload makes it read, and
an event loop that waits for the model, so that health checks fail meanwhile, are another matter. A flood is
bounded by both: Harken lets the sender wait, WhisperLive forgets the oldest audio.

Where a case is *not posed*, a URL is not enough to pose it, and of case 40 only the addresses were: redirects and
rebinding need a name server. Harken's column stands on its tests there.
"""


def page(results: list[dict[str, Any]]) -> str:
    """The whole page; the same results give the same text. The first server's cases give the rows."""
    lines = [INTRODUCTION, "## Servers", "", "| Server | As asked | Otherwise | Not offered or posed | Measured |"]
    lines += ["|---|---|---|---|---|", *(_summary(result) for result in results), ""]
    lines += [f"**{result['server']}**: {result['started']}\n" for result in results]
    lines += ["## The cases", "", f"| | Case | {' | '.join(result['server'] for result in results)} |"]
    lines += ["|---|---|" + "---|" * len(results)]
    for number, case in enumerate(results[0]["cases"]):
        cells = [_outcome(result["cases"][number]) for result in results]
        lines.append(f"| {case['number']} | {_cell(case['name'])} | {' | '.join(cells)} |")
    machines = "; ".join(_machine(result) for result in results)
    return "\n".join([*lines, "", READING, f"<small>{machines}.</small>"]) + "\n"


def _summary(result: dict[str, Any]) -> str:
    verdicts = [case["verdict"] for case in result["cases"]]
    asked = verdicts.count("as asked")
    otherwise = sum(verdict.startswith("answers otherwise") for verdict in verdicts)
    measured = result["measured"][:10]
    return f"| {result['server']} | {asked} | {otherwise} | {len(verdicts) - asked - otherwise} | {measured} |"


def _outcome(case: dict[str, Any]) -> str:
    """As asked, or each thing that was not, what is worst first; bodies of answers are left to the results."""
    verdict = str(case["verdict"])
    if not verdict.startswith("answers otherwise"):
        return verdict
    others = sorted((each for each in case["poses"] if not each["as_asked"]), key=_is_touched, reverse=True)
    alone = len(case["poses"]) == 1
    said = [("" if alone else f"{each['what']}: ") + _BODY.sub(r"\1", each["outcome"]) for each in others]
    said += ["afterwards `/health` did not answer within 10 s"] if not case.get("alive", True) else []
    said += ["it had to be started anew"] if not case.get("came_back", True) else []
    return "; ".join(_cell(each) for each in said)


def _is_touched(each: dict[str, Any]) -> bool:
    return any(word in each["outcome"] for word in TOUCHED)


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    load = machine["load_average"][0]
    return f"{machine['cores']} cores of {machine['cpu']}, load average {load} at the end of {result['server']}"


def _cell(text: str) -> str:
    """Text as it is, in a cell of a table."""
    for letter, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " "), ("_", "\\_")):
        text = text.replace(letter, shown)
    for letter in "*[]":
        text = text.replace(letter, f"\\{letter}")
    return text


def read() -> list[dict[str, Any]]:
    """Harken first."""
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: (path.stem != "harken", path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def main() -> int:
    return keep_up_to_date({PAGE: page(read())}, check="--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
