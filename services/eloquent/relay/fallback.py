"""The edge's side of the path to the origin relay by whichever carrier works: UDP, and TCP where UDP is blocked.

Rules of this file
- UDP first. When nothing is heard over it for `PATIENCE` though something is awaited, TCP is tried beside it, and carries new
  streams when it is up and UDP is still silent. A UDP that has worked before gets `GRACE` more: what was broken may have been
  the whole path, and then both come back at once.
- While TCP carries, UDP is tried now and then, more rarely each time that it does not last; when it answers, it carries new
  streams, and TCP ends what it has begun.
- A way that has died is given up without a word, so that the origin relay keeps its answers for whoever comes for them: each
  answer asks for its rest by the other way (`EdgeAnswer`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from eloquent import telemetry
from eloquent.relay.uplink import CarrierName, RelayedAnswer, Uplink

PATIENCE = 2.0  # seconds of silence after which a way is in doubt
GRACE = 2.5  # seconds for which TCP is up and UDP, which worked before, is still silent: an initiation's pause and some round trips
TRIAL = 5.0  # seconds that UDP has to answer while TCP carries
RETRY_PAUSE = 60.0  # seconds from UDP's failure to its next trial, doubled at each that fails
MAX_RETRY_PAUSE = 600.0  # seconds
_TURN = 0.1  # seconds between two looks at the ways

_log = logging.getLogger(__name__)


Opener = Callable[[], Awaitable[Uplink]]
"""Opens a way, or raises OSError."""


class FallbackUplink:
    """Two ways to the origin relay, one of which new streams take; `turn` is to be called every so often.

    Args:
        udp: The way over UDP, which is open already.
        openers: How each is opened.
        metrics: What is counted.
        now: Seconds.

    Attributes:
        carrier: Which new streams take.
    """

    def __init__(
        self, udp: Uplink, openers: Mapping[CarrierName, Opener], metrics: telemetry.UplinkMetrics, *, now: float
    ) -> None:
        self.carrier = CarrierName.UDP
        self._openers = openers
        self._metrics = metrics
        self._ways = {CarrierName.UDP: udp}
        self._closed: list[Uplink] = []
        self._doubted_at: float | None = None  # seconds; since when the other way is up and this one silent
        self._changed_at = float("-inf")  # seconds; when the carrier was taken
        self._tried_at = now  # seconds; when the other one was opened
        self._pause = RETRY_PAUSE
        self._retry_at = float("inf")  # seconds; when UDP is tried though TCP works
        self._is_reported = False  # that neither way answers
        self._show()

    def open(self, request: bytes, *, scheme: str) -> RelayedAnswer:
        """Send a request by the carrier of new streams, and return its answer (`Uplink.open`)."""
        return self._ways[self.carrier].open(request, scheme=scheme)

    async def watch(self, metrics: telemetry.UplinkMetrics) -> None:
        """Keep to a way that works, and the metrics up to date that no event reports, for ever."""
        while True:
            await self.turn(now=asyncio.get_running_loop().time())
            metrics.sessions.set(sum(way.sessions for way in self._ways.values()))
            for way in (self._ways.get(self._other), self._ways[self.carrier]):
                if way is not None:
                    way.show(metrics)
            await asyncio.sleep(_TURN)

    async def turn(self, *, now: float) -> None:
        """Look at both ways, and do what is to be done.

        Args:
            now: Seconds.
        """
        for way in self._ways.values():
            way.say_hello()
        is_silent = self._ways[self.carrier].silence(now) >= PATIENCE
        other = self._ways.get(self._other)
        self._report(other, now, is_silent=is_silent)
        if other is None:
            is_due = now >= self._tried_at + PATIENCE if is_silent else now >= self._retry_at
            if is_due:
                await self._try(now)
        elif self._is_better(other, now, is_silent=is_silent):
            self._change(now, is_silent=is_silent)
        elif not is_silent:
            self._tidy(other, now)

    def close(self) -> None:
        """Close both ways."""
        for way in self._ways.values():
            way.close()

    async def wait_closed(self) -> None:
        """Wait until they are."""
        for way in self._ways.values():
            await way.wait_closed()

    @property
    def _other(self) -> CarrierName:
        return CarrierName.TCP if self.carrier is CarrierName.UDP else CarrierName.UDP

    async def _try(self, now: float) -> None:
        """Open the other way, which asks for a sign of life."""
        self._tried_at, self._doubted_at = now, None
        try:
            self._ways[self._other] = await self._openers[self._other]()
        except OSError as error:
            _log.debug("= no way over %s: %s", self._other.upper(), error)
            self._put_off(now)

    def _is_better(self, other: Uplink, now: float, *, is_silent: bool) -> bool:
        """Return whether the other way is to carry new streams."""
        if other.heard_at is None or other.silence(now) >= PATIENCE:
            self._doubted_at = None
            return False
        if self.carrier is CarrierName.TCP:
            return True
        if not is_silent:
            self._doubted_at = None
            return False
        if self._doubted_at is None:
            self._doubted_at = now
        has_worked = self._ways[self.carrier].heard_at is not None
        return now - self._doubted_at >= (GRACE if has_worked else 0.0)

    def _change(self, now: float, *, is_silent: bool) -> None:
        before = self.carrier
        self.carrier = self._other
        if before is CarrierName.UDP:
            lasted = now - self._changed_at
            self._pause = RETRY_PAUSE if lasted >= self._pause else min(2 * self._pause, MAX_RETRY_PAUSE)
        self._retry_at = now + self._pause if before is CarrierName.UDP else float("inf")
        self._changed_at, self._doubted_at = now, None
        if is_silent:
            self._ways.pop(before).abandon(f"nothing is heard over {before.upper()}")
            _log.warning("nothing is heard over %s: answers come over %s", before.upper(), self.carrier.upper())
        else:
            _log.info("%s works: new answers come over it", self.carrier.upper())
        self._metrics.carrier_changes.labels(self.carrier).inc()
        self._show()

    def _tidy(self, other: Uplink, now: float) -> None:
        """End a way that is not wanted any more."""
        if self.carrier is CarrierName.UDP:
            if other.silence(now) >= PATIENCE + GRACE:
                self._ways.pop(CarrierName.TCP).abandon("nothing is heard over TCP")
            elif other.is_idle:
                self._ways.pop(CarrierName.TCP).close()
        elif now >= self._tried_at + TRIAL:
            self._ways.pop(CarrierName.UDP).close()
            self._put_off(now)

    def _put_off(self, now: float) -> None:
        """Try UDP later."""
        self._pause = min(2 * self._pause, MAX_RETRY_PAUSE)
        self._retry_at = now + self._pause

    def _report(self, other: Uplink | None, now: float, *, is_silent: bool) -> None:
        """Say that neither way answers, and that one does again."""
        is_lost = is_silent and other is not None and other.silence(now) >= PATIENCE
        if is_lost and not self._is_reported:
            _log.warning("the origin relay answers neither over UDP nor over TCP; questions wait for it")
        elif self._is_reported and not is_silent:
            _log.warning("the origin relay answers")
        self._is_reported = is_lost or (self._is_reported and is_silent)

    def _show(self) -> None:
        for carrier in CarrierName:
            self._metrics.carrier.labels(carrier).set(carrier is self.carrier)
