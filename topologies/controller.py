# Neither framework has types:
# mypy: disable-error-code="misc, untyped-decorator"
"""The OpenFlow controller of the emulated network: a learning switch that also tells Prometheus what crosses it.

    .venv-controller/bin/python topologies/controller.py --listen 127.0.0.1:6653 --metrics 127.0.0.1:9105

It runs on Ryu, and on os-ken, the maintained fork of Ryu, where Python is too new for Ryu itself. Its rules:

* A flow matches the input port and both addresses. Matching the destination alone would hide every further sender at a
  port that several hosts share (a link between switches): it would never be learned, and each answer to it would pass
  through here.
* Flows have no timeout, and the switch floods group addresses by itself: what runs goes on when the controller is dead.
* The switch is the memory. A controller that was restarted reads the hosts' places back from the flows that it finds.
* A host seen at another port has moved: every flow from and to it is deleted, and learning starts again.
* The network is a tree, so that flooding ends.
* Clients may share a port, so what each sends and gets is counted by its flows. What passes before the flow is there, a packet
  or two, is not. Clients have the names that the topology gives them; one that it does not know is named by its address.
"""

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

with warnings.catch_warnings(action="ignore"):  # eventlet announces its own retirement
    eventlet = importlib.import_module("eventlet")
    wsgi: Any = importlib.import_module("eventlet.wsgi")
eventlet.monkey_patch()  # before the framework is imported, which takes its locks and sockets from the standard library
# Ryu 4.34 imports a constant that eventlet has dropped; only its REST server, which does not run here, uses it.
wsgi.ALREADY_HANDLED = getattr(wsgi, "ALREADY_HANDLED", object())
os.environ["OSKEN_HUB_TYPE"] = "eventlet"  # on its native threads os-ken never notices that a switch has gone

FRAMEWORK = "ryu" if importlib.util.find_spec("ryu") else "os_ken"
app_manager = importlib.import_module(f"{FRAMEWORK}.base.app_manager")
cfg = importlib.import_module(f"{FRAMEWORK}.cfg")
importlib.import_module(f"{FRAMEWORK}.controller.controller")  # registers the options that main() sets
handler = importlib.import_module(f"{FRAMEWORK}.controller.handler")
hub = importlib.import_module(f"{FRAMEWORK}.lib.hub")
ethernet = importlib.import_module(f"{FRAMEWORK}.lib.packet.ethernet").ethernet
ofp = importlib.import_module(f"{FRAMEWORK}.ofproto.ofproto_v1_3")
ofp_event = importlib.import_module(f"{FRAMEWORK}.controller.ofp_event")
ofp_parser = importlib.import_module(f"{FRAMEWORK}.ofproto.ofproto_v1_3_parser")
Application: Any = app_manager.RyuApp if FRAMEWORK == "ryu" else app_manager.OSKenApp

POLL_INTERVAL = 1.0  # seconds between two readings of a switch's port counters
FLOW_POLLS = 4  # readings of the ports to one of the flows, of which there are four a client
GROUP_BIT = ("01:00:00:00:00:00", "01:00:00:00:00:00")  # value and mask: set in broadcast and multicast addresses
MISS_PRIORITY, GROUP_PRIORITY, PAIR_PRIORITY = 0, 1, 2
WAN_PREFIX, CLIENT_PREFIX = "02:00:00:00:", "02:00:00:01:"  # of addresses in access_network.py
UNSUPPORTED = (1 << 64) - 1  # what a switch says for a counter that it does not keep (OpenFlow 1.3.5 §7.3.5.6)
REGISTRY = CollectorRegistry()
ClientCounts = dict[tuple[str, str], list[int]]  # MAC address and direction -> packets and bytes


class SwitchCounters(Collector):
    """The latest statistics of every connected switch, its ports' and its clients', as Prometheus counters."""

    def __init__(self) -> None:
        self._statistics: dict[Any, list[Any]] = {}  # by datapath, which has the names of its ports
        self._clients: dict[Any, ClientCounts] = {}
        self._arriving: dict[Any, ClientCounts] = {}  # likewise, of an answer in several parts

    def connect(self, datapath: Any) -> None:
        """Count `datapath` among the connected switches."""
        self._statistics[datapath] = []

    def disconnect(self, datapath: Any) -> None:
        """Forget `datapath` and its counters, if it was there."""
        self._statistics.pop(datapath, None)
        for clients in (self._clients, self._arriving):
            clients.pop(datapath, None)

    def update(self, datapath: Any, statistics: list[Any]) -> None:
        """Replace the counters of `datapath` by those of an `OFPPortStatsReply`."""
        if datapath in self._statistics:
            self._statistics[datapath] = statistics

    def update_clients(self, datapath: Any, flows: list[Any], *, is_last: bool) -> None:
        """Replace the counters of the clients at `datapath` by those of the flows between two addresses, once all have come."""
        clients = self._arriving.setdefault(datapath, {})
        for flow in flows:
            for address, direction in ((flow.match["eth_src"], "up"), (flow.match["eth_dst"], "down")):
                if not address.startswith(WAN_PREFIX):
                    counted = clients.setdefault((address, direction), [0, 0])
                    counted[0] += flow.packet_count
                    counted[1] += flow.byte_count
        if is_last:
            self._clients[datapath] = self._arriving.pop(datapath)

    def datapaths(self) -> list[Any]:
        """Return the connected switches."""
        return list(self._statistics)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, in the names of the switches and of their interfaces."""
        yield GaugeMetricFamily("eloquent_connected_switches", "Switches connected now.", value=len(self._statistics))
        labels = ("switch", "port", "direction")
        packets = CounterMetricFamily("eloquent_switch_port_packets", "Packets through a switch port.", labels=labels)
        octets = CounterMetricFamily("eloquent_switch_port_bytes", "Bytes through a switch port.", labels=labels)
        dropped = CounterMetricFamily(
            "eloquent_switch_port_dropped_packets", "Packets that a switch port dropped.", labels=labels
        )
        for datapath, statistics in self._statistics.items():
            names = {number: port.name.decode() for number, port in datapath.ports.items()}
            switch = switch_name(datapath)
            for port in statistics:
                if port.port_no == ofp.OFPP_LOCAL or port.port_no not in names:
                    continue
                for direction in ("rx", "tx"):
                    for metric, counter in ((packets, "packets"), (octets, "bytes"), (dropped, "dropped")):
                        value = getattr(port, f"{direction}_{counter}")
                        if value != UNSUPPORTED:
                            metric.add_metric((switch, names[port.port_no], direction), value)
        yield from (packets, octets, dropped)
        yield from self._collect_clients()

    def _collect_clients(self) -> Iterator[Metric]:
        labels = ("switch", "client", "direction")
        packets = CounterMetricFamily(
            "eloquent_switch_client_packets", "Packets from (up) and to (down) a client.", labels=labels
        )
        octets = CounterMetricFamily(
            "eloquent_switch_client_bytes", "Bytes from (up) and to (down) a client.", labels=labels
        )
        for datapath, clients in self._clients.items():
            for (address, direction), counted in clients.items():
                for metric, value in zip((packets, octets), counted, strict=True):
                    metric.add_metric((switch_name(datapath), client_name(address), direction), value)
        yield from (packets, octets)


def switch_name(datapath: Any) -> str:
    """Return the name of a switch: its local port is named after the bridge."""
    local = datapath.ports.get(ofp.OFPP_LOCAL)
    return f"s{datapath.id}" if local is None else str(local.name.decode())


def client_name(address: str) -> str:
    """Return the name of the client that has this MAC address in the topology, or the address itself."""
    number = address.removeprefix(CLIENT_PREFIX)
    return address if number == address else f"c{int(number.replace(':', ''), 16)}"


class LearningSwitch(Application):
    """Connects every pair of hosts by the shortest way as soon as both have been heard."""

    OFP_VERSIONS = (ofp.OFP_VERSION,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places: dict[int, dict[str, int]] = {}  # switch -> address -> port
        self._counters = SwitchCounters()
        REGISTRY.register(self._counters)

    def start(self) -> Any:
        """Start handling events, and reading the counters."""
        hub.spawn(self._poll)
        return super().start()

    def _poll(self) -> None:
        for number in itertools.count():
            for datapath in self._counters.datapaths():
                datapath.send_msg(ofp_parser.OFPPortStatsRequest(datapath, 0, ofp.OFPP_ANY))
                if number % FLOW_POLLS == 0:
                    datapath.send_msg(ofp_parser.OFPFlowStatsRequest(datapath))
            hub.sleep(POLL_INTERVAL)

    @handler.set_ev_cls(ofp_event.EventOFPPortStatsReply, handler.MAIN_DISPATCHER)
    def on_port_statistics(self, event: Any) -> None:
        """Take over the counters of a switch."""
        self._counters.update(event.msg.datapath, event.msg.body)

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, [handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER])
    def on_state_change(self, event: Any) -> None:
        """Prepare a switch that has come; forget one that has gone."""
        datapath = event.datapath
        if event.state == handler.DEAD_DISPATCHER:
            self._counters.disconnect(datapath)
            return
        self._counters.connect(datapath)
        self._places[datapath.id] = {}
        datapath.send_msg(ofp_parser.OFPFlowStatsRequest(datapath))
        to_us = ofp_parser.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)
        self._add_flow(datapath, MISS_PRIORITY, ofp_parser.OFPMatch(), [to_us])
        group = ofp_parser.OFPMatch(eth_dst=GROUP_BIT)
        self._add_flow(datapath, GROUP_PRIORITY, group, [ofp_parser.OFPActionOutput(ofp.OFPP_FLOOD), to_us])

    @handler.set_ev_cls(ofp_event.EventOFPFlowStatsReply, handler.MAIN_DISPATCHER)
    def on_flows(self, event: Any) -> None:
        """Take over the clients' counters, and the hosts' places, which an earlier controller may have left in the switch."""
        datapath = event.msg.datapath
        places = self._places[datapath.id]
        flows = [flow for flow in event.msg.body if flow.priority == PAIR_PRIORITY]
        self._counters.update_clients(datapath, flows, is_last=not event.msg.flags & ofp.OFPMPF_REPLY_MORE)
        for flow in flows:
            output = flow.instructions[0].actions[0].port
            for address, port in ((flow.match["eth_src"], flow.match["in_port"]), (flow.match["eth_dst"], output)):
                if places.setdefault(address, port) != port:
                    self._delete_flows(datapath, address)

    @handler.set_ev_cls(ofp_event.EventOFPPacketIn, handler.MAIN_DISPATCHER)
    def on_packet(self, event: Any) -> None:
        """Learn where the sender is, and send the packet on."""
        message = event.msg
        datapath, in_port = message.datapath, message.match["in_port"]
        header, _, _ = ethernet.parser(message.data)
        places = self._places[datapath.id]
        if places.get(header.src, in_port) != in_port:
            self._delete_flows(datapath, header.src)
        places[header.src] = in_port
        if int(header.dst[:2], 16) & 1:
            return  # the switch has flooded it already

        output = places.get(header.dst, ofp.OFPP_FLOOD)
        if output == in_port:
            return
        actions = [ofp_parser.OFPActionOutput(output)]
        if output != ofp.OFPP_FLOOD:
            match = ofp_parser.OFPMatch(in_port=in_port, eth_src=header.src, eth_dst=header.dst)
            self._add_flow(datapath, PAIR_PRIORITY, match, actions)
        packet = ofp_parser.OFPPacketOut(datapath, ofp.OFP_NO_BUFFER, in_port, actions, message.data)
        datapath.send_msg(packet)

    def _add_flow(self, datapath: Any, priority: int, match: Any, actions: list[Any]) -> None:
        apply = [ofp_parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(ofp_parser.OFPFlowMod(datapath, priority=priority, match=match, instructions=apply))

    def _delete_flows(self, datapath: Any, address: str) -> None:
        for match in (ofp_parser.OFPMatch(eth_src=address), ofp_parser.OFPMatch(eth_dst=address)):
            datapath.send_msg(
                ofp_parser.OFPFlowMod(
                    datapath, command=ofp.OFPFC_DELETE, out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY, match=match
                )
            )


def parse_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


def listen(address: tuple[str, int]) -> Any:
    """Open a listening socket, or end the process with a sentence that says why not."""
    try:
        return eventlet.listen(address, reuse_port=False)
    except OSError as error:
        sys.exit(f"controller: cannot listen at {address[0]}:{address[1]}: {error.strerror}")


def announce(address: tuple[str, int]) -> None:
    """Print `ready` once somebody listens at `address`."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
            break
        hub.sleep(0.02)
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def main() -> None:
    """Serve OpenFlow and the metrics until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", type=parse_address, default="127.0.0.1:6653", help="HOST:PORT for the switches")
    parser.add_argument("--metrics", type=parse_address, default="127.0.0.1:9105", help="HOST:PORT for Prometheus")
    arguments = parser.parse_args()
    metrics = listen(arguments.metrics)
    listen(arguments.listen).close()  # is it free? The framework listens by itself, and would only log a refusal

    cfg.CONF(args=[], project="controller", default_config_files=[])
    cfg.CONF.set_override("ofp_listen_host", arguments.listen[0])
    cfg.CONF.set_override("ofp_tcp_listen_port", arguments.listen[1])
    hub.spawn(wsgi.server, metrics, make_wsgi_app(REGISTRY), log_output=False)
    hub.spawn(announce, arguments.listen)
    with contextlib.suppress(KeyboardInterrupt):
        app_manager.AppManager.run_apps([__name__])


if __name__ == "__main__":
    main()
