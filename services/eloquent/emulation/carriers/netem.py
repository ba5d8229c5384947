"""The netem carrier: the kernel impairs the link, and this process changes its loss at each change of state.

Each access link crosses a bridge of its own in the lab's namespace; packets towards the client leave it by one port, packets
towards the network by the other, and netem sits on both. There it is behind the sending host: on the host's own root qdisc the
kernel would tell the host's TCP of each drop. The qdisc is added once and changed after: deleting it would drop what is in flight.

    python -m eloquent.emulation.carriers.netem       (plan and commands on standard input, see impairment.py)
"""

import select
import time
from collections.abc import Sequence

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from eloquent.channel.schedule import Direction
from eloquent.emulation.carriers.impairment import STDIN, ImpairmentPlan, Steering, prefer_this_process
from eloquent.emulation.processes import run_command
from eloquent.errors import EmulationError

ROOT_HANDLE = "1:"


class NetemDevice:
    """The netem qdisc at the root of one device.

    Args:
        netlink: A route socket in the device's namespace.
        device: Interface name.
        delay: One-way delay in seconds.
        rate: Bytes per second.
        queue: Packets under way, delayed ones included, before the tail is dropped.

    Raises:
        EmulationError: The kernel refused the qdisc.
    """

    def __init__(self, netlink: IPRoute, device: str, *, delay: float, rate: float, queue: int) -> None:
        self._netlink = netlink
        self.name = device
        self.index: int = netlink.link_lookup(ifname=device)[0]
        self._options = {"delay": round(delay * 1e6), "limit": queue}
        options = ("delay", f"{delay * 1e6:.0f}us", "limit", str(queue), "rate", f"{rate * 8:.0f}bit")
        run_command("tc", "qdisc", "add", "dev", device, "root", "handle", ROOT_HANDLE, "netem", *options)

    def set_loss(self, loss: float) -> None:
        """Change the loss probability, 0..1; what is in the delay queue stays there, and so does the rate, which is not named.

        Raises:
            EmulationError: The kernel refused.
        """
        try:
            self._netlink.tc("change", "netem", self.index, ROOT_HANDLE, root=True, loss=loss * 100, **self._options)
        except NetlinkError as error:
            raise EmulationError(f"the kernel refused to change netem on {self.name}: {error}") from error


def count(netlink: IPRoute, devices: Sequence[NetemDevice]) -> list[dict[str, int]]:
    """Read the counters of all qdiscs at once; netem counts what it loses and what overflows alike as dropped.

    Raises:
        EmulationError: A qdisc is gone.
    """
    statistics = {
        qdisc["index"]: qdisc.get_attr("TCA_STATS")
        for qdisc in netlink.get_qdiscs()
        if qdisc.get_attr("TCA_KIND") == "netem"
    }
    gone = [device.name for device in devices if device.index not in statistics]
    if gone:
        raise EmulationError(f"netem is gone from {', '.join(gone)}: somebody deleted the qdisc")
    counters = (statistics[device.index] for device in devices)
    return [{"carried": one["packets"], "lost": one["drop"], "overflowed": 0} for one in counters]


def run(plan: ImpairmentPlan) -> None:
    """Impair the links until standard input ends."""
    with IPRoute() as netlink:
        devices = []
        for link in plan.links:
            scenario = link.parse_scenario()
            for direction in Direction:
                name = link.client_device if direction is Direction.DOWN else link.network_device
                device = NetemDevice(netlink, name, delay=scenario.rtt / 2, rate=scenario.rate, queue=scenario.queue)
                devices.append(device)
        steering = Steering(
            plan.links,
            set_loss=lambda index, loss: devices[index].set_loss(loss),
            count=lambda: count(netlink, devices),
        )
        plan.say_ready()
        alive = True
        while alive:
            timeout = None if steering.deadline == float("inf") else max(0.0, steering.deadline - time.monotonic())
            steering.rest()
            readable, _, _ = select.select([STDIN], [], [], timeout)
            steering.apply_due()
            alive = steering.read_commands() if readable else True


def main() -> None:
    """Run the carrier process."""
    prefer_this_process()
    run(ImpairmentPlan.read())


if __name__ == "__main__":
    main()
