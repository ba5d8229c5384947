"""What an event costs at the endpoints in virtual time, without sockets, as `bench/endpoints.py` measures it."""

from bench.endpoints import measure_endpoints, measure_stock
from bench.tables import Column, Rows, Table

STREAMS = (10, 100, 500)
CARRIERS = ("plain", "sealed")


def measure() -> Rows:
    """Return what an event takes, by carrier and number of streams."""
    rows: Rows = {}
    for streams in STREAMS:
        for carrier in CARRIERS:
            rows[f"{carrier}, {streams}"] = _short(measure_endpoints(streams, carrier=carrier).costs)
        rows[f"aioquic alone, {streams}"] = _short(measure_stock(streams).costs)
    return rows


def _short(costs: dict[str, float]) -> dict[str, float]:
    return {name.partition(",")[0]: cost for name, cost in costs.items()}


def derive(rows: Rows) -> Rows:
    """Add what both ends take together."""
    return {case: {**row, "both": row["server"] + row["client"]} for case, row in rows.items()}


TABLE = Table(
    title="Protocol in virtual time",
    about=(
        "µs an event of a stream of 50 a second, without sockets (`bench/endpoints.py`, which also tells by a digest that what is"
        " sent stays the same); aioquic alone carries a datagram of an event's size and a small one back for each."
    ),
    case="what, streams",
    columns=(
        Column("server", "server"),
        Column("client", "client"),
        Column("both", "both"),
        Column("a datagram", "a datagram"),
    ),
    compared="both",
    derive=derive,
)
