"""What nodes ask for, and the flags that say by which schemes, and where."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from eloquent import asking
from eloquent.errors import ConfigurationError
from eloquent.nodes.common import runtime
from eloquent.nodes.sources.counting import counting_prompt

_MARGIN = 30.0  # seconds of a session's deadline beyond twice its length


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for in a session.

    Attributes:
        length: Seconds from the first token to the last, about.
        token_gap: Seconds between two tokens.
        words: What a person asks; empty for the paper's prompt.
    """

    length: float
    token_gap: float
    words: str = ""

    @property
    def deadline(self) -> float:
        """Seconds after which a session is given up."""
        return 2 * self.length + _MARGIN

    @property
    def prompt(self) -> str:
        """The words, or the paper's prompt, to count as far as the time goes."""
        return self.words or counting_prompt(self.tokens)

    @property
    def max_tokens(self) -> int:
        """Where the answer is cut off; 0 for the paper's prompt, whose answer ends by itself."""
        return self.tokens if self.words else 0

    @property
    def tokens(self) -> int:
        """How many tokens the length has room for."""
        return max(1, int(self.length / self.token_gap + 1e-9))


# Of the fields of `asking.Addresses`.
_FLAGS = {
    "token_server": ("--server", "token server, for the schemes grpc and grpc-…"),
    "http_server": ("--http", "HTTP endpoint of the token server, for the schemes sse and sse-…"),
    "quic_server": ("--quic", "HTTP/3 endpoint of the token server, for the schemes quic-…"),
    "edge_http": ("--edge-http", "HTTP at the edge relay, for the schemes openai and openai-…"),
    "edge_quic": ("--edge-quic", "the same before the way over QUIC, for the scheme eloquent-quic"),
    "edge_relay": ("--edge", "edge relay, for all other schemes"),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say by which schemes to ask, and where."""
    add = parser.add_argument
    add("--schemes", required=True, type=runtime.comma_separated, metavar="A,B", help="schemes to ask by")
    for field, (flag, text) in _FLAGS.items():
        add(flag, dest=field, metavar="HOST:PORT", help=text)
    add("--model", metavar="NAME", help="of a server at --http that is not the testbed's own: which model to ask")


def make_clients(flags: argparse.Namespace, network: Path | None = None) -> dict[str, asking.AsyncClient]:
    """Return a client for each scheme.

    Args:
        flags: What `add_flags` added.
        network: The file of the network that they ask from; None for the process's own.

    Raises:
        ConfigurationError: A scheme is unknown, or the address that it needs is not given or malformed.
    """
    addresses = asking.Addresses(**{field: getattr(flags, field) or "" for field in _FLAGS})
    for name in flags.schemes:
        if not getattr(addresses, where := asking.where_of(name)):
            raise ConfigurationError(f"the scheme '{name}' needs {_FLAGS[where][0]}")
    if not flags.schemes:
        raise ConfigurationError("name at least one scheme with --schemes")
    return {name: asking.connect(name, addresses, network=network, model=flags.model) for name in flags.schemes}
