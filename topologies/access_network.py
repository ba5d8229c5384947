"""The testbed's network: a data centre, a WAN hop, and one impaired access link a client.

    server --- s1 --- origin
               |
               s2 === c1 ... cN        (=== the access links, impaired)

Loaded by path; any other file with a `build(clients, first)` that gives a Mininet `Topo` of such names can take its place. A
link with `impaired=True` has its client first and is built by the carrier.
"""

from mininet.topo import Topo

WAN_MAC = "02:00:00:00:00:{:02x}"
CLIENT_IP = "10.0.{}.{}/16"
CLIENT_MAC = "02:00:00:01:{:02x}:{:02x}"


class AccessNetwork(Topo):
    """The network of the picture above.

    Args:
        clients: Number of client hosts, 1 to 500.
        first: Number of the first of them.
    """

    def build(self, clients: int, first: int) -> None:
        """Add hosts, switches and links; called by Mininet."""
        data_centre, access = self.addSwitch("s1"), self.addSwitch("s2")
        self.addLink(data_centre, access)
        for number, name in enumerate(("server", "origin"), start=1):
            host = self.addHost(name, ip=f"10.0.0.{number}/16", mac=WAN_MAC.format(number))
            self.addLink(host, data_centre)
        for place, number in enumerate(range(first, first + clients), start=1):
            host = self.addHost(
                f"c{number}",
                ip=CLIENT_IP.format(1 + place // 256, place % 256),
                mac=CLIENT_MAC.format(number // 256, number % 256),
            )
            self.addLink(host, access, impaired=True)


def build(clients: int, first: int) -> Topo:
    """Make the topology.

    Args:
        clients: Number of client hosts, 1 to 500.
        first: Number of the first of them; c1 to cN are those of a lab that shares its clients with no other.
    """
    return AccessNetwork(clients=clients, first=first)
