"""Relays in production: what an operator of real relays asks. Is it the network, is it the model, is it us?

Rules of this file: a relay is known by the address that Prometheus asks, `instance`, because nothing else is sure to be there.
What both ends count under one name is told apart by it, too.
"""

from eloquent.watch.panels.definition import SITE, Dashboard, Panel, Query, Threshold

_STALL_LEVELS = (Threshold(0.1, "warning"), Threshold(0.3, "bad"))
_WAIT_LEVELS = (Threshold(1.0, "warning"), Threshold(10.0, "bad"))
_AT_CLIENTS, _OF_MODEL = "eloquent_", "eloquent_model_"  # the prefixes of what edges, and what origins count


def _rate(metric: str, *, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{SITE}{more}}}[$window]))"


def _ratio(numerator: str, denominator: str, *, by: str) -> str:
    """Divide two rates; where the denominator rests there is no value, rather than 0 or NaN."""
    return f"{_rate(numerator, by=by)} / ({_rate(denominator, by=by)} > 0)"


def _stall_ratio(prefix: str, *, by: str) -> str:
    return _ratio(f"{prefix}stall_seconds_total", f"{prefix}stream_seconds_total", by=by)


def _percentiles(who: str, metric: str, *shares: float) -> tuple[Query, ...]:
    """Return percentiles; where nothing was observed, which Prometheus calls NaN, the comparison leaves no value."""
    buckets = _rate(f"{metric}_bucket", by="le, job")
    return tuple(
        Query(f"histogram_quantile({share}, {buckets}) >= 0", f"{who} of {{{{job}}}} p{share * 100:.0f}", sane=(0, 20))
        for share in shares
    )


PRODUCTION = Dashboard(
    uid="eloquent-production",
    title="Relays in production",
    description="What the clients of real relays get, and what stands in their way: the network, the model, or the relays.",
    panels=(
        Panel(
            title="Whose stalls",
            description="Time in gaps longer than 200 ms over the time of the streams, as clients get them and as they come from "
            "the model. Where the two lines lie together, the model is slow; what clients have beyond it is the network's.",
            unit="percentunit",
            kind="timeseries",
            queries=(
                Query(_stall_ratio(_AT_CLIENTS, by="job"), "clients of {{job}}", sane=(0, 1.2)),
                Query(_stall_ratio(_OF_MODEL, by="job"), "model of {{job}}", sane=(0, 1.2)),
            ),
            width=16,
            thresholds=_STALL_LEVELS,
        ),
        Panel(
            title="Stall ratio now",
            description="The latest stall ratio of each edge's clients.",
            unit="percentunit",
            kind="stat",
            queries=(Query(_stall_ratio(_AT_CLIENTS, by="instance"), "{{instance}}", sane=(0, 1.2), instant=True),),
            width=8,
            thresholds=_STALL_LEVELS,
        ),
        Panel(
            title="Stall ratio by scheme and carrier",
            description="A gap counts for what carried the event before it. Over TCP, lost packets hold back what follows.",
            unit="percentunit",
            kind="timeseries",
            queries=(
                Query(_stall_ratio(_AT_CLIENTS, by="scheme, carrier"), "{{scheme}} over {{carrier}}", sane=(0, 1.2)),
            ),
            thresholds=_STALL_LEVELS,
        ),
        Panel(
            title="Longest wait at this moment",
            description="Time since the latest event of the stream that has waited longest. A stall shows here while it "
            "lasts, in the ratios only when it is over. Both high: the model is silent. Clients alone: the network is.",
            unit="s",
            kind="timeseries",
            queries=(
                Query(
                    f"max by (instance) (eloquent_longest_wait_seconds{{{SITE}}})",
                    "clients of {{instance}}",
                    sane=(0, 60),
                ),
                Query(
                    f"max by (instance) (eloquent_model_longest_wait_seconds{{{SITE}}})",
                    "model of {{instance}}",
                    sane=(0, 60),
                ),
            ),
            thresholds=_WAIT_LEVELS,
        ),
        Panel(
            title="Gaps between events",
            description="95th and 99th percentile of the time between two events, at the clients and from the model.",
            unit="s",
            kind="timeseries",
            queries=(
                *_percentiles("clients", "eloquent_token_gap_seconds", 0.95, 0.99),
                *_percentiles("model", "eloquent_model_gap_seconds", 0.95, 0.99),
            ),
        ),
        Panel(
            title="Time to the first event",
            description="Median and 95th percentile, at the clients from their request on, and of the model from when it is "
            "asked. What lies between is the way there and back.",
            unit="s",
            kind="timeseries",
            queries=(
                *_percentiles("clients", "eloquent_time_to_first_token_seconds", 0.5, 0.95),
                *_percentiles("model", "eloquent_model_first_event_seconds", 0.5, 0.95),
            ),
        ),
        Panel(
            title="Answers ended",
            description="By outcome: ok, broken (not whole), left by who had asked, refused before they began.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_answers_total", by="instance, outcome"),
                    "{{instance}} {{outcome}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Answers on their way",
            description="At edges those that clients are getting or wait for; at origins those that run to an edge, and those "
            "that are kept for one that has lost its path.",
            unit="short",
            kind="timeseries",
            queries=(
                Query(f"sum by (instance) (eloquent_active_streams{{{SITE}}})", "{{instance}}", sane=(0, 1e4)),
                Query(
                    f"sum by (instance, state) (eloquent_held_answers{{{SITE}}})",
                    "{{instance}} {{state}}",
                    sane=(0, 1e4),
                ),
            ),
        ),
        Panel(
            title="Errors of the model server",
            description="Responses with an error, by status of HTTP. 502 and 504 are also the origin relay's own words for a "
            "model server that cannot be asked, 503 for an origin relay that has too much to do.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_model_responses_total", by="status", more=',status=~"4..|5.."'),
                    "{{status}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Lost and found",
            description="Answers that were asked for again from where they were, and comments that clients got because nothing "
            "else came.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(_rate("eloquent_resumed_answers_total", by="instance"), "{{instance}} resumed", sane=(0, 1000)),
                Query(
                    _rate("eloquent_keep_alive_comments_total", by="instance"),
                    "{{instance}} comments",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Round-trip time",
            description="As edges know it by their latest requests, and as origins know it by acknowledgements: of the session "
            "in the middle and of the slowest.",
            unit="s",
            kind="timeseries",
            queries=(
                Query(f"max by (instance) (eloquent_path_rtt_seconds{{{SITE}}}) > 0", "{{instance}}", sane=(0, 5)),
                Query(
                    f"max by (instance, which) (eloquent_session_rtt_seconds{{{SITE}}}) >= 0",
                    "{{instance}} {{which}}",
                    sane=(0, 5),
                ),
            ),
        ),
        Panel(
            title="Loss on the path",
            description="Share of the datagrams of sealed UDP and QUIC that did not come, by their numbers: at edges on the way to "
            "the clients, at origins on the way from them.",
            unit="percentunit",
            kind="timeseries",
            queries=(
                Query(
                    _ratio("eloquent_path_lost_packets_total", "eloquent_path_packets_total", by="instance"),
                    "{{instance}}",
                    sane=(0, 1),
                ),
            ),
            thresholds=(Threshold(0.1, "warning"), Threshold(0.5, "bad")),
        ),
        Panel(
            title="Edges over TCP",
            description="Red while an edge's new answers come over TCP, which cures no stalls: UDP is blocked there, or was "
            "forbidden to it.",
            unit="short",
            kind="state",
            queries=(
                Query(
                    f'max by (instance) (eloquent_carrier{{{SITE},carrier="tcp"}})',
                    "{{instance}}",
                    sane=(-0.5, 1),
                ),
            ),
            thresholds=(Threshold(1.0, "bad"),),
        ),
        Panel(
            title="Edges by carrier",
            description="How many edges' new answers come by each: sealed UDP, TCP where that is blocked, or QUIC.",
            unit="short",
            kind="timeseries",
            queries=(Query(f"sum by (carrier) (eloquent_carrier{{{SITE}}})", "{{carrier}}", sane=(0, 1e4)),),
        ),
        Panel(
            title="Silence of the origin relay",
            description="Time for which an edge has awaited something and nothing came, from anybody: the path is down, or the "
            "origin relay is.",
            unit="s",
            kind="timeseries",
            queries=(
                Query(f"max by (instance) (eloquent_path_silence_seconds{{{SITE}}})", "{{instance}}", sane=(0, 60)),
            ),
            thresholds=(Threshold(2.0, "warning"), Threshold(5.0, "bad")),
        ),
        Panel(
            title="Bytes on the wire",
            description="Of datagrams between the relays, headers down to IP included, as each end sends and gets them.",
            unit="Bps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_datagram_bytes_total", by="instance, direction"),
                    "{{instance}} {{direction}}",
                    sane=(0, 1e9),
                ),
            ),
        ),
        Panel(
            title="Redundancy",
            description="Bytes of events sent beyond the first copy of each, over those first copies: what the cure costs.",
            unit="percentunit",
            kind="timeseries",
            queries=(
                Query(
                    _ratio("eloquent_redundant_bytes_total", "eloquent_original_bytes_total", by="scheme"),
                    "{{scheme}}",
                    sane=(0, 30),
                ),
            ),
        ),
        Panel(
            title="Held back by congestion",
            description="Sessions whose window has no room for what they have to send, and cuts of windows. Clients stall then "
            "because the line is full.",
            unit="short",
            kind="timeseries",
            queries=(
                Query(f"sum by (instance) (eloquent_limited_sessions{{{SITE}}})", "{{instance}} held", sane=(0, 1e4)),
                Query(
                    _rate("eloquent_congestion_cuts_total", by="instance"),
                    "{{instance}} cuts a second",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Least congestion window",
            description="Of the sessions with answers on their way.",
            unit="bytes",
            kind="timeseries",
            queries=(
                Query(
                    f"min by (instance) (eloquent_congestion_window_bytes{{{SITE}}} >= 0)",
                    "{{instance}}",
                    sane=(50, 2e7),
                ),
            ),
        ),
        Panel(
            title="Unacknowledged events",
            description="What origins hold because their edges have not acknowledged it. A client that does not read, or a "
            "path that is down, makes it grow.",
            unit="short",
            kind="timeseries",
            queries=(Query(f"sum by (scheme) (eloquent_unacked_tokens{{{SITE}}})", "{{scheme}}", sane=(0, 1e6)),),
        ),
        Panel(
            title="Requests held",
            description="Bytes of requests on their way: at edges those without an answer yet, at origins those that are not "
            "whole yet or that the model server has not taken.",
            unit="bytes",
            kind="timeseries",
            queries=(
                Query(f"sum by (instance) (eloquent_held_request_bytes{{{SITE}}})", "{{instance}}", sane=(0, 1e9)),
            ),
        ),
        Panel(
            title="Refused at a limit",
            description="Sessions, answers and requests beyond a bound of the origin relay, and connections over TCP.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_refusals_total", by="instance, limit"),
                    "{{instance}} {{limit}}",
                    sane=(0, 1000),
                ),
                Query(
                    _rate("eloquent_refused_connections_total", by="instance, reason"),
                    "{{instance}} connections, {{reason}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Pages",
            description="Browsers that are connected, their sessions of WebTransport, and the answers that they have asked.",
            unit="short",
            kind="timeseries",
            queries=tuple(
                Query(f"sum by (instance) (eloquent_page_{what}{{{SITE}}})", f"{{{{instance}}}} {what}", sane=(0, 1e4))
                for what in ("connections", "sessions", "answers")
            ),
        ),
        Panel(
            title="Pages refused",
            description="By reason: origin and token of a page that wants to begin a session, path of its URL; target of a "
            "request, or the request itself; full where there are as many sessions as may be.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_page_refusals_total", by="instance, reason"),
                    "{{instance}} {{reason}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Kept out by the seal",
            description="Datagrams that were dropped without an answer, by reason: strangers, edges with another key, replays. "
            "Some of no association, or of no connection, are left over from an edge that has moved.",
            unit="pps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_dropped_datagrams_total", by="instance, reason"),
                    "{{instance}} {{reason}}",
                    sane=(0, 1e4),
                ),
                Query(
                    _rate("eloquent_malformed_datagrams_total", by="instance"),
                    "{{instance}} dropped in all",
                    sane=(0, 1e4),
                ),
            ),
        ),
        Panel(
            title="Sessions",
            description="Sessions between relays that are open, as each end counts them.",
            unit="short",
            kind="timeseries",
            queries=(Query(f"sum by (instance) (eloquent_sessions{{{SITE}}})", "{{instance}}", sane=(0, 1e4)),),
        ),
        Panel(
            title="Datagrams by kind",
            description="Of sessions, sent and received, as each end counts them.",
            unit="pps",
            kind="timeseries",
            queries=(
                Query(
                    _rate("eloquent_datagrams_total", by="instance, direction, kind"),
                    "{{instance}} {{direction}} {{kind}}",
                    sane=(0, 1e6),
                ),
            ),
        ),
        Panel(
            title="Processor time",
            description="Processor seconds a second of each relay; at 100 % it is at its limit, and makes stalls of its own.",
            unit="percentunit",
            kind="timeseries",
            queries=(Query(_rate("process_cpu_seconds_total", by="instance"), "{{instance}}", sane=(0, 2)),),
            thresholds=(Threshold(0.7, "warning"), Threshold(0.9, "bad")),
        ),
        Panel(
            title="Memory",
            description="Resident memory of each relay.",
            unit="bytes",
            kind="timeseries",
            queries=(
                Query(f"sum by (instance) (process_resident_memory_bytes{{{SITE}}})", "{{instance}}", sane=(1e7, 4e9)),
            ),
        ),
    ),
    variables=("instance",),
    presence="eloquent_sessions",
)
