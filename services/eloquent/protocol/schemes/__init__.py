"""The registry of schemes: tables, plots, the command line and dashboards all read it.

To add a scheme, write one file with a `Family` and add that to `FAMILIES`.
"""

from eloquent.errors import ConfigurationError
from eloquent.protocol.schemes import adaptive, bound, eloquent, fec, kcp, kernel, red, retransmit, sse, ssp, tcp
from eloquent.protocol.schemes.scheme import Family, Scheme

FAMILIES: tuple[Family, ...] = (
    kernel.GRPC,
    sse.FAMILY,
    retransmit.RETRANSMIT,
    retransmit.DUPLICATE,
    eloquent.FAMILY,
    adaptive.FAMILY,
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


def defaults() -> list[Scheme]:
    """Return one scheme of each family, in the order of tables and legends."""
    return [get(family.default) for family in FAMILIES]


__all__ = ["FAMILIES", "Family", "Scheme", "defaults", "get"]
