"""The test of each link before the load: a run over a link that does not impair is worse than no run.

In the forced good state the round-trip time must be the scenario's; in the forced bad state as many pings must vanish as the
scenario says, judged by the binomial distribution: a faithful link fails with a probability below one in a million.
"""

import asyncio
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from eloquent.channel.scenario import Scenario
from eloquent.emulation.carriers.carrier import Carrier
from eloquent.emulation.network import LabHost
from eloquent.errors import EmulationError

RTT_TOLERANCE = 0.002  # seconds
RTT_PINGS = 20
RTT_INTERVAL = 0.05  # seconds
RTT_ATTEMPTS = (
    3  # for a link that seems slow: what the machine's other work adds passes, what the link takes by itself does not
)
LOSS_PINGS = 200
LOSS_INTERVAL = 0.01  # seconds
PING_BYTES = 98  # of the frame: 56 of data, ICMP 8, IPv4 20, Ethernet 14
FALSE_ALARM = 1e-6  # probability that a faithful link is refused

_RECEIVED = re.compile(r"(\d+) received")
_RTT = re.compile(r"rtt min/avg/max/mdev = ([0-9.]+)/([0-9.]+)/")


@dataclass(frozen=True, slots=True)
class LinkTest:
    """What the test of one link found.

    Attributes:
        link: The client whose link it is.
        rtt_s: Round-trip time in the good state, in seconds: the smallest of 20, which is what the link takes by itself.
        rtt_mean_s: Their mean, which holds what the machine's other work adds.
        rtt_expected_s: The scenario's, and the time to send a ping at the link's rate, twice.
        bad_loss: Share of the pings lost in the bad state.
        bad_loss_expected: The share to be expected, both directions together.
    """

    link: str
    rtt_s: float
    rtt_mean_s: float
    rtt_expected_s: float
    bad_loss: float
    bad_loss_expected: float

    def complaint(self, rtt_tolerance: float) -> str | None:
        """Return what is wrong with the link, or None where it is as it should be."""
        if abs(self.rtt_s - self.rtt_expected_s) > rtt_tolerance:
            return f"{self.link}: RTT {self.rtt_s * 1e3:.1f} ms instead of {self.rtt_expected_s * 1e3:g} ms"
        lost = round(self.bad_loss * LOSS_PINGS)
        if binomial_tail(lost, LOSS_PINGS, self.bad_loss_expected) < FALSE_ALARM:
            return f"{self.link}: {self.bad_loss:.0%} lost in the bad state instead of {self.bad_loss_expected:.0%}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the result as the manifest holds it."""
        return asdict(self)


def binomial_tail(hits: int, trials: int, probability: float) -> float:
    """Return the probability of a result at least as far out as `hits`, on its own side of the expectation.

    Args:
        hits: How often it happened, 0..trials.
        trials: How often it could have.
        probability: Probability of one hit, 0..1.
    """
    side = range(hits + 1) if hits <= trials * probability else range(hits, trials + 1)
    return sum(math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in side)


async def check_links(
    carrier: Carrier,
    scenario: Scenario,
    *,
    prober: LabHost,
    clients: list[LabHost],
    rtt_tolerance: float = RTT_TOLERANCE,
) -> list[LinkTest]:
    """Test every access link from the far side.

    Args:
        carrier: Forced into its states for the test; left in the good one.
        scenario: What the links should do.
        prober: Host that pings.
        clients: Hosts behind the links.
        rtt_tolerance: How far the RTT may be from the scenario's, in seconds.

    Raises:
        EmulationError: A link is not what the scenario says; the message names each.
    """
    await carrier.force(worst=False)
    await asyncio.gather(
        *(_ping(prober, client, count=3, interval=RTT_INTERVAL) for client in clients)
    )  # flows learned
    rtt_expected = scenario.rtt + 2 * PING_BYTES / scenario.rate
    rtts: dict[str, _Pings] = {}
    for _ in range(RTT_ATTEMPTS):
        slow = [
            client
            for client in clients
            if client.name not in rtts or rtts[client.name].rtt_s > rtt_expected + rtt_tolerance
        ]
        again = await asyncio.gather(
            *(_ping(prober, client, count=RTT_PINGS, interval=RTT_INTERVAL) for client in slow)
        )
        rtts |= {client.name: pings for client, pings in zip(slow, again, strict=True)}
    await carrier.force(worst=True)
    lossy = await asyncio.gather(
        *(_ping(prober, client, count=LOSS_PINGS, interval=LOSS_INTERVAL) for client in clients)
    )
    await carrier.force(worst=False)

    silent = [name for name, good in rtts.items() if not good.received]
    if silent:
        raise EmulationError(f"no ping came back in the good state over the link of {', '.join(silent)}")
    delivered = (1 - scenario.loss_down.worst_loss) * (1 - scenario.loss_up.worst_loss)
    tests = [
        LinkTest(
            link=client.name,
            rtt_s=rtts[client.name].rtt_s,
            rtt_mean_s=rtts[client.name].rtt_mean_s,
            rtt_expected_s=rtt_expected,
            bad_loss=1 - bad.received / LOSS_PINGS,
            bad_loss_expected=1 - delivered,
        )
        for client, bad in zip(clients, lossy, strict=True)
    ]
    complaints = [complaint for test in tests if (complaint := test.complaint(rtt_tolerance))]
    if complaints:
        raise EmulationError(
            f"the links are not what the scenario says, so a run would be wrong: {'; '.join(complaints)}"
        )
    return tests


@dataclass(frozen=True, slots=True)
class _Pings:
    received: int
    rtt_s: float
    rtt_mean_s: float


async def _ping(prober: LabHost, client: LabHost, *, count: int, interval: float) -> _Pings:
    """Ping a client; read the summary, since each reply's own line has whole milliseconds only from 100 ms on."""
    process = await asyncio.create_subprocess_exec(
        *prober.command("ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", "2", client.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    received, rtt = _RECEIVED.search(output.decode()), _RTT.search(output.decode())
    smallest, mean = (float(rtt[1]) / 1e3, float(rtt[2]) / 1e3) if rtt else (math.nan, math.nan)
    return _Pings(int(received[1]) if received else 0, smallest, mean)
