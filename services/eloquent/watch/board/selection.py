"""What the page may ask for.

Rules of this file: nothing of it reaches Prometheus that is not a name from a closed set. The page never writes PromQL.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import QueryParams

from eloquent import schemes
from eloquent.errors import ConfigurationError
from eloquent.watch.panels import ANYTHING, TESTBED, Dashboard, Panel, Query

WINDOWS = ("30s", "1m", "2m", "5m")
SPANS = {"5m": 300.0, "15m": 900.0, "1h": 3600.0, "6h": 21600.0}  # seconds
SCRAPE_INTERVAL = 2.0  # seconds; more points than that are the same points
POINTS = 240  # of a chart, at most
_Value = TypeVar("_Value")
_HARMLESS = re.compile(r"[a-z0-9-]+")  # what may stand in a regular expression of PromQL without a meaning there


@dataclass(frozen=True, slots=True)
class Selection:
    """What the page wants to see.

    Attributes:
        dashboard: Which dashboard.
        panels: Which of its panels, by their place.
        client: Regular expression of the clients.
        scheme: Likewise, of the schemes.
        window: Time over which rates are taken.
        span: Length of the charts in seconds.
    """

    dashboard: Dashboard
    panels: dict[int, Panel]
    client: str
    scheme: str
    window: str
    span: float

    @classmethod
    def parse(cls, words: QueryParams, clients: Collection[str]) -> "Selection":
        """Read what the page asks for.

        Args:
            words: The query of its request.
            clients: The clients that there are.

        Raises:
            ConfigurationError: It asks for something that is not in a closed set.
        """
        dashboard = _one_of("dashboard", words.get("dashboard", ""), {one.uid: one for one in TESTBED})
        places = {str(place): place for place in range(len(dashboard.panels))}
        chosen = [_one_of("panel", text, places) for text in words.getlist("panel")] or places.values()
        return cls(
            dashboard=dashboard,
            panels={place: dashboard.panels[place] for place in sorted(chosen)},
            client=_alternatives([_client(name, clients) for name in words.getlist("client")]),
            scheme=_alternatives([_scheme(name) for name in words.getlist("scheme")]),
            window=_one_of("window", words.get("window", WINDOWS[0]), {window: window for window in WINDOWS}),
            span=_one_of("span", words.get("span", "5m"), SPANS),
        )

    @property
    def step(self) -> float:
        """Seconds between two points of a chart."""
        return max(SCRAPE_INTERVAL, self.span / POINTS)

    def fill(self, query: Query) -> str:
        """Return the expression of a query."""
        return query.fill(client=self.client, scheme=self.scheme, window=self.window)


def _one_of(what: str, text: str, known: dict[str, _Value]) -> _Value:
    if text not in known:
        raise ConfigurationError(f"there is no {what} '{text}': choose from {', '.join(known)}")
    return known[text]


def _client(name: str, clients: Collection[str]) -> str:
    if name not in clients or not _HARMLESS.fullmatch(name):
        raise ConfigurationError(f"there is no client '{name}'")
    return name


def _scheme(name: str) -> str:
    if not _HARMLESS.fullmatch(name):
        raise ConfigurationError(f"'{name}' is not a scheme")
    return schemes.get(name).name


def _alternatives(names: list[str]) -> str:
    return "|".join(names) or ANYTHING
