"""From a run's logs to its figures: every number of a summary is computed here, from the logs alone (docs/measures.md).

Rules of this file:

- Only sessions that ended well enter the figures. One that failed, or that was rendering but never logged its end,
  counts in `failed` and in nothing else, so a scheme with failures is to be read with care; the tables say so.
- Loss, lag and concurrency are taken over the window from the first request to the last end of the logged sessions; lag and
  concurrency of a load test from when its users are there until it is told to stop.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.errors import ConfigurationError
from eloquent.qoe.ratios import percentile, ratio, redundancy_rate, relative_ratio, share_interval
from eloquent.qoe.session import STALL_THRESHOLD, TOLERANT_THRESHOLD, SessionMeasures, gaps, measure
from eloquent.records.rows import ENDED_WELL, LAG_INTERVAL, ProbeRow, SessionRow, StreamRow, TokenRow
from eloquent.records.run_directory import Manifest, RunDirectory
from eloquent.report.concurrency import Concurrency, concurrency
from eloquent.report.validity import flaws


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeStallRatio:
    """How a scheme's stall ratio compares with the baseline's, from sessions of the same client in the same round.

    Attributes:
        baseline: Name of the first scheme of the run.
        ratio: The stall ratio over the baseline's.
        ci95: Its 95 % interval over the pairs; None for fewer than two.
    """

    baseline: str
    ratio: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeFigures:
    """The figures of one scheme; None where nothing was measured. All times in seconds, all ratios 0..1 or more.

    Attributes:
        sessions: Sessions that ended well.
        tokens: Tokens rendered in them.
        stall_ratio: Time in gaps longer than 200 ms over stream time.
        stall_ratio_ci95: Its 95 % interval over sessions.
        stall_ratio_210: The same for gaps longer than 210 ms.
        relative_stall_ratio: The ratio over the baseline's; None for the baseline itself.
        stall_excess_ratio: What of those gaps exceeds 200 ms, over stream time.
        stalls: Gaps longer than 200 ms.
        redundancy_rate: Token bytes sent again over token bytes.
        accounted: Sessions whose redundancy is known; `redundancy_rate` is theirs.
        wire_bytes_per_token: Bytes sent with all headers, per token.
        late_ratio: Share of the tokens rendered more than 400 ms after they were generated.
        ttft_p50_s: Median time from the request to the first rendering.
        ttft_p95_s: Its 95th percentile.
        gap_p95_s: 95th percentile of the gaps.
        gap_p99_s: Their 99th percentile.
        failed: Sessions that did not end well.
        congestion_control: Of the TCP connections, as their sockets said; empty where there was no TCP.
    """

    sessions: int
    tokens: int
    stall_ratio: float | None
    stall_ratio_ci95: tuple[float, float] | None
    stall_ratio_210: float | None
    relative_stall_ratio: RelativeStallRatio | None
    stall_excess_ratio: float | None
    stalls: int
    redundancy_rate: float | None
    accounted: int
    wire_bytes_per_token: float | None
    late_ratio: float | None
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    gap_p95_s: float | None
    gap_p99_s: float | None
    failed: int
    congestion_control: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a run.

    Attributes:
        schemes: The figures of each scheme, by its name, in the order of the manifest.
        rounds: Rounds with a logged session.
        loss_rate: Share of the link probes that were lost on the downlink, 0..1.
        scheduled_loss_rate: The share that the schedules had in store for these very probes.
        load_lag_p99_s: 99th percentile of the lag of the one who lagged most of those who render, in seconds.
        node_lag_p99_s: The same of relays, token server and link probe.
        concurrency: Sessions that were open at once, and tokens a second; None where no time passed.
        flaws: Why the run is not valid (validity.py); nothing for one that is. One that is not compares nothing.
    """

    schemes: dict[str, SchemeFigures]
    rounds: int
    loss_rate: float | None
    scheduled_loss_rate: float | None
    load_lag_p99_s: float | None
    node_lag_p99_s: float | None
    concurrency: Concurrency | None
    flaws: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        """Whether the figures are those of the schemes, and not of a machine that did not keep up."""
        return not self.flaws

    @property
    def unmeasured(self) -> list[str]:
        """What of those who have to keep up nobody has measured."""
        lags = {"those who render": self.load_lag_p99_s, "relays and servers": self.node_lag_p99_s}
        return [f"the lag of {who}" for who, lag in lags.items() if lag is None]


def compute(run: RunDirectory) -> Summary:
    """Compute the figures of a run from its logs.

    Args:
        run: The run's directory, with a manifest.

    Raises:
        ConfigurationError: The directory holds no run, or a log cannot be read.
    """
    manifest = run.read_manifest()
    sessions = list(run.sessions())
    tokens: dict[str, list[TokenRow]] = defaultdict(list)
    for row in run.tokens():
        tokens[row.session].append(row)
    streams: dict[str, list[StreamRow]] = defaultdict(list)
    for stream in run.streams():
        streams[stream.session].append(stream)
    ended = {row.session for row in sessions}
    unfinished = [scheme_of(session) for session in tokens if session not in ended]

    first = min((row.requested_s for row in sessions), default=math.inf)
    last = max((row.ended_s for row in sessions), default=-math.inf)
    probes = [(client, probe) for client, probe in run.probes() if first <= probe.sent_s <= last]
    begin, end = manifest.measured_s or (first, last)
    lags: dict[str, list[float]] = defaultdict(list)
    for who, sample in run.lags():
        if begin <= sample.at_s <= end:
            lags[who].append(sample.lag_s)
    lag_p99_s = {who: p99 for who, samples in lags.items() if (p99 := percentile(samples, 0.99)) is not None}
    names = list(dict.fromkeys((*manifest.schemes, *(row.scheme for row in sessions), *unfinished)))
    node_lag_p99_s = _node_lags(run, begin, end)
    found = flaws(manifest.model_extra or {}, lag_p99_s=lag_p99_s, node_lag_p99_s=node_lag_p99_s)
    is_paired = manifest.measured_s is None  # the users of a load test ask when they like, each something else
    compares = is_paired and not found
    measured = {row.session: _measure(tokens[row.session]) for row in sessions if row.outcome in ENDED_WELL}
    schemes = {
        name: _scheme_figures(
            [row for row in sessions if row.scheme == name],
            tokens,
            streams,
            measured,
            unfinished=unfinished.count(name),
            baseline=[row for row in sessions if row.scheme == names[0]] if compares and name != names[0] else [],
        )
        for name in names
    }
    if _begins_alike(manifest):
        schemes = {name: _without_intervals(one) for name, one in schemes.items()}
    return Summary(
        schemes=schemes,
        rounds=len({row.round for row in sessions}),
        loss_rate=ratio([probe.received_s is None for _, probe in probes], [1] * len(probes)),
        scheduled_loss_rate=_scheduled_loss(manifest, probes),
        load_lag_p99_s=max(lag_p99_s.values(), default=None),
        node_lag_p99_s=max(node_lag_p99_s.values(), default=None),
        concurrency=concurrency(
            [(row.requested_s, row.ended_s) for row in sessions],
            [token.rendered_s for rows in tokens.values() for token in rows],
            window=(begin, end),
        ),
        flaws=found,
    )


def _node_lags(run: RunDirectory, begin: float, end: float) -> dict[str, float]:
    """Return the 99th percentile of each node's lag in a window, in seconds; what a node did not log was next to nothing."""
    lags: dict[str, list[float]] = defaultdict(list)
    for node, host, sample in run.node_lags():
        if begin <= sample.at_s <= end:
            lags[f"the {node.replace('_', ' ')} of {host}"].append(sample.lag_s)
    count = int((end - begin) / LAG_INTERVAL) if lags else 0
    padded = {who: [0.0] * (count - len(logged)) + logged for who, logged in lags.items()}
    return {who: p99 for who, samples in padded.items() if (p99 := percentile(samples, 0.99)) is not None}


def _begins_alike(manifest: Manifest) -> bool:
    """Return whether all links follow one trace from its begin, so that their sessions are no independent samples."""
    try:
        return parse_line(manifest.scenario.line).begins_alike
    except ConfigurationError:  # a real network, or a foreign manifest
        return False


def _without_intervals(figures: SchemeFigures) -> SchemeFigures:
    relative = figures.relative_stall_ratio
    alone = None if relative is None else replace(relative, ci95=None)
    return replace(figures, stall_ratio_ci95=None, relative_stall_ratio=alone)


def scheme_of(session: str) -> str:
    """Return the scheme in a session's name, `<client>.<scheme>.r<round>`."""
    return session.split(".")[1] if session.count(".") == 2 else session


def _scheme_figures(
    rows: Sequence[SessionRow],
    tokens: dict[str, list[TokenRow]],
    streams: dict[str, list[StreamRow]],
    measured: dict[str, SessionMeasures],
    *,
    unfinished: int,
    baseline: Sequence[SessionRow],
) -> SchemeFigures:
    ended_well = [row for row in rows if row.outcome in ENDED_WELL]
    rendered = [[token.rendered_s for token in tokens[row.session]] for row in ended_well]
    measures = [measured[row.session] for row in ended_well]
    tolerant = [_measure(tokens[row.session], threshold=TOLERANT_THRESHOLD) for row in ended_well]
    stream_s = [one.stream_s for one in measures]
    all_gaps = [gap for times in rendered for gap in gaps(times)]
    waits = [times[0] - row.requested_s for row, times in zip(ended_well, rendered, strict=True) if times]
    sent = [stream for row in ended_well for stream in streams[row.session]]
    return SchemeFigures(
        sessions=len(ended_well),
        tokens=sum(one.tokens for one in measures),
        stall_ratio=_stall_ratio(measures),
        stall_ratio_ci95=share_interval([one.stall_s for one in measures], stream_s),
        stall_ratio_210=_stall_ratio(tolerant),
        relative_stall_ratio=_relative_stall_ratio(ended_well, baseline, measured),
        stall_excess_ratio=ratio([one.excess_s for one in measures], stream_s),
        stalls=sum(one.stalls for one in measures),
        redundancy_rate=_redundancy(sent),
        accounted=sum(any(stream.redundant_bytes is not None for stream in streams[row.session]) for row in ended_well),
        wire_bytes_per_token=_wire_bytes_per_token(sent),
        late_ratio=ratio([one.late_tokens for one in measures], [one.timed_tokens for one in measures]),
        ttft_p50_s=percentile(waits, 0.50),
        ttft_p95_s=percentile(waits, 0.95),
        gap_p95_s=percentile(all_gaps, 0.95),
        gap_p99_s=percentile(all_gaps, 0.99),
        failed=len(rows) - len(ended_well) + unfinished,
        congestion_control=", ".join(sorted({stream.congestion_control for stream in sent} - {""})),
    )


def _measure(tokens: Sequence[TokenRow], *, threshold: float = STALL_THRESHOLD) -> SessionMeasures:
    rendered, generated = [token.rendered_s for token in tokens], [token.generated_s for token in tokens]
    return measure(rendered, generated, threshold=threshold)


def _relative_stall_ratio(
    rows: Sequence[SessionRow], baseline: Sequence[SessionRow], measured: dict[str, SessionMeasures]
) -> RelativeStallRatio | None:
    """Compare with the baseline's sessions of the same client in the same round, where both ended well."""
    theirs = {(row.client, row.round): measured[row.session] for row in baseline if row.session in measured}
    pairs = [
        (measured[row.session], theirs[row.client, row.round]) for row in rows if (row.client, row.round) in theirs
    ]
    relative = relative_ratio([((one.stall_s, one.stream_s), (other.stall_s, other.stream_s)) for one, other in pairs])
    return (
        None
        if relative is None
        else RelativeStallRatio(baseline=baseline[0].scheme, ratio=relative[0], ci95=relative[1])
    )


def _stall_ratio(measures: Sequence[SessionMeasures]) -> float | None:
    return ratio([one.stall_s for one in measures], [one.stream_s for one in measures])


def _redundancy(sent: Sequence[StreamRow]) -> float | None:
    known = [(row.original_bytes, row.redundant_bytes) for row in sent if row.redundant_bytes is not None]
    return redundancy_rate(sum(original for original, _ in known), sum(redundant for _, redundant in known))


def _wire_bytes_per_token(sent: Sequence[StreamRow]) -> float | None:
    known = [(row.wire_bytes, row.tokens) for row in sent if row.wire_bytes is not None]
    return ratio([wire_bytes for wire_bytes, _ in known], [tokens for _, tokens in known])


def _scheduled_loss(manifest: Manifest, probes: Sequence[tuple[str, ProbeRow]]) -> float | None:
    """Return the mean probability of loss that the downlinks had in store for the probes when they were sent."""
    epoch = manifest.epoch_s
    if epoch is None:
        return None
    scenario = parse_line(manifest.scenario.line)
    downlinks = {
        client: scenario.schedule(Direction.DOWN, seed=manifest.seed, link=client)
        for client in {client for client, _ in probes}
    }
    expected = [downlinks[client].loss_at(probe.sent_s - epoch) for client, probe in probes if probe.sent_s >= epoch]
    return ratio(expected, [1] * len(expected))
