"""Packed data: its encoding, what it is unpacked to, and that nothing hostile in it does harm."""

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.errors import MalformedPacket, RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.frames import MAX_FRAGMENTS, End, Fragment
from eloquent.protocol.history import History
from eloquent.protocol.packed import MAX_UNPACKED, decode_packed, is_packed, pack, read_packed, unpack
from eloquent.protocol.packed_receiver import PackedReceiver
from eloquent.protocol.varint import encode_varint

EVENT = b'data: {"id":"chatcmpl-1234567890","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
WORDS = [b" Call", b" me", b" Ish", b"mael", b".", b" Some", b" years", b" ago", b"-", b"never", b" mind", b" how"]


def history(fragments: list[bytes]) -> History:
    made = History()
    for fragment in fragments:
        made.append(fragment)
    return made


def fragments(data: list[bytes], *indices: int) -> list[Fragment]:
    return [Fragment(index, data[index]) for index in indices]


def test_golden() -> None:
    words = WORDS.copy()
    made = history(words)
    assert pack(3, fragments(words, 3, 4, 5), made).hex() == "0c03034150" + (b"mael" + b"." + b" Some").hex()
    end = End(12, 0xDEADBEEF, b"")
    assert pack(12, [], made, end=end).hex() == "0d" + "0cdeadbeef00" + "0c" + "00"
    jumped = pack(3, fragments(words, 3, 5), made)
    assert jumped.hex() == "0c0302" + "4" + "e" + "2901" + (b"mael" + b" Some").hex()


def test_golden_with_wide_heads() -> None:
    words = [b"a", b"mael", b" Some years ago.", b" how"]
    made = history(words)
    assert pack(1, fragments(words, 1, 2), made).hex() == "10" + "0102" + "0410" + (words[1] + words[2]).hex()
    jumped = pack(1, fragments(words, 2, 3), made)
    assert jumped.hex() == "0c" + "0102" + "e" + "408101" + "4" + (words[2] + words[3]).hex()


@pytest.mark.parametrize(("longer", "others", "heads"), [(9, 0, 9), (5, 10, 15), (1, 12, 9), (0, 10, 5)])
def test_heads_are_wide_where_most_middles_are_long(longer: int, others: int, heads: int) -> None:
    words = [bytes([number]) * 20 for number in range(longer)] + [b"word"] * others
    packed = pack(0, fragments(words, *range(len(words))), history(words))
    assert unpack(decode_packed(packed), History(), {}) == fragments(words, *range(len(words)))
    assert len(packed) - len(decode_packed(packed).content) == 3 + heads


def test_ten_events_take_few_bytes() -> None:
    events = [EVENT % word for word in WORDS]
    payload = pack(2, fragments(events, *range(2, 12)), history(events))
    assert sum(map(len, events[2:])) > 1000
    assert len(payload) < 60


FRAGMENTS = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from(WORDS), st.sampled_from(WORDS).map(lambda word: EVENT % word)),
    min_size=1,
    max_size=40,
)


@given(FRAGMENTS, st.data())
def test_whoever_has_what_is_below_the_base_can_unpack(data: list[bytes], draw: st.DataObject) -> None:
    base = draw.draw(st.integers(0, len(data) - 1))
    chosen = sorted(draw.draw(st.sets(st.integers(base, len(data) - 1), min_size=1)))
    more = {index for index in chosen if data[index] and draw.draw(st.booleans())}
    sent = [Fragment(index, data[index], index in more) for index in chosen]
    end = draw.draw(st.none() | st.just(End(len(data), 7, b"bye")))
    payload = pack(base, sent, history(data), end=end)
    packed = decode_packed(payload)
    assert is_packed(payload)
    assert read_packed(payload) == tuple(chosen)
    assert (packed.base, packed.end) == (base, end)
    assert unpack(packed, history(data[:base]), {}) == sent
    further = draw.draw(st.integers(base, len(data)))  # who has more gets what is left
    assert unpack(packed, history(data[:further]), {}) == [one for one in sent if one.index >= further]


@given(FRAGMENTS, st.randoms(use_true_random=False))
def test_damage_is_malformed_or_something_else_and_never_anything_worse(data: list[bytes], draw: random.Random) -> None:
    payload = bytearray(pack(0, [Fragment(index, one) for index, one in enumerate(data)], history(data)))
    for _ in range(3):
        payload[draw.randrange(len(payload))] = draw.randrange(256)
    cut = bytes(payload[: draw.randrange(len(payload) + 1)])
    for damaged in (bytes(payload), cut):
        try:
            unpack(decode_packed(damaged), history(data[: draw.randrange(len(data) + 1)]), {})
        except MalformedPacket:
            pass
        except KeyError:
            assert decode_packed(damaged).base > 0  # the receiver looks at the base first


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "00 08 6869",  # ordinary data
        "0a",
        "0a 00 00",  # neither a fragment nor an end
        "0a 00 01",
        "0c 00 01 f0",  # a head that there is not
        "0c 00 01 11 61",  # padding that is not zero
        "0c 00 01 e0",  # a long head that is cut off
        "10 00 01 ff",  # a wide head that there is not
        "10 00 01 fe",  # a long head that is cut off
        "10 00 02 01",  # one that is missing
        "0c 00 01 10",  # content that is cut off
        "0c 00 01 10 6162",  # and one that is too long
        "0a 00 01 10 6162",  # no DEFLATE
        "0c 00 01 e04 000 0",  # an empty fragment that goes on: e, 04, padding
        "0c 00 01 e02 4140 00 0",  # more shared than there is
    ],
)
def test_malformed(payload: str) -> None:
    data = bytes.fromhex(payload.replace(" ", "")[: len(payload.replace(" ", "")) // 2 * 2])
    with pytest.raises(MalformedPacket):
        unpack(decode_packed(data), History(), {})


def test_a_bomb_is_malformed_and_takes_no_memory() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -12)
    content = bomb.compress(bytes(10_000_000)) + bomb.flush()
    honest_size = encode_varint(1000 << 3)
    payload = b"\x0a\x00\x01" + bytes.fromhex("e" + honest_size.hex() + "0") + content[:1100]
    with pytest.raises(MalformedPacket):
        unpack(decode_packed(payload), History(), {})
    too_much = encode_varint((MAX_UNPACKED + 1) << 3)
    with pytest.raises(MalformedPacket, match="more in it than may be"):
        decode_packed(b"\x0a\x00\x01" + bytes.fromhex("e" + too_much.hex() + "0"))
    with pytest.raises(MalformedPacket, match="too many"):
        decode_packed(b"\x0a\x00" + encode_varint(MAX_FRAGMENTS + 1) + bytes(600))


def test_a_receiver_drops_what_refers_to_what_it_has_not() -> None:
    receiver = PackedReceiver()
    words = WORDS.copy()
    receiver.receive_datagram(pack(3, fragments(words, 3, 4), history(words)), now=0.0)
    assert receiver.next_event() is None
    assert receiver.datagrams_to_send(now=0.0) == [b"\x02\x00"]
    receiver.receive_datagram(pack(0, fragments(words, 0, 1, 2), history(words)), now=0.0)
    assert [receiver.next_event().data for _ in range(3)] == words[:3]  # type: ignore[union-attr]


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=20), st.randoms(use_true_random=False))
def test_hostile_packed_data_harms_no_receiver(payloads: list[bytes], draw: random.Random) -> None:
    receiver = PackedReceiver()
    words = WORDS.copy()
    checksum = 0
    for word in words:
        checksum = extend_checksum(checksum, word)
    for payload in payloads:
        data = bytes([draw.randrange(10, 18)]) + payload
        try:
            receiver.receive_datagram(data, now=0.0)
        except RemoteProtocolError:
            continue
        receiver.datagrams_to_send(now=0.0)
        assert receiver.held < 100_000
