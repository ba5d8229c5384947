"""The tables of a measurement study."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from eloquent.calls.chat_stream import Kind
from eloquent.channel.mahimahi import DeliveryTrace
from eloquent.measure.findings import Findings
from eloquent.measure.sessions import LoggedSession, first_kinds
from eloquent.qoe.playout import Playout, measure_playout
from eloquent.qoe.ratios import percentile, ratio
from eloquent.qoe.score import Expectation, andes_qoe, stall_burden
from eloquent.qoe.session import measure
from eloquent.units import format_percent, format_rate

_NOT_MEASURED = "-"
_EXPONENTS = (0.5, 1.0, 2.0)


def comparison(rows: Sequence[Findings]) -> Table:
    """Return one line a measurement: its stalls and its losses (Eloquent §2.2)."""
    heads = (
        "run", "sessions", "tokens", "TTFT\np50", "stalls", "stall\np95", "gap\np95", "stall\nratio",
        "packets", "lost", "loss", "sent\nagain", "blocked", "longest\nblock",
    )  # fmt: skip
    table = _table(*heads)
    for row in rows:
        sessions = _count(row.sessions) + (f" (+{row.failed} failed)" if row.failed else "")
        table.add_row(
            row.name,
            sessions,
            _count(row.tokens) + _kinds(row),
            _milliseconds(row.ttft_p50_s) + _unless_text(row.ttft_kind),
            _count(row.stalls),
            _milliseconds(row.stall_p95_s),
            _milliseconds(row.gap_p95_s),
            _percent(row.stall_ratio),
            _count(row.packets),
            _count(row.lost),
            ("≈ " if row.vantage == "receiver" else "") + _percent(row.loss_rate),
            _count(row.retransmissions),
            _count(row.blocked),
            _milliseconds(row.longest_block_s),
        )
    return table


def beyond_stalls(sessions: Sequence[LoggedSession], *, token_time: float, ttft: float, start_tokens: int) -> Table:
    """Return one line a scheme: QoE, stalls behind a playout buffer, and stalls weighed by their length.

    Args:
        sessions: Those of the log; the ones that failed are left out.
        token_time: Reading time of a token in seconds.
        ttft: Seconds after which a reader expects the first token.
        start_tokens: Tokens that the playout buffer holds before it shows the first.
    """
    burdens = (f"burden\nk = {exponent:g}" for exponent in _EXPONENTS)
    table = _table(
        "scheme",
        "sessions",
        "first\ntoken",
        "QoE\np5",
        "\np50",
        "stall\nratio",
        "after\nplayout",
        "starved",
        "held",
        *burdens,
    )
    ended_well = [session for session in sessions if session.ended_well]
    expectation = Expectation(ttft=ttft, token_time=token_time)
    playout = Playout(token_time=token_time, start_tokens=start_tokens)
    for scheme in dict.fromkeys(session.row.scheme for session in ended_well):
        mine = [session for session in ended_well if session.row.scheme == scheme]
        unknown = [[None] * len(session.rendered_s) for session in mine]
        plain = [measure(one.rendered_s, times) for one, times in zip(mine, unknown, strict=True)]
        played = [measure_playout(one.rendered_s, times, playout) for one, times in zip(mine, unknown, strict=True)]
        scores = [andes_qoe(one.row.requested_s, one.rendered_s, expectation) for one in mine]
        known = [score for score in scores if score is not None]
        stream_s = [one.stream_s for one in plain]
        table.add_row(
            scheme,
            str(len(mine)),
            first_kinds(mine),
            _number(percentile(known, 0.05)),
            _number(percentile(known, 0.5)),
            _percent(ratio([one.stall_s for one in plain], stream_s)),
            _percent(ratio([one.session.stall_s for one in played], [one.session.stream_s for one in played])),
            _percent(ratio([one.starved_s for one in played], [one.session.stream_s for one in played])),
            _milliseconds(ratio([one.held_s for one in played], [1.0] * len(played))),
            *(
                _percent(ratio([stall_burden(one.rendered_s, exponent=exponent) for one in mine], stream_s))
                for exponent in _EXPONENTS
            ),
        )
    return table


def delivery(traces: Mapping[str, DeliveryTrace], *, outage: float) -> Table:
    """Return one line a Mahimahi trace: its rates and its outages.

    Args:
        traces: The traces by name.
        outage: Longest time without a packet that is no outage, in seconds.
    """
    heads = ("trace", "length", "mean\nrate", "p5\nof 1 s", "p50\nof 1 s", "outages", "longest", "time in\noutages")
    table = _table(*heads)
    for name, trace in traces.items():
        rates, outages = trace.rates(1.0), trace.outages(outage)
        lengths = [one.length_s for one in outages]
        table.add_row(
            name,
            f"{trace.length_s:.1f} s",
            _rate(trace.mean_rate),
            _rate(percentile(rates, 0.05)),
            _rate(percentile(rates, 0.5)),
            str(len(outages)),
            _milliseconds(max(lengths, default=None)),
            _percent(sum(lengths) / trace.length_s),
        )
    return table


def _table(*headings: str) -> Table:
    """Return an empty table that is narrow enough for a terminal of 110 columns."""
    return Table(*headings, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))


def _kinds(row: Findings) -> str:
    """Return how many tokens are no text."""
    parts = ((row.reasoning_tokens, "of reasoning"), (row.tool_call_tokens, "of tool calls"))
    return "".join(f"\n({count} {what})" for count, what in parts if count)


def _unless_text(kind: str | None) -> str:
    return f"\n({kind})" if kind not in {None, Kind.TEXT} else ""


def _count(value: int | None) -> str:
    return _NOT_MEASURED if value is None else str(value)


def _number(value: float | None) -> str:
    return _NOT_MEASURED if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return _NOT_MEASURED if value is None else format_percent(value)


def _milliseconds(value: float | None) -> str:
    return _NOT_MEASURED if value is None else f"{value * 1e3:.0f} ms"


def _rate(value: float | None) -> str:
    return _NOT_MEASURED if value is None else format_rate(float(f"{value:.3g}"))
