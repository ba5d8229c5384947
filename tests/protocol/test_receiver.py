import pytest

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.contract import StreamBroken, StreamFinished, TokenReceived
from eloquent.protocol.frames import (
    MAX_BUFFERED,
    MAX_RANGES,
    WINDOW,
    Ack,
    Data,
    End,
    Fragment,
    ReaderState,
    decode_payload,
    encode_payload,
)
from eloquent.protocol.receiver import Receiver


def take(receiver: Receiver, *fragments: Fragment, end: End | None = None) -> Ack | None:
    receiver.receive_datagram(encode_payload(Data(fragments, end)), now=0.0)
    answers = receiver.datagrams_to_send(now=0.0)
    assert len(answers) <= 1
    answer = decode_payload(answers[0]) if answers else None
    assert answer is None or isinstance(answer, Ack)
    return answer


def events(receiver: Receiver) -> list[object]:
    return list(iter(receiver.next_event, None))


def test_out_of_order_tokens_wait_and_every_datagram_is_acknowledged() -> None:
    receiver = Receiver()
    assert take(receiver, Fragment(2, b"c")) == Ack(0, ((2, 3),))
    assert events(receiver) == []
    assert take(receiver, Fragment(0, b"a")) == Ack(1, ((2, 3),))
    assert take(receiver, Fragment(0, b"a")) == Ack(1, ((2, 3),))
    assert take(receiver, Fragment(1, b"b")) == Ack(3)
    assert events(receiver) == [TokenReceived(0, b"a"), TokenReceived(1, b"b"), TokenReceived(2, b"c")]


def test_fragments_are_joined() -> None:
    receiver = Receiver()
    take(receiver, Fragment(1, b"lo", more=True), Fragment(2, b" world"))
    take(receiver, Fragment(0, b"hel", more=True), Fragment(3, b"!"))
    assert events(receiver) == [TokenReceived(0, b"hello world"), TokenReceived(1, b"!")]


def test_a_whole_stream_and_late_repetitions_after_it() -> None:
    receiver = Receiver()
    end = End(1, extend_checksum(0, b"a"), b"ok")
    assert take(receiver, end=end) == Ack(0, end_seen=True)
    assert take(receiver, Fragment(0, b"a")) == Ack(1, end_seen=True)
    assert events(receiver) == [TokenReceived(0, b"a"), StreamFinished(b"ok")]
    assert take(receiver, Fragment(0, b"a"), end=end) == Ack(1, end_seen=True)
    assert events(receiver) == []


@pytest.mark.parametrize(
    ("fragments", "end"),
    [
        ((Fragment(0, b"a"),), End(1, 0xBAD)),
        ((Fragment(0, b"a"), Fragment(1, b"b")), End(1, extend_checksum(0, b"a"))),
        ((Fragment(3, b"a"),), End(2, 0)),
        ((Fragment(0, b"a", more=True),), End(1, extend_checksum(0, b"a"))),
    ],
)
def test_a_wrong_end_is_a_failure_and_is_not_acknowledged(fragments: tuple[Fragment, ...], end: End) -> None:
    receiver = Receiver()
    assert take(receiver, *fragments, end=end) is None
    assert isinstance(events(receiver)[-1], StreamBroken)
    assert take(receiver, *fragments) is None
    assert events(receiver) == []


def test_two_ends_contradict_each_other() -> None:
    receiver = Receiver()
    take(receiver, end=End(5, 1))
    take(receiver, end=End(6, 1))
    assert [type(event) for event in events(receiver)] == [StreamBroken]


def test_memory_is_bounded() -> None:
    receiver = Receiver()
    assert take(receiver, Fragment(WINDOW, b"x")) == Ack(0)
    assert take(receiver, Fragment(WINDOW - 1, b"x")) == Ack(0, ((WINDOW - 1, WINDOW),))
    for index in range(1, 300, 2):
        ack = take(receiver, Fragment(index, b""))
    assert ack is not None
    assert len(ack.ranges) == MAX_RANGES
    assert ack.ranges[0] == (1, 2)
    endless = Receiver()
    for index in range(1000):
        take(endless, Fragment(index, bytes(1100), more=True))
    assert [type(event) for event in events(endless)] == [StreamBroken]


def answer(receiver: Receiver, now: float) -> Ack | None:
    datagrams = receiver.datagrams_to_send(now=now)
    assert len(datagrams) <= 1
    payload = decode_payload(datagrams[0]) if datagrams else None
    assert payload is None or isinstance(payload, Ack)
    return payload


def test_a_report_goes_with_every_acknowledgement_and_ages() -> None:
    receiver = Receiver()
    fragments = [encode_payload(Data((Fragment(index, b"x"),))) for index in range(4)]
    receiver.receive_datagram(fragments[0], now=0.0)
    assert answer(receiver, 0.0) == Ack(1)
    receiver.report(ReaderState(1.5), now=1.0)
    assert answer(receiver, 1.0) is None
    found = []
    for index, now in ((1, 1.0), (2, 1.25), (3, 9.0)):
        receiver.receive_datagram(fragments[index], now=now)
        found.append(answer(receiver, now))
    assert found == [Ack(index, reader=ReaderState(left)) for index, left in ((2, 1.5), (3, 1.25), (4, 0.0))]
    receiver.report(ReaderState(2 * MAX_BUFFERED), now=9.0)
    receiver.receive_datagram(fragments[3], now=9.0)
    assert answer(receiver, 9.0) == Ack(4, reader=ReaderState(MAX_BUFFERED))


def test_a_reader_who_turns_away_or_back_is_told_at_once_but_not_to_a_sender_that_was_never_heard() -> None:
    receiver = Receiver()
    receiver.report(ReaderState(looking=False), now=0.0)
    assert answer(receiver, 0.0) is None
    assert take(receiver, Fragment(0, b"a")) == Ack(1, reader=ReaderState(looking=False))
    receiver.report(ReaderState(looking=True), now=0.0)
    assert answer(receiver, 0.0) == Ack(1, reader=ReaderState(looking=True))
    receiver.report(ReaderState(0.5, looking=True), now=0.0)
    assert answer(receiver, 0.0) is None


def fill(receiver: Receiver) -> int:
    """Send as long as there is room, nothing being read, and return how many fragments that was."""
    limit, index = WINDOW, 0
    while index < limit:
        ack = take(receiver, *(Fragment(index + i, b"x") for i in range(min(128, limit - index))))
        assert ack is not None
        index, limit = ack.next_index, max(limit, ack.next_index + ack.credit)
    assert ack.credit == 0
    return index


def told_again(receiver: Receiver, now: float) -> Ack | None:
    """Let the timer come, and return what the sender is told."""
    timer = receiver.get_timer()
    assert timer is not None
    receiver.handle_timer(now=max(now, timer))
    return answer(receiver, max(now, timer))


def test_room_is_told_again_although_something_old_comes_late() -> None:
    """A repetition that was long under way shows nothing of what the sender has heard."""
    receiver = Receiver()
    sent = fill(receiver)
    events(receiver)
    assert answer(receiver, 1.0) == Ack(sent)
    assert take(receiver, Fragment(7, b"x")) == Ack(sent)
    assert told_again(receiver, 1.0) == Ack(sent)
    assert take(receiver, Fragment(sent, b"new")) == Ack(sent + 1)
    assert receiver.get_timer() is None


def test_room_is_told_again_although_some_of_it_was_told_meanwhile() -> None:
    """A report in the middle of reading tells half of the room; it may have been lost, as any datagram."""
    receiver = Receiver()
    receiver.report(ReaderState(looking=True), now=0.0)
    sent = fill(receiver)
    for _ in range(sent // 2):
        receiver.next_event()
    receiver.report(ReaderState(looking=False), now=0.0)
    half = answer(receiver, 0.0)
    assert half is not None
    assert WINDOW // 4 < half.credit < WINDOW
    events(receiver)
    for _ in range(2):
        assert told_again(receiver, 1.0) == Ack(sent, reader=ReaderState(looking=False))


def test_a_stream_that_is_finished_tells_nothing_of_room() -> None:
    receiver = Receiver()
    sent = fill(receiver)
    events(receiver)
    assert told_again(receiver, 0.0) is not None
    checksum = 0
    for _ in range(sent):
        checksum = extend_checksum(checksum, b"x")
    take(receiver, end=End(sent, checksum))
    assert receiver.finished
    assert receiver.get_timer() is None


def test_an_acknowledgement_is_not_for_receivers() -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive_datagram(encode_payload(Ack(0)), now=0.0)
