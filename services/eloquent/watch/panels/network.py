"""Network: what the links and switches do, told and measured."""

from eloquent.watch.panels.definition import LINK, RUN, Dashboard, Panel, Query, Threshold

_LOSS_LEVELS = (Threshold(0.1, "warning"), Threshold(0.5, "bad"))
_PROBES = f"sum by (client, direction) (rate(eloquent_link_probes_total{{{LINK}}}[$window]))"
_LOST = f"sum by (client, direction) (rate(eloquent_link_probes_lost_total{{{LINK}}}[$window]))"


def _ports(what: str) -> str:
    return f"sum by (switch, port, direction) (rate(eloquent_switch_port_{what}_total{{{RUN}}}[$window]))"


NETWORK = Dashboard(
    uid="eloquent-network",
    title="Network",
    description="What the impaired links are told to do, what they are measured to do, and what the switches count.",
    panels=(
        Panel(
            title="State of the links",
            description="Loss probability in force on each link, sampled: green passes everything, red is a bad state.",
            unit="percentunit",
            kind="state",
            queries=(
                Query(
                    f"max by (client, direction) (eloquent_link_loss_probability{{{LINK}}})",
                    "{{client}} {{direction}}",
                    sane=(0, 1),
                ),
            ),
            width=24,
            thresholds=_LOSS_LEVELS,
        ),
        Panel(
            title="Measured loss",
            description="Share of the link probe's datagrams that were lost, by link and direction. Probes leave every "
            "100 ms, on more than 40 links less often, so this is an even sample of time, whatever the schemes send.",
            unit="percentunit",
            kind="timeseries",
            queries=(Query(f"{_LOST} / ({_PROBES} > 0)", "{{client}} {{direction}}", sane=(0, 1.1)),),
            thresholds=_LOSS_LEVELS,
        ),
        Panel(
            title="Measured round-trip time",
            description="Round-trip time of the latest probe that came back, by link. It grows where a queue fills.",
            unit="s",
            kind="timeseries",
            queries=(Query(f"max by (client) (eloquent_link_rtt_seconds{{{LINK}}})", "{{client}}", sane=(0.0005, 5)),),
        ),
        Panel(
            title="Packets at the links",
            description="Packets that the emulated links carried, lost by the scenario, or dropped at a full queue.",
            unit="pps",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (direction, outcome) (rate(eloquent_link_packets_total{{{LINK}}}[$window]))",
                    "{{direction}} {{outcome}}",
                    sane=(0, 1e6),
                ),
            ),
        ),
        Panel(
            title="Packets at the switch ports",
            description="Packets through each port of the switches, received and sent, by the controller's own count.",
            unit="pps",
            kind="timeseries",
            queries=(Query(_ports("packets"), "{{port}} {{direction}}", sane=(0, 1e6)),),
        ),
        Panel(
            title="Bytes at the switch ports",
            description="Bytes a second through each port of the switches, received and sent.",
            unit="Bps",
            kind="timeseries",
            queries=(Query(_ports("bytes"), "{{port}} {{direction}}", sane=(0, 1e9)),),
        ),
        Panel(
            title="Bytes of the clients",
            description="Bytes a second from and to each client, by the flows of its switch, which are read every four seconds; "
            "clients may share a port.",
            unit="Bps",
            kind="timeseries",
            queries=(
                Query(
                    f"max by (client, direction) (rate(eloquent_switch_client_bytes_total{{{LINK}}}[$window]))",
                    "{{client}} {{direction}}",
                    sane=(0, 1e9),
                ),
            ),
        ),
        Panel(
            title="Drops at the switch ports",
            description="Packets that the switches dropped. Loss belongs to the links: here it should be 0.",
            unit="pps",
            kind="timeseries",
            queries=(Query(_ports("dropped_packets"), "{{port}} {{direction}}", sane=(0, 1000)),),
        ),
        Panel(
            title="Switches connected",
            description="Switches that talk to the controller; 2 in this testbed. Streams go on without it.",
            unit="short",
            kind="stat",
            queries=(Query(f"sum(eloquent_connected_switches{{{RUN}}})", "switches", sane=(1, 10), instant=True),),
            width=6,
        ),
        Panel(
            title="Pages that answer",
            description="Processes of the testbed whose metrics Prometheus can read, by role.",
            unit="short",
            kind="table",
            queries=(Query(f"sum by (role) (up{{{RUN}}})", "{{role}}", sane=(0, 1000), instant=True),),
            width=6,
        ),
    ),
    variables=("client", "scenario"),
)
