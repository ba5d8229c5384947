"""Every metric of the package: name, help text, labels and buckets, and the page that Prometheus reads.

Rules of this file: base units, `_total` on counters, numerators and denominators rather than ratios. Labels come from
small closed sets, which `closed` enforces where a value reaches a process from outside; a session id is never a label.
One class holds the metrics of one role, and a process makes only those of its own, so that its page shows nothing that
it cannot know. The OpenFlow controller is no part of the package: topologies/controller.py writes its own page.
"""

import collections
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from eloquent.addresses import cannot_listen, parse_address

OTHER = "other"  # the label of every value outside its closed set

# OpenTelemetry's boundaries for `gen_ai.server.time_per_output_token`, which vLLM uses too, carried on to the stalls of
# a bad link. They hold the limits of the paper: 0.2 s for a stall, 0.4 s for a late token.
GAP_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # seconds
# OpenTelemetry's for `gen_ai.server.time_to_first_token` from 10 ms up, with 0.2 and 0.4 added.
FIRST_TOKEN_BUCKETS = (
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.2,
    0.25,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
)  # seconds
# Lengths of stalls, which begin at the threshold; 0.4 s is what a resend timer and a round trip make on a fast link.
STALL_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)  # seconds
LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)  # seconds

_REQUEST_TIME = 60.0  # seconds that a client may be silent before its request has arrived

_STREAM = ("client", "scheme")
_LINK = ("client", "direction")
_FRONT = ("scheme", "carrier")

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one without annotations


def closed(value: str, known: Collection[str]) -> str:
    """Return the value if the closed set holds it, else `other`, so that no peer can invent time series."""
    return value if value in known else OTHER


def serve(address: str, registry: CollectorRegistry = REGISTRY) -> int:
    """Serve the registry over HTTP from a thread of its own, which ends with the process.

    Args:
        address: `HOST:PORT`; port 0 takes a free one.
        registry: What to show.

    Returns:
        The port in use.

    Raises:
        ConfigurationError: The address is malformed or cannot be bound.
    """
    host, port = parse_address(address, listen=True)
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
        server.RequestHandlerClass = _handler(server.RequestHandlerClass)
        server.set_app(make_wsgi_app(registry, disable_compression=True))  # it costs more than it saves on one machine
    except OSError as error:
        raise cannot_listen(address, error) from error
    return int(server.server_port)


def _handler(base: Any) -> Any:
    """Return a handler that ends the connection, and with it the thread, of a client that says nothing."""

    class Handler(base):  # type: ignore[misc]  # the library's own, which it does not show
        timeout = _REQUEST_TIME

        def handle(self) -> None:
            with suppress(TimeoutError):
                super().handle()

    return Handler


class _Family:
    """Makes metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)


class HostPages(Collector):
    """Shows the metrics of several hosts on one page, each of them with the label `host`.

    Args:
        registry: Of the page.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registries: dict[str, CollectorRegistry] = {}
        registry.register(self)

    def registry(self, host: str) -> CollectorRegistry:
        """Return a registry for the metrics of one more host."""
        return self._registries.setdefault(host, CollectorRegistry())

    def collect(self) -> Iterator[Metric]:
        """Yield what there is to show, a family once for all hosts."""
        families: dict[str, Metric] = {}
        for host, registry in self._registries.items():
            for found in registry.collect():
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                family.samples += [one._replace(labels={"host": host, **one.labels}) for one in found.samples]
        yield from families.values()


class ViewerMetrics(_Family):
    """What a reader of token streams sees: the paper's measures (§2.2, §4.1), by client and scheme."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.rendered = _Rendered()
        registry.register(self.rendered)
        self.late_tokens = self._counter(
            "eloquent_late_tokens_total", "Tokens rendered more than 0.4 s after they were generated.", _STREAM
        )
        self.stalls = self._counter(
            "eloquent_stalls_total", "Gaps between two renderings longer than the stall threshold.", _STREAM
        )
        self.stall_seconds = self._counter(
            "eloquent_stall_seconds_total", "Time spent in stalls, the whole gap of each.", _STREAM
        )
        self.stall_excess_seconds = self._counter(
            "eloquent_stall_excess_seconds_total", "Time spent in stalls beyond the stall threshold of each.", _STREAM
        )
        self.stall_length = self._histogram(
            "eloquent_stall_length_seconds", "Length of a stall.", _STREAM, STALL_BUCKETS
        )
        self.longest_wait = self._gauge(
            "eloquent_longest_wait_seconds",
            "Time since the latest rendering, or the request, of the open stream that has waited longest.",
            _STREAM,
        )
        self.time_to_first_token = self._histogram(
            "eloquent_time_to_first_token_seconds",
            "Time from the request to the first rendering.",
            _STREAM,
            FIRST_TOKEN_BUCKETS,
        )
        self.streams = self._counter(
            "eloquent_streams_total",
            "Streams ended, by outcome: ok, left if the reader turned away, or a gRPC status in lower case.",
            (*_STREAM, "outcome"),
        )
        self.active_streams = self._gauge("eloquent_active_streams", "Streams being rendered.", _STREAM)
        self.loop_lag = self._histogram(
            "eloquent_loop_lag_seconds",
            "Lateness of a 50 ms timer in the viewer's event loop.",
            ("client",),
            LAG_BUCKETS,
        )


def _load_lag(family: _Family) -> Histogram:
    """Make the histogram that all processes of a load test have, each on its own page."""
    return family._histogram(
        "eloquent_load_lag_seconds", "Lateness of a 50 ms timer in a load process.", ("client",), LAG_BUCKETS
    )


class LoadMasterMetrics(_Family):
    """The load test's master's, whose `client` is `master`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.lag = _load_lag(self)


class LoadMetrics(ViewerMetrics):
    """A load worker's, beside those of the streams that its users read."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.users = self._gauge("eloquent_load_users", "Users of the load test.", _STREAM)
        self.lag = _load_lag(self)
        self.failures = self._counter(
            "eloquent_load_failures_total", "Streams of the load test that failed, by outcome.", (*_STREAM, "outcome")
        )


class CostMetrics(_Family):
    """What a sender of token streams put on the network: a relay's own count, or the kernel's for a stream over TCP."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.original_bytes = self._counter(
            "eloquent_original_bytes_total",
            "Bytes of stream content (messages without framing), the first copy of each.",
            _STREAM,
        )
        self.redundant_bytes = self._counter(
            "eloquent_redundant_bytes_total",
            "Bytes of stream content sent beyond the first copy of each; over TCP, its share of the retransmitted bytes.",
            _STREAM,
        )
        self.wire_bytes = self._counter(
            "eloquent_wire_bytes_total", "Bytes sent for streams, headers down to IP included.", _STREAM
        )


class SenderMetrics(CostMetrics):
    """A sender's of token streams in a testbed."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.cancelled_streams = self._counter(
            "eloquent_cancelled_streams_total", "Streams that their client left, or whose deadline passed."
        )


class ServerMetrics(SenderMetrics):
    """A token server's."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.generated_tokens = self._counter("eloquent_generated_tokens_total", "Tokens generated.")
        self.active_generations = self._gauge("eloquent_active_generations", "Answers being generated.")
        self.unaccounted_streams = self._counter(
            "eloquent_unaccounted_streams_total",
            "Streams over TCP or QUIC whose bytes are not counted, by reason (connection shared, closed already or unsettled).",
            ("reason",),
        )


def _given_up(family: _Family) -> Counter:
    """Make the counter that both relays have, each in its own process."""
    return family._counter("eloquent_given_up_streams_total", "Streams between relays that ended without a proper end.")


def _unacked_tokens(family: _Family) -> Gauge:
    """Make the gauge that origin relays have, those of a testbed and those for real services."""
    return family._gauge(
        "eloquent_unacked_tokens", "Tokens that their client has not acknowledged, by scheme.", ("scheme",)
    )


class OriginMetrics(SenderMetrics):
    """An origin relay's of a testbed, beside those of its sessions."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.unacked_tokens = _unacked_tokens(self)
        self.relayed_streams = self._gauge("eloquent_relayed_streams", "Answers on their way, by scheme.", ("scheme",))
        self.given_up_streams = _given_up(self)


class _Datagrams(Collector):
    """Shows what sessions have counted."""

    def __init__(self, received: collections.Counter[str], sent: collections.Counter[str]) -> None:
        self._directions = {"in": received, "out": sent}

    def collect(self) -> Iterator[Metric]:
        text = "Datagrams of sessions, by direction (in, out) and kind."
        family = CounterMetricFamily("eloquent_datagrams_total", text, labels=("direction", "kind"))
        for direction, counts in self._directions.items():
            for kind, count in tuple(counts.items()):  # at once: the sessions count on in another thread
                family.add_metric((direction, kind), count)
        yield family


class SessionMetrics(_Family):
    """Of the sessions between relays, and of the path that carries them, at either end.

    Attributes:
        received: Datagrams by kind, to be counted by the sessions themselves.
        sent: Likewise.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.received: collections.Counter[str] = collections.Counter()
        self.sent: collections.Counter[str] = collections.Counter()
        self.sessions = self._gauge("eloquent_sessions", "Sessions between relays that are open at this end.")
        registry.register(_Datagrams(self.received, self.sent))
        self.malformed_datagrams = self._counter(
            "eloquent_malformed_datagrams_total", "Datagrams dropped because they could not be decoded."
        )
        self.datagram_bytes = self._counter(
            "eloquent_datagram_bytes_total",
            "Bytes of datagrams, headers down to IP included, by direction (in, out).",
            ("direction",),
        )
        self.path_packets = self._counter(
            "eloquent_path_packets_total",
            "Sealed datagrams that the other end has sent, by their numbers, up to the newest that came.",
        )
        self.path_lost_packets = self._counter("eloquent_path_lost_packets_total", "Those of them that did not come.")
        self.dropped_datagrams = self._counter(
            "eloquent_dropped_datagrams_total",
            "Datagrams that the seal kept out, by reason (without the key, too many handshakes, replayed, forged, ...).",
            ("reason",),
        )


class UplinkMetrics(SessionMetrics):
    """Of an edge relay's way to its origin relay."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.carrier = self._gauge(
            "eloquent_carrier", "1 for what new streams to the origin relay are carried by, else 0.", ("carrier",)
        )
        self.carrier_changes = self._counter(
            "eloquent_carrier_changes_total",
            "Changes of what carries new streams, by what it has become.",
            ("carrier",),
        )
        self.path_rtt = self._gauge(
            "eloquent_path_rtt_seconds", "Smoothed round-trip time to the origin relay, by the latest requests."
        )
        self.path_silence = self._gauge(
            "eloquent_path_silence_seconds", "Time for which something has been awaited from the origin relay in vain."
        )


class EdgeMetrics(UplinkMetrics):
    """An edge relay's of a testbed."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.cancelled_streams = self._counter(
            "eloquent_cancelled_streams_total", "Streams that their client left, or whose deadline passed."
        )
        self.given_up_streams = _given_up(self)


class GapTally:
    """Gaps between the events of answers: plain numbers, because they are counted at each event.

    Attributes:
        counts: How many gaps there were in each bucket of `GAP_BUCKETS`, the last without a bound.
        stream_s: Seconds of all.
        stalls: How many of them were stalls.
        stall_s: Seconds of these.
    """

    __slots__ = ("counts", "stall_s", "stalls", "stream_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(GAP_BUCKETS) + 1)
        self.stream_s = self.stall_s = 0.0
        self.stalls = 0

    def add(self, gap_s: float) -> None:
        """Count a gap of so many seconds."""
        self.counts[bisect_left(GAP_BUCKETS, gap_s)] += 1
        self.stream_s += gap_s

    def add_stall(self, gap_s: float) -> None:
        """Count a gap as a stall, which `add` counts as a gap."""
        self.stalls += 1
        self.stall_s += gap_s

    def add_together(self, events: int) -> None:
        """Count events that came with the one before: gaps of 0."""
        self.counts[0] += events


class TokenTally(GapTally):
    """Tokens that are rendered: plain numbers, because they are counted at each token.

    Attributes:
        tokens: How many.
    """

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0


class _Rendered(Collector):
    """Shows tallies of tokens, by client and scheme."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], TokenTally] = {}

    def tally(self, client: str, scheme: str) -> TokenTally:
        """Return the tally of a client and a scheme."""
        return self.tallies.setdefault((client, scheme), TokenTally())

    def collect(self) -> Iterator[Metric]:
        tallies = tuple(self.tallies.items())  # at once: tokens come in another thread
        tokens = CounterMetricFamily("eloquent_rendered_tokens", "Tokens rendered.", labels=_STREAM)
        text = "Time from the first rendering of a stream to its latest."
        seconds = CounterMetricFamily("eloquent_stream_seconds", text, labels=_STREAM)
        gaps = HistogramMetricFamily("eloquent_token_gap_seconds", "Time between two renderings.", labels=_STREAM)
        for labels, tally in tallies:
            tokens.add_metric(labels, tally.tokens)
            seconds.add_metric(labels, tally.stream_s)
            _add_gaps(gaps, labels, tally)
        yield from (tokens, seconds, gaps)


class _Gaps(Collector):
    """Shows tallies of gaps.

    Args:
        prefix: Of the names: `eloquent_`, or `eloquent_model_` where it is the model that makes the gaps.
        gap: Name of the histogram without the prefix.
        labels: Names of the labels.
    """

    def __init__(self, prefix: str, gap: str, labels: Sequence[str]) -> None:
        self.tallies: dict[tuple[str, ...], GapTally] = {}
        self._prefix, self._gap, self._labels = prefix, gap, labels

    def collect(self) -> Iterator[Metric]:
        tallies = tuple(self.tallies.items())  # at once: events go on in another thread
        gaps = HistogramMetricFamily(
            self._prefix + self._gap, "Time between two events of a stream.", labels=self._labels
        )
        for labels, tally in tallies:
            _add_gaps(gaps, labels, tally)
        yield gaps
        for name, text, attribute in (
            ("stalls", "Gaps between two events longer than the stall threshold.", "stalls"),
            ("stall_seconds", "Time spent in stalls, the whole gap of each.", "stall_s"),
            ("stream_seconds", "Time from the first event of a stream to its latest.", "stream_s"),
        ):
            family = CounterMetricFamily(self._prefix + name, text, labels=self._labels)
            for labels, tally in tallies:
                family.add_metric(labels, getattr(tally, attribute))
            yield family


def _add_gaps(family: HistogramMetricFamily, labels: Sequence[str], tally: GapTally) -> None:
    """Show the gaps of a tally."""
    below, buckets = 0, []
    for bound, count in zip((*map(str, GAP_BUCKETS), "+Inf"), list(tally.counts), strict=True):
        below += count
        buckets.append((bound, float(below)))
    family.add_metric(labels, buckets, tally.stream_s)


def _from_the_start(counter: Counter, *values: str) -> Counter:
    """Give a counter the series of all values of its label, so that "none" is 0 and not nothing."""
    for value in values:
        counter.labels(value)
    return counter


def _answers(family: _Family) -> Counter:
    """Make the counter that both relays have, each in its own process."""
    answers = family._counter(
        "eloquent_answers_total",
        "Answers ended, by outcome: ok, broken, left if nobody wanted the rest, refused before they began.",
        ("outcome",),
    )
    return _from_the_start(answers, "ok", "broken", "left", "refused")


def _resumed_answers(family: _Family) -> Counter:
    """Likewise."""
    return family._counter(
        "eloquent_resumed_answers_total", "Times that an answer was asked for again, from where it was."
    )


def _held_requests(family: _Family) -> Gauge:
    """Make the gauge that both relays have, each in its own process."""
    return family._gauge(
        "eloquent_held_request_bytes", "Bytes of requests that are held because nobody has taken them."
    )


class FrontMetrics(_Family):
    """What the clients of an edge relay for real services get: the measures of a viewer (docs/measures.md), of events.

    An edge does not read what it carries. So an event is a token here, whatever is in it, but for comments.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self._gaps = _Gaps("eloquent_", "token_gap_seconds", _FRONT)
        registry.register(self._gaps)
        self.time_to_first_token = self._histogram(
            "eloquent_time_to_first_token_seconds",
            "Time from the request to the first event.",
            _FRONT,
            FIRST_TOKEN_BUCKETS,
        )
        self.longest_wait = self._gauge(
            "eloquent_longest_wait_seconds",
            "Time since the latest event, or the request, of the open stream that has waited longest.",
        )
        self.active_streams = self._gauge("eloquent_active_streams", "Answers that clients are getting, or wait for.")
        self.answers = _answers(self)
        self.resumed_answers = _resumed_answers(self)
        self.comments = self._counter(
            "eloquent_keep_alive_comments_total", "Comments that clients got because nothing else came."
        )
        self.held_requests = _held_requests(self)

    def gaps(self, scheme: str, carrier: str) -> GapTally:
        """Return where the gaps of a scheme and a carrier are counted."""
        return self._gaps.tallies.setdefault((scheme, carrier), GapTally())


class ModelMetrics(CostMetrics):
    """What an origin relay for real services sees of its model server, and what its answers cost; `client` is empty.

    Attributes:
        gaps: Where gaps between the model's events are counted.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        gaps = _Gaps("eloquent_model_", "gap_seconds", ())
        registry.register(gaps)
        self.gaps = gaps.tallies.setdefault((), GapTally())
        self.first_event = self._histogram(
            "eloquent_model_first_event_seconds",
            "Time from when the model server is asked to the first event of its answer.",
            (),
            FIRST_TOKEN_BUCKETS,
        )
        self.longest_wait = self._gauge(
            "eloquent_model_longest_wait_seconds",
            "Time since the model's latest event, or since it was asked, of the answer that has waited longest.",
        )
        self.responses = self._counter(
            "eloquent_model_responses_total",
            "Responses by status of HTTP; 502 and 504 also if the model server could not be asked.",
            ("status",),
        )
        self.answers = _answers(self)
        self.resumed_answers = _resumed_answers(self)
        self.held_answers = self._gauge(
            "eloquent_held_answers", "Answers by state: running to an edge, or kept for one.", ("state",)
        )
        self.held_requests = _held_requests(self)
        self.unacked_tokens = _unacked_tokens(self)


class PathMetrics(_Family):
    """What an origin relay knows of the paths to its edges, and whom it did not let in."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.rtt = self._gauge(
            "eloquent_session_rtt_seconds",
            "Smoothed round-trip time of sessions: of the one in the middle and of the slowest.",
            ("which",),
        )
        self.window = self._gauge(
            "eloquent_congestion_window_bytes", "The least congestion window of a session with answers on their way."
        )
        self.limited_sessions = self._gauge(
            "eloquent_limited_sessions", "Sessions whose congestion window holds back what they have to send."
        )
        self.cuts = self._counter("eloquent_congestion_cuts_total", "Cuts of congestion windows.")
        self.refusals = self._counter(
            "eloquent_refusals_total",
            "What was refused at a limit (sessions, source, associations, answers, requests).",
            ("limit",),
        )
        _from_the_start(self.refusals, "sessions", "source", "associations", "answers", "requests")


class ListenerMetrics(_Family):
    """Of an origin relay's connections over TCP."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.connections = self._gauge(
            "eloquent_tcp_connections", "Connections over TCP that are open at an origin relay."
        )
        self.refused_connections = self._counter(
            "eloquent_refused_connections_total",
            "Connections over TCP that were closed at once, by reason (full, source if one address has too many).",
            ("reason",),
        )
        _from_the_start(self.refused_connections, "full", "source")


class PageMetrics(_Family):
    """Of the pages that ask an origin relay over WebTransport."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.connections = self._gauge("eloquent_page_connections", "Connections of browsers that are open.")
        self.sessions = self._gauge("eloquent_page_sessions", "Sessions of WebTransport that are open.")
        self.begun_sessions = self._counter(
            "eloquent_begun_page_sessions_total", "Sessions of WebTransport that have begun."
        )
        self.answers = self._gauge("eloquent_page_answers", "Answers that pages have asked, with those that are kept.")
        self.refusals = self._counter(
            "eloquent_page_refusals_total",
            "Sessions and requests of pages that were refused, by reason: path, origin or token of the page; target of the "
            "request, or the request itself; full.",
            ("reason",),
        )
        _from_the_start(self.refusals, "path", "origin", "token", "target", "request", "full")


class ProbeMetrics(_Family):
    """The link probe's: what the links do to a steady trickle of datagrams."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.probes = self._counter(
            "eloquent_link_probes_total", "Probes whose fate is known, by direction (down, up).", _LINK
        )
        self.lost = self._counter("eloquent_link_probes_lost_total", "Probes lost, by direction (down, up).", _LINK)
        self.rtt = self._gauge(
            "eloquent_link_rtt_seconds", "Round-trip time of the latest probe that came back.", ("client",)
        )


class CarrierMetrics(_Family):
    """The lab's own: what the run is, and what the carrier makes the links do."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self.run_info = self._gauge(
            "eloquent_run_info",
            "Always 1: what the run is made with. Its scenario is a label of every target.",
            ("carrier", "datapath"),
        )
        self.loss_probability = self._gauge(
            "eloquent_link_loss_probability", "Loss probability in force on a link, by direction (down, up).", _LINK
        )
        self.packets = self._counter(
            "eloquent_link_packets_total",
            "Packets at an emulated link, by outcome (carried, lost, overflowed).",
            (*_LINK, "outcome"),
        )
