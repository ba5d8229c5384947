"""One reflector for the probes of many hosts: each is heard in the network of its host."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from eloquent import networks
from eloquent.nodes.link_probe.probes import Link

PLACE = ("127.0.0.1", 7001)  # in each network, another one


@pytest.mark.namespaces
def test_probes_are_echoed_in_the_network_of_each_host(start_node, namespace: Callable[[], int]) -> None:
    hosts = [Path(f"/proc/{namespace()}/ns/net") for _ in range(3)]
    start_node("link_probe", "reflect", "--bind", *(f"{host}@{PLACE[0]}:{PLACE[1]}" for host in hosts))
    for number, host in enumerate(hosts):
        link = Link(run=number)
        with networks.inside(host):
            prober = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with prober:
            prober.settimeout(10)
            for sequence in range(3):
                prober.sendto(link.probe(now=float(sequence)), PLACE)
                link.take_echo(prober.recv(2048), now=sequence + 0.5)
            assert [probe.rtt_s for probe in link.settled(now=3.0)] == [0.5] * 3
