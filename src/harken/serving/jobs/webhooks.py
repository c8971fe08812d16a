"""Tells webhooks that a job has ended: signed, tried again for a day, never sent to a private address.

A message is signed as Stripe's webhooks are: `X-Harken-Signature: t=UNIX_TIME,v1=HEX`, where HEX is the HMAC-SHA256 of
`UNIX_TIME.BODY` with the secret. Who checks it also refuses an old time, so that a recorded message cannot be replayed.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable

from harken.core import HarkenError
from harken.http.outbound import Outbound, RefusedAddress
from harken.storage.deliveries import Delivery, DeliveryQueue

FIRST_RETRY_S, LONGEST_RETRY_S, MOST_ATTEMPTS = 10.0, 3_600.0, 30  # about a day in all
LEASE_S = 180.0  # more than any attempt takes
POLL_S = 1.0
AT_ONCE = 4  # so that a slow receiver holds up nobody else

logger = logging.getLogger(__name__)


def signature(secret: str, body: bytes, *, at_s: int) -> str:
    """The value of `X-Harken-Signature` for a body sent at a Unix time."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class WebhookSender:
    """Sends what is due, `AT_ONCE` messages at a time, until cancelled."""

    def __init__(
        self,
        deliveries: DeliveryQueue,
        outbound: Outbound,
        secret: str,
        *,
        clock: Callable[[], float] = time.time,
        poll_s: float = POLL_S,
    ) -> None:
        self._deliveries, self._outbound, self._secret, self._clock = deliveries, outbound, secret, clock
        self._poll_s = poll_s
        self._waits = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._loop())

    async def _loop(self) -> None:
        while True:
            try:
                sent = await self.send_next()
                self._waits = False
            except HarkenError as err:
                if not self._waits:  # once an outage, not at every look
                    logger.warning("webhooks wait: %s", err)
                self._waits, sent = True, False
            except Exception:  # one message must not end those of all others
                logger.exception("webhooks wait")
                sent = False
            if not sent:
                await asyncio.sleep(self._poll_s)

    async def send_next(self) -> bool:
        """Send one message, or note why it did not arrive; False when none is due."""
        delivery = await self._deliveries.calls.run(self._deliveries.claim, lease_s=LEASE_S)
        if delivery is None:
            return False
        body = delivery.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Harken",
            "X-Harken-Delivery": delivery.id,
            "X-Harken-Signature": signature(self._secret, body, at_s=int(self._clock())),
        }
        try:
            await self._outbound.post(delivery.url, body, headers)
        except Exception as err:  # noqa: BLE001 (whatever it is, the next message is sent)
            if not isinstance(err, HarkenError):
                logger.exception("webhook of job %s", delivery.job_id)
            retry_in_s = None if isinstance(err, RefusedAddress) else next_retry_s(delivery)
            logger.warning("webhook of job %s, attempt %d: %s", delivery.job_id, delivery.attempt, err)
            await self._deliveries.calls.run(self._deliveries.failed, delivery, str(err), retry_in_s=retry_in_s)
        else:
            await self._deliveries.calls.run(self._deliveries.done, delivery)
        return True


def next_retry_s(delivery: Delivery) -> float | None:
    """Seconds until the next attempt, doubling up to an hour; None after the last one."""
    if delivery.attempt >= MOST_ATTEMPTS:
        return None
    return min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(delivery.attempt - 1, 20))
