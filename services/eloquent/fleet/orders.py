"""What each lab of a fleet is to do: its share of the clients and of the users.

Rules of this file: a client has the same name in the fleet as in its lab, and no two have one. The losses of a link depend on the
seed and on the client's name, so every client meets losses of its own, and the same ones however many labs share the clients.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eloquent.emulation.options import Options, parse_options
from eloquent.errors import ConfigurationError
from eloquent.load.options import LoadOptions

CLIENTS_OF_A_LAB = 8  # where nothing else is asked for
SEEDS_APART = 1000  # between the users of two labs


@dataclass(frozen=True, slots=True)
class LabOrder:
    """What one lab is to do.

    Attributes:
        fleet: Name of the fleet's run.
        number: Number of the lab, from 1.
        options: What to run.
        load: The load test to run then; None for none.
    """

    fleet: str
    number: int
    options: Options
    load: LoadOptions | None

    @property
    def name(self) -> str:
        """What the lab is called, and the folder of its records."""
        return f"lab-{self.number}"


def deal(
    fleet: str, *, labs: int, clients: int | None, values: Mapping[str, object], load: LoadOptions | None
) -> list[LabOrder]:
    """Share clients and users out among labs, as evenly as they go.

    Args:
        fleet: Name of the fleet's run.
        labs: How many labs there are, from 1.
        clients: Clients of all labs together; None for eight a lab.
        values: All other options of a lab: fields of `Options`.
        load: The load test, with the users of all labs together; None for rounds.

    Raises:
        ConfigurationError: An option is unusable, or there are fewer clients or users than labs.
    """
    total = CLIENTS_OF_A_LAB * labs if clients is None else clients
    for name, number in {"CLIENTS": total, **({} if load is None else {"USERS": load.users})}.items():
        if number < labs:
            raise ConfigurationError(f"{name}={number} is not possible: each of LABS={labs} labs needs one")
    if load is not None:  # what is asked for is the load; a second of rounds shows that the lab streams
        values = {**values, "rounds": 1, "session_s": 1.0}
    users = [None] * labs if load is None else list(_shares(load.users, labs))
    orders, first = [], 1
    for number, (share, users_here) in enumerate(zip(_shares(total, labs), users, strict=True), start=1):
        options = parse_options(clients=share, first_client=first, background=False, **values)
        part = None
        if load is not None:
            part = load.model_copy(update={"users": users_here, "seed": load.seed + SEEDS_APART * (number - 1)})
        orders.append(LabOrder(fleet, number, options, part))
        first += share
    return orders


def _shares(total: int, parts: int) -> Iterator[int]:
    """Yield the parts of a number that differ by one at most, the larger ones first."""
    least, more = divmod(total, parts)
    return (least + (part < more) for part in range(parts))
