"""How much processor time a token takes in relays, in what they are compared with, and in their endpoints alone.

Rules of this file
- Each way of carrying tokens is a `Way`: two ends on loopback, asked for more and more streams at once.
- What is measured is the processor time that the kernel counts for each process while all streams run, beginnings and ends not
  included. A busy machine makes it noisy, not wrong; ways are measured by turns.
- One processor's time at both ends together is what a token costs: what makes and what reads the tokens counts where the way has
  nothing else, and does not where it stands outside, before and behind relays.
"""

import contextlib
import functools
import itertools
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.processes import Running, free_port, running
from bench.tables import Column, Rows, Table

RATE = 10  # tokens a second of a stream
STREAMS = (1, 10, 100, 500)  # at once
SECONDS = 5.0  # that count, of each measurement
SCHEME = "eloquent-packed"


class Cost(NamedTuple):
    """What a token took.

    Attributes:
        server: Microseconds where the tokens come from.
        client: Microseconds where they arrive.
        kept: Of the tokens that were due, how many came.
    """

    server: float
    client: float
    kept: float


@dataclass(frozen=True)
class Load:
    """What is carried.

    Attributes:
        rate: Tokens a second of a stream.
        message: `event`, one of OpenAI's, or `token`, a message of the lab's own.
        scheme: What carries it between relays.
    """

    rate: float = RATE
    message: str = "event"
    scheme: str = SCHEME

    @property
    def maker(self) -> tuple[str, str]:
        """The words for who makes the tokens."""
        return f"{self.rate:g}", self.message


class Ends(NamedTuple):
    """Both ends, running.

    Attributes:
        server: The process whose time counts where tokens come from.
        client: The same where they arrive; None for who reads them.
        reader: The role of that one.
        port: Whom it asks.
    """

    server: Running
    client: Running | None
    reader: str
    port: str


Way = Callable[[Load, Path | None], contextlib.AbstractContextManager[Ends]]
"""Begins to carry tokens, by the package of a checkout."""


@contextlib.contextmanager
def alone(load: Load, tree: Path | None, *, role: str) -> Iterator[Ends]:
    """Begin a way without relays."""
    with running("-m", "bench.ends", role, *load.maker, tree=tree) as server:
        yield Ends(server, None, f"read-{role}", server.said)


@contextlib.contextmanager
def between_calls(load: Load, tree: Path | None) -> Iterator[Ends]:
    """Begin the relays of a lab, which speak gRPC outward, in plaintext."""
    between, front = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    listen, ask = ("--listen", f"127.0.0.1:{between}"), ("--origin", f"127.0.0.1:{between}")
    limit = ("--max-streams", "1000")
    with (
        running("-m", "bench.ends", "grpc", *load.maker) as model,
        running(
            "-m", "eloquent.nodes.origin_relay", *listen, "--upstream", f"127.0.0.1:{model.said}", *limit, tree=tree
        ) as origin,
        running("-m", "eloquent.nodes.edge_relay", *ask, "--listen", f"127.0.0.1:{front}", *limit, tree=tree) as edge,
    ):
        yield Ends(origin, edge, "read-grpc", str(front))


@contextlib.contextmanager
def between_chats(load: Load, tree: Path | None, *, is_sealed: bool) -> Iterator[Ends]:
    """Begin the relay pair for real services, which speaks HTTP outward."""
    between, front = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    with contextlib.ExitStack() as stack:
        flags: Sequence[str] = ("--plaintext",)
        if is_sealed:
            key = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "key"
            subprocess.run([sys.executable, "-m", "eloquent.cli", "key", key], check=True)
            flags = ("--key-file", str(key))
        model = stack.enter_context(running("-m", "bench.ends", "http", *load.maker))
        asked = ("--listen", f"127.0.0.1:{between}", "--upstream", f"http://127.0.0.1:{model.said}")
        origin = stack.enter_context(running("-m", "eloquent.cli", "origin", *flags, *asked, tree=tree))
        asked = ("--origin", f"127.0.0.1:{between}", "--listen", f"127.0.0.1:{front}")
        edge = stack.enter_context(
            running("-m", "eloquent.cli", "edge", *flags, "--scheme", load.scheme, *asked, tree=tree)
        )
        yield Ends(origin, edge, "read-http", str(front))


WAYS: dict[str, Way] = {
    "UDP echo": functools.partial(alone, role="echo"),
    "grpc.aio": functools.partial(alone, role="grpc"),
    "aioquic datagrams": functools.partial(alone, role="quic"),
    "endpoints, plain": functools.partial(alone, role="plain"),
    "endpoints, sealed": functools.partial(alone, role="sealed"),
    "relays, gRPC, plain": between_calls,
    "relays, HTTP, plain": functools.partial(between_chats, is_sealed=False),
    "relays, HTTP, sealed": functools.partial(between_chats, is_sealed=True),
}


def measure(
    way: Way, load: Load, streams: Sequence[int], seconds: float, *, tree: Path | None = None
) -> Iterator[tuple[int, Cost]]:
    """Yield what a token takes with each number of streams at once.

    Args:
        way: Carries them.
        load: What is carried.
        streams: How many at once, one after the other.
        seconds: That count of each.
        tree: The checkout whose package carries it; None for what is installed.
    """
    with way(load, tree) as ends:
        for number in streams:
            words = (ends.reader, str(number), str(seconds), ends.port, load.scheme, *load.maker)
            with running("-m", "bench.ends", *words, tree=tree if ends.client is None else None) as reader:
                client = reader if ends.client is None else ends.client
                marks = []
                for _ in range(2):
                    tokens = int(reader.next_line())
                    marks.append((tokens, ends.server.cpu, client.cpu))
                tokens, server, client_s = (after - before for before, after in zip(*marks, strict=True))
                if not tokens:
                    raise SystemExit("no tokens came: this says nothing")
            yield number, Cost(1e6 * server / tokens, 1e6 * client_s / tokens, tokens / (number * load.rate * seconds))


def measure_ways(
    names: Sequence[str], load: Load, streams: Sequence[int], seconds: float, *, trees: Mapping[str, Path | None]
) -> Rows:
    """Return the costs of one round, by way, checkout and number of streams.

    Args:
        names: Of the ways.
        load: As for `measure`.
        streams: Likewise.
        seconds: Likewise.
        trees: The checkouts that are measured by turns, by what is added to the names of their ways.
    """
    rows: Rows = {}
    for name, (suffix, tree) in itertools.product(names, trees.items()):
        for number, cost in measure(WAYS[name], load, streams, seconds, tree=tree):
            rows[f"{name}{suffix}, {number}"] = cost._asdict()
            print(f"{name}{suffix}, {number}: {cost.server:.0f} and {cost.client:.0f} µs", file=sys.stderr, flush=True)
    return rows


def derive(rows: Rows) -> Rows:
    """Add what both ends take, what a processor carries, and that against what else carries tokens at so many streams."""
    both = {case: row["server"] + row["client"] for case, row in rows.items()}
    found: Rows = {}
    for case, row in rows.items():
        number = case.rpartition(", ")[2]
        ratios = {
            name: both[f"{other}, {number}"] / both[case]
            for name, other in COMPARED.items()
            if f"{other}, {number}" in both
        }
        found[case] = {**row, "both": both[case], "carried": 1e6 / both[case], **ratios, "kept": 100 * row["kept"]}
    return found


COMPARED = {"of echo": "UDP echo", "of grpc": "grpc.aio", "of quic": "aioquic datagrams"}
TABLE = Table(
    title="Relays",
    about=(
        f"Processor time in µs a token, {RATE} tokens a second and stream unless asked otherwise, on loopback. *Server* is where"
        " tokens come from (of relays, the origin), *client* where they arrive (of relays, the edge; who makes and who reads the"
        " tokens stands outside). To the right: how many times as many tokens a core carries as by the other ways, with as many"
        " streams. Below 95 % of the tokens in time, the machine did not keep up."
    ),
    case="what, streams",
    columns=(
        Column("server", "server"),
        Column("client", "client"),
        Column("both", "both"),
        Column("carried", "tokens/s a core"),
        Column("of echo", "× UDP echo", 2),
        Column("of grpc", "× grpc.aio", 2),
        Column("of quic", "× aioquic", 2),
        Column("kept", "in time, %"),
    ),
    compared="carried",
    derive=derive,
)
