"""Where clients sit: one in the network of the viewer's own process, or several, each in the network of its host."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from eloquent.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of one client.

    Attributes:
        client: Its name.
        network: The file of the network that it asks from; None for the process's own.
        offset_s: Seconds from the start of each round to its own.
    """

    client: str
    network: Path | None
    offset_s: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return the seat as the file of seats holds it."""
        return {
            "client": self.client,
            "network": None if self.network is None else str(self.network),
            "offset_s": self.offset_s,
        }


def read_seats(flags: argparse.Namespace) -> list[Seat]:
    """Return the seats that the flags name.

    Args:
        flags: With `client`, or with `seats`, a file with a list of seats.

    Raises:
        ConfigurationError: The file cannot be read, or holds something else.
    """
    if flags.seats is None:
        return [Seat(flags.client, None)]
    try:
        return [
            Seat(one["client"], Path(one["network"]) if one["network"] else None, one["offset_s"])
            for one in json.loads(flags.seats.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{flags.seats} is no list of seats: {error!r}") from error
