"""What pages do at an origin relay, brought to the metrics page."""

from collections import Counter

from eloquent import telemetry
from eloquent.relay.origin import Origin
from eloquent.relay.quic.webtransport import WebTransport


class PageCounts:
    """What was counted of pages, up to the latest look.

    Args:
        pages: The pages.
        origin: Answers them.
        metrics: Where it is shown.
    """

    def __init__(self, pages: WebTransport, origin: Origin, metrics: telemetry.PageMetrics) -> None:
        self._account = pages.account
        self._origin = origin
        self._metrics = metrics
        self._refused: Counter[str] = Counter()
        self._begun = 0

    def look(self) -> None:
        """Bring the metrics up to date."""
        account, metrics = self._account, self._metrics
        metrics.connections.set(account.connections)
        metrics.sessions.set(account.sessions)
        metrics.answers.set(self._origin.strangers_answers)
        metrics.begun_sessions.inc(account.begun - self._begun)
        self._begun = account.begun
        for reason, count in (account.refused - self._refused).items():
            metrics.refusals.labels(reason).inc(count)
        self._refused = account.refused.copy()
