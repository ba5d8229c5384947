"""Where a client is believed to be: the rules of RFC 9000 §8.2 and §9 on one path."""

import itertools

from eloquent.relay.sealed.peer_path import CHALLENGE_TIME, PeerPath

HERE, THERE, ELSEWHERE = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


def path() -> PeerPath:
    numbers = itertools.count(1)
    return PeerPath(HERE, lambda size: next(numbers).to_bytes(size))


def test_row_5_a_challenge_counts_from_where_it_went_only() -> None:
    moved = path()
    moved.receive(64, THERE, is_newest=True, now=0.0)
    challenge = moved.take_challenge(now=0.0)
    assert challenge is not None
    moved.receive(64, ELSEWHERE, is_newest=False, now=0.1)  # overtaken
    moved.answer(challenge, ELSEWHERE)
    assert (moved.address, moved.is_validated) == (THERE, False)
    moved.answer(bytes(8), THERE)
    assert not moved.is_validated
    moved.answer(challenge, THERE)
    assert moved.is_validated


def test_each_move_has_a_challenge_of_its_own() -> None:
    moved = path()
    moved.receive(64, THERE, is_newest=True, now=0.0)
    first = moved.take_challenge(now=0.0)
    assert first is not None
    moved.receive(64, ELSEWHERE, is_newest=True, now=0.1)
    assert moved.take_challenge(now=0.1) not in {first, None}
    moved.answer(first, ELSEWHERE)
    assert not moved.is_validated


def test_a_challenge_is_repeated_for_a_while_only() -> None:
    moved = path()
    moved.receive(64, THERE, is_newest=True, now=0.0)
    asked = []
    while moved.due is not None:
        now = moved.due
        if moved.take_challenge(now=now) is not None:
            asked.append(now)
    assert 6 <= len(asked) <= 10
    assert asked[-1] <= CHALLENGE_TIME


def test_a_client_that_is_heard_again_after_that_is_asked_again() -> None:
    """Else a client that moved just before its path was interrupted would get three times its bytes for ever."""
    moved = path()
    moved.receive(64, THERE, is_newest=True, now=0.0)
    first = moved.take_challenge(now=0.0)
    while moved.due is not None:
        moved.take_challenge(now=moved.due)
    later = CHALLENGE_TIME + 5.0
    moved.receive(64, THERE, is_newest=True, now=later)
    second = moved.take_challenge(now=later)
    assert second is not None
    assert second != first
    moved.answer(second, THERE)
    assert moved.is_validated
    moved.receive(64, THERE, is_newest=True, now=later)
    assert moved.due is None


def test_row_1_room_is_three_times_what_came_from_there() -> None:
    moved = path()
    assert moved.take_room(10**6)
    moved.receive(100, THERE, is_newest=True, now=0.0)
    moved.receive(50, HERE, is_newest=False, now=0.0)
    assert not moved.take_room(301, is_challenge=True)
    assert moved.take_room(300, is_challenge=True)
    assert not moved.take_room(1, is_challenge=True)
    moved.receive(10, THERE, is_newest=False, now=0.0)
    assert moved.take_room(30, is_challenge=True)
    assert not moved.take_room(1, is_challenge=True)


def test_all_else_leaves_room_for_the_next_challenge() -> None:
    moved = path()
    moved.receive(64, THERE, is_newest=True, now=0.0)
    assert not moved.take_room(192)
    assert moved.take_room(128)
    assert not moved.take_room(1)
    assert moved.take_room(64, is_challenge=True)
