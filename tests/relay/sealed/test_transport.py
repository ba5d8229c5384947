"""Sealing and opening: nothing forged, repeated or of another direction opens, and keys change as they should."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.errors import LocalProtocolError, MalformedPacket
from eloquent.relay.sealed import transport
from eloquent.relay.sealed.account import Dropped
from eloquent.relay.sealed.noise import next_key
from eloquent.relay.sealed.transport import EPOCH_SIZE, EPOCH_TIME, EPOCHS_AHEAD, MAX_NUMBER, Opener, Sealer

KEY, HEAD = bytes(range(32)), bytes.fromhex("3101020304")


def seal(sealer: Sealer, content: bytes = b"content", kind: int = 1, *, size: int = 0, now: float = 0.0) -> bytes:
    return sealer.seal(HEAD, content, kind, size=size, now=now)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 255), st.integers(0, 1200))
def test_what_is_sealed_opens_to_the_same_whatever_its_padding(content: bytes, kind: int, size: int) -> None:
    datagram = seal(Sealer(KEY, now=0.0), content, kind, size=size)
    assert len(datagram) == max(size, 9 + len(content) + 1 + 16)
    assert Opener(KEY).open(datagram) == (0, kind, content)


def test_a_known_answer() -> None:
    """As docs/protocol.md §8 has it: head and number are associated data, the number is the nonce."""
    sealer = Sealer(KEY, now=0.0)
    seal(sealer)
    datagram = seal(sealer, b"hi", 2, size=32)
    head = HEAD + bytes.fromhex("00000001")
    nonce = bytes.fromhex("00000000 0100000000000000")
    assert datagram == head + ChaCha20Poly1305(KEY).encrypt(nonce, b"hi\x02" + bytes(4), head)


def test_row_3_a_flipped_bit_in_any_byte_is_found() -> None:
    datagram = seal(Sealer(KEY, now=0.0), size=64)
    opener = Opener(KEY)
    for position in range(len(datagram)):
        for bit in range(8):
            damaged = datagram[:position] + bytes([datagram[position] ^ 1 << bit]) + datagram[position + 1 :]
            with pytest.raises(Dropped):
                opener.open(damaged)
    for end in range(len(datagram)):
        with pytest.raises(Dropped):
            opener.open(datagram[:end])
    assert opener.open(datagram)[2] == b"content"


def test_row_3_another_directions_datagram_does_not_open() -> None:
    with pytest.raises(Dropped, match="forged"):
        Opener(next_key(KEY)).open(seal(Sealer(KEY, now=0.0)))


def test_row_4_a_repeated_datagram_does_not_open() -> None:
    sealer, opener = Sealer(KEY, now=0.0), Opener(KEY)
    datagrams = [seal(sealer) for _ in range(3000)]
    for datagram in datagrams[1::2]:
        opener.open(datagram)
    for datagram in datagrams[1::2]:
        with pytest.raises(Dropped, match="replayed"):
            opener.open(datagram)
    assert opener.open(datagrams[2998])[0] == 2998  # overtaken, and new
    with pytest.raises(Dropped, match="replayed"):
        opener.open(datagrams[0])  # too old to know


def test_what_a_peer_seals_without_a_type_is_malformed_and_counts_as_used() -> None:
    datagram = seal(Sealer(KEY, now=0.0), b"", 0)
    opener = Opener(KEY)
    with pytest.raises(MalformedPacket, match="no type"):
        opener.open(datagram)
    with pytest.raises(Dropped, match="replayed"):
        opener.open(datagram)


def test_a_forged_number_moves_nothing() -> None:
    sealer, opener = Sealer(KEY, now=0.0), Opener(KEY)
    datagram = seal(sealer)
    for number in (1, 1000, EPOCH_SIZE, EPOCHS_AHEAD * EPOCH_SIZE, MAX_NUMBER):
        with pytest.raises(Dropped):
            opener.open(datagram[:5] + number.to_bytes(4) + datagram[9:])
    assert opener.highest == -1
    assert opener.open(datagram)[0] == 0


def test_no_number_comes_twice_and_each_epoch_has_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "EPOCH_SIZE", 4)
    sealer, opener = Sealer(KEY, now=0.0), Opener(KEY)
    key, numbers = KEY, []
    for step in range(40):
        datagram = seal(sealer, now=step * 40.0)  # four a change by number, but three by time
        number, _, _ = opener.open(datagram)
        numbers.append(number)
        epoch_key = KEY
        for _ in range(number // 4):
            epoch_key = next_key(epoch_key)
        nonce = bytes(4) + number.to_bytes(8, "little")
        assert ChaCha20Poly1305(epoch_key).decrypt(nonce, datagram[9:], datagram[:9]) == b"content\x01"
        key = epoch_key
    assert numbers == sorted(set(numbers))
    assert key != KEY
    assert numbers[-1] // 4 >= 40 * 40.0 / EPOCH_TIME - 1


def test_keys_change_after_so_many_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "EPOCH_SIZE", 4)
    sealer, opener = Sealer(KEY, now=0.0), Opener(KEY)
    assert [opener.open(seal(sealer))[0] for _ in range(10)] == list(range(10))
    assert opener._epoch == 2


def test_a_receiver_takes_what_was_overtaken_by_a_new_key_and_no_older_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "EPOCH_SIZE", 4)
    sealer, opener = Sealer(KEY, now=0.0), Opener(KEY)
    datagrams = [seal(sealer) for _ in range(40)]
    opener.open(datagrams[1])
    opener.open(datagrams[14])  # epoch 3, from 0
    opener.open(datagrams[9])  # epoch 2
    with pytest.raises(Dropped, match="another epoch"):
        opener.open(datagrams[7])  # epoch 1
    with pytest.raises(Dropped, match="another epoch"):
        opener.open(datagrams[35])  # five ahead
    opener.open(datagrams[28])  # four ahead
    opener.open(datagrams[39])
    assert (opener._epoch, opener._ahead) == (9, [])


def test_numbers_that_are_used_up_seal_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer: Any = Sealer(KEY, now=0.0)
    sealer._number = MAX_NUMBER
    assert seal(sealer)[5:9] == b"\xff" * 4
    for _ in range(3):
        with pytest.raises(LocalProtocolError, match="used up"):
            seal(sealer)


def test_row_3_keys_are_in_no_representation() -> None:
    for holder in (Sealer(KEY, now=0.0), Opener(KEY)):
        assert " object at " in repr(holder)
        assert KEY.hex() not in repr(holder)
        assert not hasattr(holder, "__dict__")
