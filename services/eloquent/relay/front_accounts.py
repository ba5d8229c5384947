"""What the clients of an edge relay get, counted as docs/measures.md has it: stalls, waits and outcomes.

Rules of this file
- An event is a token here, whatever is in it, and is rendered when it is given to the client's connection.
- A gap counts for what carried the event before it: if that path died, the stall that followed is its own.
- What is done at each event is little: plain numbers, which the metrics page reads when it is asked for.
"""

from collections.abc import Callable

from eloquent import telemetry
from eloquent.relay.gaps import count_gap
from eloquent.relay.uplink import CarrierName


class FrontAccounts:
    """Counts for all clients of a front.

    Args:
        metrics: Where it is counted.
        time: Tells the seconds of the loop's clock.

    Attributes:
        metrics: The same.
    """

    def __init__(self, metrics: telemetry.FrontMetrics, *, time: Callable[[], float]) -> None:
        self.metrics = metrics
        self._time = time
        self._open: dict[ClientAccount, None] = {}
        metrics.active_streams.set_function(lambda: len(self._open))
        metrics.longest_wait.set_function(self._longest_wait)

    def begin(self, scheme: str) -> "ClientAccount":
        """Begin to count for a client's request.

        Args:
            scheme: Name of the scheme that carries its answer.
        """
        account = ClientAccount(self.metrics, scheme, time=self._time)
        self._open[account] = None
        return account

    def end(self, account: "ClientAccount", *, resumptions: int) -> None:
        """Count an answer that is over.

        Args:
            account: Its account, which tells the outcome.
            resumptions: How often it was asked for again, from where it was.
        """
        del self._open[account]
        self.metrics.answers.labels(account.outcome).inc()
        self.metrics.resumed_answers.inc(resumptions)

    def _longest_wait(self) -> float:
        """Return the seconds that the most patient client has waited; called by the thread that shows the metrics."""
        since = [account.waits_since for account in tuple(self._open) if account.is_event_stream]
        return max(self._time() - min(since), 0.0) if since else 0.0


class ClientAccount:
    """Counts for one client's answer.

    Args:
        metrics: Where it is counted.
        scheme: Name of the scheme that carries it.
        time: Tells the seconds of the loop's clock.

    Attributes:
        outcome: How it ended, as `eloquent_answers_total` has it; until that is known, its client has left.
        waits_since: Seconds; when its client got the latest event, or asked.
        is_event_stream: Whether it is known to be one.
    """

    __slots__ = ("_carrier", "_metrics", "_scheme", "_tally", "_time", "is_event_stream", "outcome", "waits_since")

    def __init__(self, metrics: telemetry.FrontMetrics, scheme: str, *, time: Callable[[], float]) -> None:
        self.outcome = "left"
        self.waits_since = time()
        self.is_event_stream = False
        self._metrics = metrics
        self._scheme = scheme
        self._time = time
        self._carrier: CarrierName | None = None  # of the latest event
        self._tally: telemetry.GapTally | None = None  # for what it carries

    def take(self, events: list[bytes], carrier: CarrierName) -> None:
        """Count events that the client gets at this moment.

        Args:
            events: What comes together.
            carrier: What brought it.
        """
        number = len([event for event in events if event[:1] != b":"])  # comments are for those on the way
        if not number:
            return
        now = self._time()
        if self._tally is None:
            self._metrics.time_to_first_token.labels(self._scheme, carrier).observe(now - self.waits_since)
        else:
            count_gap(self._tally, self.waits_since, now)
        if self._tally is None or carrier is not self._carrier:
            self._carrier, self._tally = carrier, self._metrics.gaps(self._scheme, carrier)
        if number > 1:
            self._tally.add_together(number - 1)
        self.waits_since = now
