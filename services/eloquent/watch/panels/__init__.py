"""The dashboards, defined once: Grafana's JSON, the board and the tests are all made from these objects."""

from collections.abc import Iterator

from eloquent.watch.panels.definition import (
    ANYTHING,
    WINDOW,
    Dashboard,
    Kind,
    Level,
    Panel,
    Query,
    Threshold,
    Unit,
)
from eloquent.watch.panels.load import LOAD
from eloquent.watch.panels.network import NETWORK
from eloquent.watch.panels.production import PRODUCTION
from eloquent.watch.panels.relays import RELAYS
from eloquent.watch.panels.stalls import STALLS

__all__ = [
    "ANYTHING",
    "DASHBOARDS",
    "LOAD",
    "NETWORK",
    "PRODUCTION",
    "RELAYS",
    "STALLS",
    "TESTBED",
    "WINDOW",
    "Dashboard",
    "Kind",
    "Level",
    "Panel",
    "Query",
    "Threshold",
    "Unit",
    "queries",
]

TESTBED = (STALLS, NETWORK, RELAYS, LOAD)  # what a testbed has data for
DASHBOARDS = (*TESTBED, PRODUCTION)


def queries(
    *, client: str = ANYTHING, scheme: str = ANYTHING, scenario: str = ANYTHING, window: str = WINDOW
) -> Iterator[tuple[Dashboard, Panel, Query, str]]:
    """Yield every query of every panel, with its expression filled in as `Query.fill` does."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                yield (
                    dashboard,
                    panel,
                    query,
                    query.fill(client=client, scheme=scheme, scenario=scenario, window=window),
                )
