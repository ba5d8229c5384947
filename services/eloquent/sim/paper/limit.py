"""The limit of §3.3: when the tokens that are not acknowledged no longer fit into a packet, printed and simulated.

The paper says that they do not when G (T - 1) <= 2 RTT + L, with G the time between tokens, T the tokens that a packet may
hold, and L the time in which packets are lost. Here one outage of length L hits a stream whose packets may hold any number of
tokens (`eloquent-all`); the fullest packet has as many as were needed, so every T below that number overflows.
"""

import math
from concurrent.futures import Executor
from typing import NamedTuple

from eloquent import schemes
from eloquent.channel.scenario import Scenario
from eloquent.channel.schedule import Direction
from eloquent.channel.trace import TraceLoss
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.experiment import in_order
from eloquent.sim.engine.session import run_session
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.engine.trace import PacketLog

GAPS = (0.020, 0.050, 0.100, 0.200)  # seconds: 50, 20, 10 and 5 tokens a second
RTTS = (0.050, 0.100, 0.200, 0.400)
OUTAGES = (0.100, 0.200, 0.500, 1.000, 2.000)
LIMIT, GAP = 10, 0.100  # tokens a packet and seconds between tokens in the paper (§4.1)
MAP_RTTS = tuple(step * 0.050 for step in range(1, 13))
MAP_OUTAGES = tuple(step * 0.100 for step in range(1, 13))

_SLOT = 0.010  # seconds; every length of the sweep is a multiple
_TOLERANCE = 1e-9  # seconds


class OutageCase(NamedTuple):
    """One stream and one outage, in seconds.

    Attributes:
        gap: Between two tokens.
        rtt: Round-trip time.
        outage: Its length; it begins with a token.
        limit: Tokens that a packet of the limited scheme may hold; 0 where that is not simulated.
    """

    gap: float
    rtt: float
    outage: float
    limit: int = 0


class Found(NamedTuple):
    """What was simulated.

    Attributes:
        case: Of which stream.
        needed: Tokens in the fullest packet, acknowledgements not lost.
        needed_ack_loss: The same with the outage in both directions.
        held_up_s: By how much the tokens after the outage come late at most, because earlier ones are missing, with `eloquent-all`.
        held_up_limited_s: The same with the limited scheme; None where that was not simulated.
    """

    case: OutageCase
    needed: int
    needed_ack_loss: int
    held_up_s: float
    held_up_limited_s: float | None

    @property
    def is_held_up(self) -> bool:
        """Whether tokens come later with the limited scheme than with one that sends all."""
        return self.held_up_limited_s is not None and self.held_up_limited_s > self.held_up_s + _TOLERANCE


def printed_need(case: OutageCase) -> int:
    """Return the least T that does not overflow, as printed: G (T - 1) > 2 RTT + L."""
    return math.floor((2 * case.rtt + case.outage) / case.gap + _TOLERANCE) + 2


def own_need(case: OutageCase) -> int:
    """Return the least T that does not overflow by our count: G (T - 1) >= RTT + L, the outage rounded up to whole gaps.

    These are the tokens of the outage, those of the round trip until its first survivor is acknowledged, and the new one.
    """
    outage = math.ceil(case.outage / case.gap - _TOLERANCE)
    return outage + math.floor(case.rtt / case.gap + _TOLERANCE) + 1


def examine(case: OutageCase) -> Found:
    """Simulate one case."""
    needed, held_up = _stream("eloquent-all", case, ack_loss=False)
    limited = _stream(f"eloquent-{case.limit}", case, ack_loss=False)[1] if case.limit else None
    return Found(case, needed, _stream("eloquent-all", case, ack_loss=True)[0], held_up, limited)


def _stream(name: str, case: OutageCase, *, ack_loss: bool) -> tuple[int, float]:
    """Return the tokens of the fullest packet and by how much one after the outage came late at most."""
    before = math.ceil((2 * case.rtt + 0.5) / case.gap)  # tokens, so that the first of the outage is one of many
    after = math.ceil((case.outage + 4 * case.rtt + 1.0) / case.gap)
    shares = (0.0,) * round(before * case.gap / _SLOT) + (1.0,) * round(case.outage / _SLOT)
    calm = (0.0,) * round((after * case.gap + 60.0) / _SLOT)
    log = PacketLog()
    trace = run_session(
        schemes.get(name),
        Scenario(name="limit", rtt=case.rtt, loss_down=TraceLoss(slot=_SLOT, shares=shares + calm)),
        seed=1,
        generated_s=tuple(round(index * case.gap, 9) for index in range(before + after)),
        choices=Choices(ack_loss=ack_loss, token_bytes=1),
        record=log,
    )
    fullest = max(len(row.tokens) for row in log.rows if row.direction is Direction.DOWN)
    over = before + math.ceil(case.outage / case.gap - _TOLERANCE)  # the first token after the outage
    delays = [seen - made for made, seen in zip(trace.generated_s, trace.rendered_s, strict=True)]
    return fullest, round(max(delays[over:]) - case.rtt / 2, 9)


def cases() -> list[OutageCase]:
    """Return the sweep, and the map of the paper's own setting after it."""
    sweep = [OutageCase(gap, rtt, outage) for gap in GAPS for rtt in RTTS for outage in OUTAGES]
    return [*sweep, *(OutageCase(GAP, rtt, outage, LIMIT) for rtt in MAP_RTTS for outage in MAP_OUTAGES)]


def sweep(executor: Executor | None = None) -> list[Found]:
    """Simulate every case.

    Args:
        executor: Who computes; None for this process.
    """
    return list(map(examine, cases()) if executor is None else in_order(executor, examine, cases()))


def need_table(found: list[Found]) -> Table:
    """Return the tokens that a packet has to hold, printed and simulated, for every case of the sweep."""
    rows: list[tuple[Cell, ...]] = [
        (
            round(1 / item.case.gap),
            f"{item.case.rtt * 1e3:g}",
            f"{item.case.outage * 1e3:g}",
            printed_need(item.case),
            item.needed,
            item.needed_ack_loss,
            own_need(item.case),
            PAYLOAD_BUDGET // item.needed,
        )
        for item in found
        if not item.case.limit
    ]
    headings = (
        "tokens_per_second",
        "RTT_ms",
        "outage_ms",
        "T_printed",
        "T_simulated",
        "T_simulated_acks_lost_too",
        "T_by_RTT_plus_L",
        "bytes_per_token_that_fit",
    )
    return Table("limit", "The limit of §3.3: the least T that does not overflow", headings, tuple(rows))


def map_table(found: list[Found]) -> Table:
    """Return, for the paper's T and G, where a packet overflows, printed and simulated, and what that costs."""
    rows: list[tuple[Cell, ...]] = [
        (
            f"{item.case.rtt * 1e3:g}",
            f"{item.case.outage * 1e3:g}",
            "yes" if printed_need(item.case) > LIMIT else "no",
            "yes" if item.needed > LIMIT else "no",
            item.held_up_s,
            item.held_up_limited_s,
        )
        for item in found
        if item.case.limit
    ]
    headings = (
        "RTT_ms",
        "outage_ms",
        "overflow_printed",
        "overflow_simulated",
        "held_up_all_s",
        "held_up_10_s",
    )
    return Table("limit-map", "The limit of §3.3 at T = 10 and a token every 100 ms", headings, tuple(rows))
