"""How schemes and hosts are called, coloured and ordered wherever somebody watches."""

import re

from eloquent import schemes
from eloquent.report import styles


def describe_scheme(name: str) -> dict[str, str]:
    """Return name, label and colour of a scheme; one that is not registered, such as `other`, has no colour."""
    registered = any(family.pattern.fullmatch(name) for family in schemes.FAMILIES)
    return {"name": name, "label": styles.label(name), "colour": styles.colour(name) if registered else ""}


def scheme_place(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts schemes in the order of the registry."""
    places = (place for place, family in enumerate(schemes.FAMILIES) if family.pattern.fullmatch(name))
    return [(next(places, len(schemes.FAMILIES)), name)]


def natural_place(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts c2 before c10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
