"""The registry of schemes: tables, plots, the command line and dashboards all read it.

To add a scheme, write one file with a `Family` and add that to `FAMILIES`.
"""

import re
from collections.abc import Callable, Collection

from eloquent.baselines import bound, fec, kcp, kernel, quic, red, ssp, tcp
from eloquent.errors import ConfigurationError
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.senders import adaptive, eloquent, packed, retransmit

CONGESTION_CONTROLS = kernel.CONGESTION_CONTROLS
"""Of the kernel's TCP, that schemes such as `grpc-cubic` may name."""

BETWEEN_RELAYS = packed.FAMILY.default
"""What carries the answers of a relay pair that is told nothing else."""


def _between(match: re.Match[str]) -> str:
    between = get(match["between"] or BETWEEN_RELAYS)
    if between.kind != "datagram":
        raise ConfigurationError(f"'{match[0]}' is not a scheme: datagrams do not carry '{between.name}'")
    return between.name


def _build_pair(match: re.Match[str]) -> Scheme:
    return Scheme(match[0], "pair", between=_between(match))


def _build_stock(match: re.Match[str]) -> Scheme:
    return Scheme(match[0], "quic", congestion_control="reno", between=_between(match))


_PAIR = Family("openai[-SCHEME]", re.compile("openai(?:-(?P<between>.+))?"), _build_pair, default="openai")
_QUIC_PAIR = Family(
    "eloquent-quic",
    re.compile("eloquent-quic"),
    lambda match: Scheme(match[0], "pair", between=BETWEEN_RELAYS, carrier="quic"),
    default="eloquent-quic",
)
_STOCK = Family(
    "quic-datagram-stock[-SCHEME]",
    re.compile("quic-datagram-stock(?:-(?P<between>.+))?"),
    _build_stock,
    default="quic-datagram-stock",
)

FAMILIES: tuple[Family, ...] = (
    kernel.GRPC,
    kernel.SSE,
    retransmit.RETRANSMIT,
    retransmit.DUPLICATE,
    eloquent.FAMILY,
    adaptive.FAMILY,
    packed.FAMILY,
    _PAIR,
    _QUIC_PAIR,
    quic.STREAM,
    _STOCK,
    tcp.FAMILY,
    red.FAMILY,
    fec.FAMILY,
    ssp.FAMILY,
    kcp.FAMILY,
    bound.FAMILY,
)


def get(name: str) -> Scheme:
    """Return the scheme of this name.

    Args:
        name: Such as `eloquent`, `retransmit`, `duplicate-3` or `grpc`.

    Raises:
        ConfigurationError: No family has such a name.
    """
    for family in FAMILIES:
        if match := family.pattern.fullmatch(name):
            return family.build(match)
    forms = ", ".join(family.form for family in FAMILIES)
    raise ConfigurationError(f"'{name}' is not a scheme: choose from {forms}")


def only(names: Collection[str]) -> Callable[[str], Scheme]:
    """Return what `get` is for these schemes alone.

    Args:
        names: Names of schemes, or `any` for all.

    Raises:
        ConfigurationError: One of them is no scheme, or no datagrams carry it.
    """
    if "any" in names:
        return get
    offered = {name: get(name) for name in names}
    for name, scheme in offered.items():
        if scheme.kind != "datagram":
            raise ConfigurationError(f"'{name}' is not carried by datagrams, so that no relay can offer it")

    def get_offered(name: str) -> Scheme:
        if name not in offered:
            raise ConfigurationError(f"the scheme '{name}' is not offered: choose from {', '.join(offered)}")
        return offered[name]

    return get_offered


def check_choice(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, if they are a choice of schemes for real links.

    Args:
        names: Names of schemes.

    Raises:
        ConfigurationError: There is none, one is named twice or is unknown, or one is for the simulator alone.
    """
    if not names:
        raise ConfigurationError("SCHEMES is empty: name at least one, such as eloquent")
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigurationError(f"SCHEMES names {', '.join(sorted(repeated))} twice")
    for name in names:
        if get(name).kind == "bound":
            raise ConfigurationError(
                f"SCHEMES: '{name}' knows what was lost, which no packet can; it is for the simulator"
            )
    return names


def defaults() -> list[Scheme]:
    """Return one scheme of each family, in the order of tables and legends."""
    return [get(family.default) for family in FAMILIES]
