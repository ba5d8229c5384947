"""What runs: written by the lab when it stands, read by the board."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from eloquent.channel.loss import parse_loss
from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction, Schedule
from eloquent.errors import ConfigurationError
from eloquent.watch.naming import natural_place


class BrowserAccess(BaseModel):
    """How the user's own browser takes the place of a client.

    Attributes:
        client: Whose link it uses.
        requests: HOST:PORT where HTTP enters that link, on the lab's management network.
        scheme: What carries the answers of these requests, which is the server's TCP.
        port: Of the board outside; datagrams to the UDP port of this number reach the origin relay's pages.
        certificate_hash: File that holds the SHA-256 of the certificate that it shows pages, which is replaced from time to time.
        module: The client for browsers, a file of JavaScript.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: str
    requests: str
    scheme: str
    port: int
    certificate_hash: Path
    module: Path


class RunFacts(BaseModel):
    """One run, as those see it who watch.

    Attributes:
        folder: The run directory.
        scenario: Name of the scenario.
        link: The scenario in a line.
        seed: Seed of the links' schedules.
        carrier: What impairs the links.
        datapath: Open vSwitch's.
        schemes: What carries the streams.
        token_gap_s: Seconds between two tokens.
        clients: The words before a command that let it run in a client's network, by client.
        server: HOST:PORT of gRPC at the token server.
        http: HOST:PORT of HTTP at the token server.
        quic: HOST:PORT of HTTP/3 at the token server.
        edge: HOST:PORT of the edge relay, in each client's network.
        edge_http: HOST:PORT of HTTP there.
        edge_quic: HOST:PORT of the same before the way over QUIC.
        model: Which model is asked, of a server that is not the testbed's own; None for that.
        browser: How the user's own browser takes the place of a client.
        control: Path of the lab's control socket.
        schedule: File in which the carrier tells which schedule it follows.
        urls: Where the user reaches what the testbed serves, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    scenario: str
    link: str
    seed: int
    carrier: str
    datapath: str
    schemes: tuple[str, ...]
    token_gap_s: float
    clients: dict[str, tuple[str, ...]]
    server: str
    http: str
    quic: str
    edge: str
    edge_http: str
    edge_quic: str
    model: str | None
    browser: BrowserAccess
    control: Path
    schedule: Path
    urls: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "RunFacts":
        """Read what the lab wrote.

        Args:
            path: The file.

        Raises:
            ConfigurationError: It cannot be read.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigurationError(f"cannot read what runs from {path}: {error}") from None

    @property
    def warnings(self) -> list[str]:
        """What the run warns of so far."""
        return _noted(self.folder, "warnings")

    @property
    def flaws(self) -> dict[str, list[str]]:
        """Why the rounds, or the latest load test, are not valid (`flaws_of`)."""
        return flaws_of(self.folder)

    def link_states(self, client: str, *, from_s: float, to_s: float) -> list[tuple[float, float, float]]:
        """Return what the carrier does to a client's link, towards the client.

        Args:
            client: Its name.
            from_s: Begin, in seconds of CLOCK_MONOTONIC.
            to_s: End, likewise.

        Returns:
            Begin and end of each stretch in seconds since `from_s`, and the probability of loss in it; nothing while the
            carrier follows no schedule.
        """
        try:
            told = json.loads(self.schedule.read_bytes())
            epoch, loss = float(told["epoch_s"]), told["loss"]
        except (OSError, ValueError, KeyError):
            return []
        direction = Direction.DOWN
        if loss is None:
            schedule = parse_line(self.link).schedule(direction, seed=self.seed, link=client)
        else:
            schedule = Schedule(parse_loss(loss), seed=self.seed, link=client, direction=direction)
        stretches = schedule.states(max(0.0, from_s - epoch), max(0.0, to_s - epoch))
        return [(part.start_s + epoch - from_s, part.end_s + epoch - from_s, part.loss) for part in stretches]


def flaws_of(run: Path) -> dict[str, list[str]]:
    """Return why the rounds of a run, and its latest load test, are not valid: by what it is, where it is over and not valid.

    Args:
        run: The run's directory.
    """
    over = (path.parent for path in run.glob("load-*/summary.json"))
    latest = max(over, key=lambda path: natural_place(path.name), default=None)
    found = {"the rounds": _noted(run, "flaws")}
    if latest is not None:
        found[f"the load test {latest.name}"] = _noted(latest, "flaws")
    return {what: flaws for what, flaws in found.items() if flaws}


def _noted(run: Path, key: str) -> list[str]:
    """Return lines that a run's manifest holds; none where it cannot be read, as it is being made."""
    try:
        manifest: dict[str, Any] = json.loads((run / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return []
    return [str(line) for line in manifest.get(key, [])]
