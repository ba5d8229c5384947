"""The clients of a lab that shares them with others."""

from eloquent.emulation.network import load_topology
from eloquent.emulation.options import parse_options


def test_a_clients_name_and_mac_tell_its_number_in_the_fleet_and_its_address_its_place_in_the_lab():
    topology = load_topology(parse_options().topology)(2, 300)
    hosts = {name: topology.nodeInfo(name) for name in topology.hosts()}
    assert set(hosts) == {"server", "origin", "c300", "c301"}
    assert [hosts[name]["ip"] for name in ("c300", "c301")] == ["10.0.1.1/16", "10.0.1.2/16"]
    assert [hosts[name]["mac"][-5:] for name in ("c300", "c301")] == ["01:2c", "01:2d"]
