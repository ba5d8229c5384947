import re

from eloquent import schemes
from eloquent.report.styles import colour, colours, label, printable


def test_every_scheme_can_be_drawn_apart():
    names = [*(scheme.name for scheme in schemes.defaults()), *(f"duplicate-{k}" for k in (3, 4, 5))]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour(name)) for name in names)
    assert len({colour(name) for name in names}) == len({label(name) for name in names}) == len(names)
    assert all(label(name) != name for name in names)


def test_members_of_a_family_are_told_apart():
    assert label("tcp-simple") == "Simple TCP"
    assert label("duplicate-2") == "Duplicate ×2"
    assert label("duplicate-3-60ms") == "Duplicate ×3, 60ms apart"
    assert label("eloquent-20") == "Eloquent (≤20 tokens)"
    assert label("eloquent-all") == "Eloquent (no token limit)"
    assert label("eloquent-adaptive-25pps") == "Eloquent adaptive (≤25 packets/s)"
    assert label("red-4") == "RED, 4 blocks"
    assert label("fec-8-1") == "FEC, 1 over 8"
    assert label("bound-100ms") == "Exact bound (a packet per 100ms)"


def test_a_scheme_that_is_not_listed_has_a_colour_of_the_palette():
    assert re.fullmatch("#[0-9a-f]{6}", colour("pairs"))
    assert colour("pairs") == colour("pairs")


def test_no_two_schemes_share_a_colour():
    names = ["grpc", "duplicate-2", "duplicate-3", *(f"unknown{number}" for number in range(12))]
    found = colours(names)
    assert found["grpc"] == "#d55e00"
    assert len(set(found.values())) == len(names)


def test_a_scheme_that_is_not_listed_has_its_own_name():
    assert label("eloquent") == "Eloquent"
    assert label("new\x07one") == "new\N{REPLACEMENT CHARACTER}one"
    assert printable("a b\n") == "a b\N{REPLACEMENT CHARACTER}"
