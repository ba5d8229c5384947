"""How schemes and hosts are called, coloured and ordered wherever somebody watches."""

import re

from eloquent import schemes
from eloquent.errors import ConfigurationError


def describe_scheme(name: str) -> dict[str, str]:
    """Give name, label and colour of a scheme; one that is not registered, such as `other`, has no colour."""
    try:
        scheme = schemes.get(name)
    except ConfigurationError:
        return {"name": name, "label": name, "colour": ""}
    return {"name": scheme.name, "label": scheme.label, "colour": scheme.colour}


def scheme_place(name: str) -> list[tuple[int, str]]:
    """Give a key that sorts schemes in the order of the registry."""
    places = (place for place, family in enumerate(schemes.FAMILIES) if family.pattern.fullmatch(name))
    return [(next(places, len(schemes.FAMILIES)), name)]


def natural_place(name: str) -> list[tuple[int, str]]:
    """Give a key that sorts c2 before c10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
