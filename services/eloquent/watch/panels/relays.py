"""Relays: what the two ends of Eloquent hold, send and cost."""

from eloquent.watch.panels.definition import RUN, Dashboard, Panel, Query, Threshold

_RELAYS = f'{RUN},role=~"origin_relay|edge_relay"'
_SCHEMES = f'{RUN},scheme=~"$scheme"'

RELAYS = Dashboard(
    uid="eloquent-relays",
    title="Relays",
    description="What the origin relay and the edge relays hold, send and give up, and what each process costs.",
    panels=(
        Panel(
            title="Sessions",
            description="Sessions between relays that are open, as each end counts them.",
            unit="short",
            kind="timeseries",
            queries=(
                Query(f"sum by (role, host) (eloquent_sessions{{{_RELAYS}}})", "{{role}} {{host}}", sane=(0, 10000)),
            ),
        ),
        Panel(
            title="Unacknowledged tokens",
            description="Tokens that the origin relay holds because their client has not acknowledged them. In good "
            "times about one round trip's worth of each stream; an outage makes it grow.",
            unit="short",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (scheme) (eloquent_unacked_tokens{{{_SCHEMES}}})",
                    "{{scheme}}",
                    sane=(0, 1e6),
                ),
            ),
        ),
        Panel(
            title="Packets by kind",
            description="Datagrams of sessions, sent and received by the relays, by their kind.",
            unit="pps",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (role, direction, kind) (rate(eloquent_datagrams_total{{{_RELAYS}}}[$window]))",
                    "{{role}} {{direction}} {{kind}}",
                    sane=(0, 1e6),
                ),
            ),
        ),
        Panel(
            title="Give-ups",
            description="Streams that a relay gave up because the other end was silent too long, and streams that "
            "their client left.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (role) (rate(eloquent_given_up_streams_total{{{_RELAYS}}}[$window]))",
                    "{{role}} gave up",
                    sane=(0, 1000),
                ),
                Query(
                    f"sum by (role) (rate(eloquent_cancelled_streams_total{{{_RELAYS}}}[$window]))",
                    "{{role}} cancelled",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Malformed datagrams",
            description="Datagrams that a relay dropped because they could not be decoded. 0 on a closed network.",
            unit="pps",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (role, host) (rate(eloquent_malformed_datagrams_total{{{_RELAYS}}}[$window]))",
                    "{{role}} {{host}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Processor time",
            description="Processor seconds a second of each relay, and of every other process of the testbed that "
            "shows metrics of its own; at 100 % a process is at its limit.",
            unit="percentunit",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (role, host) (rate(process_cpu_seconds_total{{{RUN}}}[$window]))",
                    "{{role}} {{host}}",
                    sane=(0, 2),
                ),
            ),
            thresholds=(Threshold(0.7, "warning"), Threshold(0.9, "bad")),
        ),
        Panel(
            title="Memory",
            description="Resident memory of the same processes.",
            unit="bytes",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (role, host) (process_resident_memory_bytes{{{RUN}}})",
                    "{{role}} {{host}}",
                    sane=(1e7, 4e9),
                ),
            ),
        ),
    ),
    variables=("scheme", "scenario"),
)
