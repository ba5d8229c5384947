import random

from hypothesis import given
from hypothesis import strategies as st

from eloquent.baselines.fec_code import INVERSE, MAX_PARITIES, MULTIPLY, Decoder, Parity, coefficient, combine
from eloquent.protocol.frames import Fragment

TOKENS = st.lists(st.builds(lambda data, more: (data, more), st.binary(max_size=9), st.booleans()), min_size=1)


def test_the_field() -> None:
    assert MULTIPLY[2][0x80] == 0x1D  # x^8 = x^4 + x^3 + x^2 + 1
    assert all(MULTIPLY[a][INVERSE[a]] == 1 for a in range(1, 256))
    drawn = random.Random(1)
    for _ in range(500):
        a, b, c = (drawn.randrange(256) for _ in range(3))
        assert MULTIPLY[a][b] == MULTIPLY[b][a]
        assert MULTIPLY[a][MULTIPLY[b][c]] == MULTIPLY[MULTIPLY[a][b]][c]
        assert MULTIPLY[a][b ^ c] == MULTIPLY[a][b] ^ MULTIPLY[a][c]


def test_coefficients_are_never_zero_and_differ() -> None:
    drawn = {coefficient(index, key) for index in range(64) for key in range(64)}
    assert drawn == set(range(1, 256))


@given(tokens=TOKENS, lost=st.integers(0), key=st.integers(0, 255))
def test_one_parity_repairs_one_loss(tokens: list[tuple[bytes, bool]], lost: int, key: int) -> None:
    fragments = [Fragment(100 + i, data, more) for i, (data, more) in enumerate(tokens)]
    missing = fragments[lost % len(fragments)]
    decoder = Decoder()
    decoder.learn(fragment for fragment in fragments if fragment is not missing)
    decoder.add(combine(fragments, key))
    assert decoder.solve(100) == [missing]
    assert decoder.solve(100) == []


def test_overlapping_windows_are_solved_together() -> None:
    """Two losses, two parities over different windows: neither alone would do. 300 draws; a singular pair has odds 1/255."""
    solved = 0
    for start in range(300):
        fragments = [Fragment(start + i, bytes([i, start % 251])) for i in range(6)]
        decoder = Decoder()
        decoder.learn([fragments[0], fragments[3], fragments[4], fragments[5]])
        decoder.add(combine(fragments[:4], start % 256))
        assert decoder.solve(start) == []
        decoder.add(combine(fragments[1:5], (start + 1) % 256))
        found = decoder.solve(start)
        assert found in ([], fragments[1:3])
        solved += bool(found)
    assert solved >= 290


def test_what_can_be_found_is_found_though_other_losses_remain() -> None:
    fragments = [Fragment(i, b"abc"[i % 3 :]) for i in range(5)]
    decoder = Decoder()
    decoder.learn([fragments[0]])
    decoder.add(combine(fragments[:2], 1))
    decoder.add(combine(fragments[2:], 2))
    assert decoder.solve(0) == [fragments[1]]


def test_nonsense_finds_nothing_and_memory_is_bounded() -> None:
    decoder = Decoder()
    decoder.add(Parity(5, 1, 0, b"\xff\xff\xff"))
    assert decoder.solve(0) == []
    for i in range(3 * MAX_PARITIES):
        decoder.add(Parity(10 * i, 2, 0, b"\0\0"))
    assert decoder.solve(0) == []
    assert decoder.solve(10**6) == []
