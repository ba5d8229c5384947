"""What an origin relay counts, for those who operate it: how its model server fares, what answers cost, what paths do.

Rules of this file
- A gap of the model is the time between two events of an answer as they come from the model server. While an edge does not
  read, the model is not read either, and the gap is not its own: `eloquent_unacked_tokens` tells.
- No word of a request or of an answer is looked at, but for the status and type that its head names.
- What is done at each event is little; all else is sampled.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from math import nan
from statistics import median_low

from eloquent import telemetry
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.contract import StreamAccount
from eloquent.relay.driver_counts import DriverCounts
from eloquent.relay.exchange import decode_head
from eloquent.relay.gaps import count_gap
from eloquent.relay.journal import outcome_of
from eloquent.relay.observers import OriginObserver
from eloquent.relay.origin import Origin
from eloquent.relay.origin_streams import OriginAnswer, OriginStream, StreamEnd
from eloquent.relay.quic.page_counts import PageCounts
from eloquent.relay.upstreams.http import HttpUpstream

SAMPLE_INTERVAL = 0.5  # seconds between two looks
_STATUSES = frozenset(str(status.value) for status in HTTPStatus)
_OUTCOMES = {"complete": "ok"}  # of the journal, as metrics say it


@dataclass(eq=False, slots=True)
class _Model:
    """How the model fares with one answer.

    Attributes:
        is_event_stream: Whether it is one, by its head.
        latest_s: Seconds of the loop's clock; when its latest event came, or it was asked.
        has_begun: Whether an event came.
    """

    is_event_stream: bool
    latest_s: float
    has_begun: bool = False


class ModelAccounts(OriginObserver):
    """Counts what comes from the model server, and what becomes of it.

    Args:
        metrics: Where that is counted.
        time: Tells the seconds of the loop's clock.

    Attributes:
        metrics: The same.
    """

    def __init__(self, metrics: telemetry.ModelMetrics, *, time: Callable[[], float]) -> None:
        self.metrics = metrics
        self._gaps = metrics.gaps
        self._time = time
        self._models: dict[OriginAnswer, _Model] = {}
        self._counted: dict[OriginStream, StreamAccount] = {}
        metrics.longest_wait.set_function(self._longest_wait)

    def on_begin(self, stream: OriginStream) -> None:
        """See `OriginObserver`."""
        if stream.is_resumed:
            self.metrics.resumed_answers.inc()

    def on_token(self, answer: OriginAnswer, token: bytes) -> None:
        """See `OriginObserver`."""
        model = self._models.get(answer)
        if model is None:
            self._models[answer] = self._begin(answer, token)
        elif model.is_event_stream and token[:1] != b":":  # comments are for those on the way
            now, before = self._time(), model.latest_s
            model.latest_s = now
            if model.has_begun:
                count_gap(self._gaps, before, now)
            else:
                model.has_begun = True
                self.metrics.first_event.observe(now - before)

    def on_end(self, stream: OriginStream, event: StreamEnd | None) -> None:  # noqa: ARG002 - however it ended
        """See `OriginObserver`."""
        self.count(stream)
        del self._counted[stream]

    def count(self, stream: OriginStream) -> None:
        """Bring the metrics of a stream's cost up to date."""
        before, after = self._counted.get(stream, StreamAccount()), stream.account
        labels = "", stream.scheme  # no client: whoever has the key may ask for whom he likes
        self.metrics.original_bytes.labels(*labels).inc(after.original_bytes - before.original_bytes)
        self.metrics.redundant_bytes.labels(*labels).inc(after.redundant_bytes - before.redundant_bytes)
        self.metrics.wire_bytes.labels(*labels).inc(after.wire_bytes - before.wire_bytes)
        self._counted[stream] = replace(after)

    def on_over(self, answer: OriginAnswer) -> None:
        """See `OriginObserver`."""
        self._models.pop(answer, None)
        outcome = outcome_of(answer)
        self.metrics.answers.labels(_OUTCOMES.get(outcome, outcome)).inc()

    def _begin(self, answer: OriginAnswer, head: bytes) -> _Model:
        try:
            decoded = decode_head(head)
        except RemoteProtocolError:
            return _Model(is_event_stream=False, latest_s=answer.began)
        self.metrics.responses.labels(telemetry.closed(str(decoded.status), _STATUSES)).inc()
        return _Model(decoded.is_event_stream, answer.began)

    def _longest_wait(self) -> float:
        """Return the seconds that the model has been silent for longest; called by the thread that shows the metrics."""
        models = tuple(self._models.items())  # at once: answers go on
        waits = [model.latest_s for answer, model in models if model.is_event_stream and answer.log.trailer is None]
        return max(self._time() - min(waits), 0.0) if waits else 0.0


class OriginWatch:
    """Looks every so often at what no event reports.

    Args:
        origin: The origin relay, with its servers.
        upstream: Asks the model server for it.
        accounts: Counts what streams cost.
        sessions: Metrics of the sessions and their datagrams.
        paths: Metrics of the paths to edges.
        pages: Brings what pages do to their metrics; None where there are none.
    """

    def __init__(
        self,
        origin: Origin,
        upstream: HttpUpstream,
        accounts: ModelAccounts,
        *,
        sessions: telemetry.SessionMetrics,
        paths: telemetry.PathMetrics,
        pages: PageCounts | None = None,
    ) -> None:
        self._origin = origin
        self._upstream = upstream
        self._accounts = accounts
        self._sessions = sessions
        self._paths = paths
        self._pages = pages
        self._drivers = [DriverCounts(server, sessions) for server in origin.servers]
        self._refused: Counter[str] = Counter()
        self._cuts: dict[bytes, int] = {}  # of each session, by connection id
        self._schemes: set[str] = set()  # that there were streams of: they stay in the metrics, at 0

    async def watch(self) -> None:
        """Keep the metrics up to date, for ever."""
        while True:
            self.look(now=asyncio.get_running_loop().time())
            await asyncio.sleep(SAMPLE_INTERVAL)

    def look(self, *, now: float) -> None:
        """Bring the metrics up to date.

        Args:
            now: Seconds of the loop's clock.
        """
        for driver in self._drivers:
            driver.look()
        if self._pages is not None:
            self._pages.look()
        self._look_at_answers()
        self._look_at_paths(now)
        endpoints = [server.endpoint for server in self._origin.servers]
        refused = Counter(answers=self._origin.refused, requests=self._upstream.refused)
        for endpoint in endpoints:
            refused += endpoint.refused
        for limit, count in (refused - self._refused).items():
            self._paths.refusals.labels(limit).inc(count)
        self._refused = refused
        self._accounts.metrics.held_requests.set(sum(endpoint.held for endpoint in endpoints) + self._upstream.held)

    def _look_at_answers(self) -> None:
        metrics, streams = self._accounts.metrics, self._origin.streams
        metrics.held_answers.labels("running").set(len(streams))
        metrics.held_answers.labels("kept").set(self._origin.answers - len(streams))
        backlogs: Counter[str] = Counter()
        for stream in streams:
            self._accounts.count(stream)
            backlogs[stream.scheme] += stream.backlog
        for scheme in self._schemes | backlogs.keys():
            metrics.unacked_tokens.labels(scheme).set(backlogs[scheme])
        self._schemes |= backlogs.keys()

    def _look_at_paths(self, now: float) -> None:
        views = {session: session.view_path(now=now) for session in self._origin.sessions}
        self._sessions.sessions.set(len(views))
        self._paths.cuts.inc(
            sum(view.cuts - self._cuts.get(session.connection_id, 0) for session, view in views.items())
        )
        self._cuts = {session.connection_id: view.cuts for session, view in views.items()}
        self._paths.limited_sessions.set(sum(view.is_limited for view in views.values()))
        windows = [view.window for session, view in views.items() if not session.is_idle]
        self._paths.window.set(min(windows, default=nan))
        rtts = [view.rtt for view in views.values() if view.rtt is not None]
        self._paths.rtt.labels("median").set(median_low(rtts) if rtts else nan)
        self._paths.rtt.labels("slowest").set(max(rtts, default=nan))
