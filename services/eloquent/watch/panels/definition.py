"""What a dashboard is made of. Frozen data: nothing of Grafana, nothing of a browser.

Rules of this file: an expression is PromQL with the placeholders `$job`, `$instance`, `$scenario`, `$client` and `$scheme`
(regular expressions) and `$window` (a duration); a legend is Prometheus's labels in double braces. Whoever shows a panel fills
them in, Grafana by its variables and all others by `Query.fill`.
"""

from dataclasses import dataclass
from string import Template
from typing import Literal

Unit = Literal["percentunit", "s", "short", "pps", "Bps", "bytes", "cps"]  # Grafana's names; cps: counts a second
Kind = Literal["timeseries", "stat", "heatmap", "state", "table"]
Level = Literal["good", "warning", "bad"]

ANYTHING = ".+"  # the regular expression of a variable that selects all
WINDOW = "30s"  # of rates, where nobody chooses another

RUN = 'job=~"$job",scenario=~"$scenario"'  # the labels that every target of a run has
LINK = f'{RUN},client=~"$client"'
STREAM = f'{LINK},scheme=~"$scheme"'
SITE = 'job=~"$job",instance=~"$instance"'  # the labels that Prometheus gives every target by itself


@dataclass(frozen=True, slots=True)
class Query:
    """A query of Prometheus.

    Attributes:
        expr: PromQL with placeholders.
        legend: Name of each series, as in `{{client}}`.
        sane: The smallest and the largest value that a working testbed under load shows, in the panel's unit.
        instant: Only the present counts, as for a table.
        heatmap: The series are the buckets of a histogram, cumulative, with the label `le`.
    """

    expr: str
    legend: str
    sane: tuple[float, float]
    instant: bool = False
    heatmap: bool = False

    def fill(
        self,
        *,
        client: str = ANYTHING,
        scheme: str = ANYTHING,
        scenario: str = ANYTHING,
        job: str = ANYTHING,
        instance: str = ANYTHING,
        window: str = WINDOW,
    ) -> str:
        """Return the expression for Prometheus.

        Args:
            client: Regular expression of the clients.
            scheme: Likewise, of the schemes.
            scenario: Likewise, of the scenarios.
            job: Likewise, of Prometheus's jobs.
            instance: Likewise, of the addresses that Prometheus asks.
            window: Time over which rates are taken, as in `30s`.
        """
        return Template(self.expr).substitute(
            client=client, scheme=scheme, scenario=scenario, job=job, instance=instance, window=window
        )


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value from which on a panel changes its colour.

    Attributes:
        value: In the panel's unit.
        level: What such values mean.
    """

    value: float
    level: Level


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart.

    Attributes:
        title: A few words.
        description: What it shows, and how to read it.
        unit: Of the values; of a heat map, of its buckets' bounds.
        kind: `state` is a strip a series, coloured by the thresholds; `table` shows the present values.
        queries: What it shows.
        width: Of 24.
        thresholds: Rising; values below the first are good.
    """

    title: str
    description: str
    unit: Unit
    kind: Kind
    queries: tuple[Query, ...]
    width: int = 12
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels.

    Attributes:
        uid: Stands in its address.
        title: A word.
        description: Who looks at it, and for what.
        panels: In the order of reading.
        variables: Which placeholders its expressions have, beside `$job` and `$window`.
        presence: A metric that some process which it shows always has: by it the jobs are found.
    """

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    variables: tuple[Literal["client", "scheme", "scenario", "instance"], ...] = ("client", "scheme", "scenario")
    presence: str = "eloquent_run_info"
