"""Stalls: what readers see, by scheme and by client."""

from eloquent.watch.panels.definition import STREAM, Dashboard, Panel, Query, Threshold


def _rate(metric: str, *, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{STREAM}}}[$window]))"


def _ratio(numerator: str, denominator: str, *, by: str) -> str:
    """Divide two rates; where the denominator rests there is no value, rather than 0 or NaN."""
    return f"{_rate(numerator, by=by)} / ({_rate(denominator, by=by)} > 0)"


def _percentile(share: float, metric: str) -> str:
    """Return a percentile; where nothing was observed, which Prometheus calls NaN, the comparison leaves no value."""
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', by='le, scheme')}) >= 0"


def _stall_ratio(*, by: str) -> str:
    return _ratio("eloquent_stall_seconds_total", "eloquent_stream_seconds_total", by=by)


_STALL_LEVELS = (Threshold(0.1, "warning"), Threshold(0.3, "bad"))
_WAIT_LEVELS = (Threshold(0.2, "warning"), Threshold(1.0, "bad"))

STALLS = Dashboard(
    uid="eloquent-stalls",
    title="Stalls",
    description="What readers of token streams see: how long, how often and where the text stands still.",
    panels=(
        Panel(
            title="Stall ratio by scheme",
            description="Time spent in gaps longer than 200 ms over the time of the streams: 0.3 means that of ten "
            "seconds of reading three pass in front of a frozen sentence.",
            unit="percentunit",
            kind="timeseries",
            queries=(Query(_stall_ratio(by="scheme"), "{{scheme}}", sane=(0, 1.2)),),
            width=16,
            thresholds=_STALL_LEVELS,
        ),
        Panel(
            title="Stall ratio now",
            description="The latest stall ratio of each scheme over all chosen clients.",
            unit="percentunit",
            kind="stat",
            queries=(Query(_stall_ratio(by="scheme"), "{{scheme}}", sane=(0, 1.2), instant=True),),
            width=8,
            thresholds=_STALL_LEVELS,
        ),
        Panel(
            title="Clients' stall ratio",
            description="A strip for each client and scheme: green below 10 %, yellow from 10 %, red from 30 % of the "
            "time in stalls. Clients on the same train turn red together.",
            unit="percentunit",
            kind="state",
            queries=(Query(_stall_ratio(by="client, scheme"), "{{client}} {{scheme}}", sane=(0, 1.2)),),
            width=24,
            thresholds=_STALL_LEVELS,
        ),
        Panel(
            title="Longest wait at this moment",
            description="Time since the latest token of the stream that has waited longest, 0 without a stream. A stall "
            "shows here while it lasts, in the ratios only when it is over.",
            unit="s",
            kind="timeseries",
            queries=(
                Query(
                    f"max by (client, scheme) (eloquent_longest_wait_seconds{{{STREAM}}})",
                    "{{client}} {{scheme}}",
                    sane=(0, 60),
                ),
            ),
            width=24,
            thresholds=_WAIT_LEVELS,
        ),
        Panel(
            title="Gaps between tokens",
            description="95th and 99th percentile of the time between two renderings. Above 200 ms a reader notices.",
            unit="s",
            kind="timeseries",
            queries=tuple(
                Query(
                    _percentile(share, "eloquent_token_gap_seconds"),
                    f"{{{{scheme}}}} p{share * 100:.0f}",
                    sane=(0.001, 10),
                )
                for share in (0.95, 0.99)
            ),
            thresholds=_WAIT_LEVELS,
        ),
        Panel(
            title="Time to the first token",
            description="Median and 95th percentile of the time from the request to the first rendering.",
            unit="s",
            kind="timeseries",
            queries=tuple(
                Query(
                    _percentile(share, "eloquent_time_to_first_token_seconds"),
                    f"{{{{scheme}}}} p{share * 100:.0f}",
                    sane=(0.001, 20),
                )
                for share in (0.5, 0.95)
            ),
        ),
        Panel(
            title="Lengths of stalls",
            description="How many stalls of which length ended, by the second; the stronger the colour, the more.",
            unit="s",
            kind="heatmap",
            queries=(
                Query(_rate("eloquent_stall_length_seconds_bucket", by="le"), "{{le}}", sane=(0, 1000), heatmap=True),
            ),
        ),
        Panel(
            title="Late tokens",
            description="Share of the tokens that were rendered more than 400 ms after they were generated.",
            unit="percentunit",
            kind="timeseries",
            queries=(
                Query(
                    _ratio("eloquent_late_tokens_total", "eloquent_rendered_tokens_total", by="scheme"),
                    "{{scheme}}",
                    sane=(0, 1.2),
                ),
            ),
        ),
        Panel(
            title="Redundancy",
            description="Bytes of tokens sent beyond the first copy of each, over those first copies: the price of a "
            "low stall ratio. Over TCP these are the kernel's retransmissions.",
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
            title="Tokens rendered",
            description="Tokens a second, by scheme: what the ratios on this page stand on.",
            unit="cps",
            kind="timeseries",
            queries=(Query(_rate("eloquent_rendered_tokens_total", by="scheme"), "{{scheme}}", sane=(0, 1e5)),),
        ),
    ),
)
