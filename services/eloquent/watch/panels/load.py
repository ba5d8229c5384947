"""Load: what the load test asks of the testbed, and whether its own processes keep up."""

from eloquent.watch.panels.definition import LINK, STREAM, Dashboard, Panel, Query, Threshold

_LAG_LEVELS = (Threshold(0.01, "warning"), Threshold(0.02, "bad"))
_LAG = f"sum by (le, client) (rate(eloquent_load_lag_seconds_bucket{{{LINK}}}[$window]))"

LOAD = Dashboard(
    uid="eloquent-load",
    title="Load",
    description="What the load test asks of the testbed, and whether its own processes keep up.",
    panels=(
        Panel(
            title="Users",
            description="Chats in progress, by scheme.",
            unit="short",
            kind="timeseries",
            queries=(Query(f"sum by (scheme) (eloquent_load_users{{{STREAM}}})", "{{scheme}}", sane=(0, 100000)),),
        ),
        Panel(
            title="Streams being rendered",
            description="Answers that are arriving at this moment, by scheme; the other users think.",
            unit="short",
            kind="timeseries",
            queries=(Query(f"sum by (scheme) (eloquent_active_streams{{{STREAM}}})", "{{scheme}}", sane=(0, 100000)),),
        ),
        Panel(
            title="Streams ended",
            description="Answers that came to an end, by outcome: ok, left by their reader, or what went wrong.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (scheme, outcome) (rate(eloquent_streams_total{{{STREAM}}}[$window]))",
                    "{{scheme}} {{outcome}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Failures",
            description="Streams of the load that failed, by scheme and outcome; 0 where a scheme has users and none "
            "has failed.",
            unit="cps",
            kind="timeseries",
            queries=(
                Query(
                    f"sum by (scheme, outcome) (rate(eloquent_load_failures_total{{{STREAM}}}[$window]))"
                    f" or on (scheme) 0 * sum by (scheme) (eloquent_load_users{{{STREAM}}})",
                    "{{scheme}} {{outcome}}",
                    sane=(0, 1000),
                ),
            ),
        ),
        Panel(
            title="Lag of the load processes",
            description="99th percentile of how late the load's own timers are. Above 20 ms the tester is starved and "
            "the stalls it reports may be its own.",
            unit="s",
            kind="timeseries",
            queries=(Query(f"histogram_quantile(0.99, {_LAG}) >= 0", "{{client}}", sane=(0, 1)),),
            width=24,
            thresholds=_LAG_LEVELS,
        ),
    ),
)
