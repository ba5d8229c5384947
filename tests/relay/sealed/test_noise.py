"""The handshake against the published vectors of its pattern, and against whoever does not have the key."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from eloquent.errors import LocalProtocolError
from eloquent.relay.sealed.noise import HandshakeFailed, Initiator, Psk, Responder, next_key, nonce_of

VECTORS = json.loads((Path(__file__).parent / "noise_nnpsk0.json").read_text())["vectors"]
KEY = bytes(range(32))
OURS, THEIRS = b"i" * 32, b"r" * 32


def handshake(psk: Psk, other: Psk | None = None) -> Any:
    initiator = Initiator(psk, OURS)
    responder = Responder.read(other or psk, initiator.write_first(b"hello"))
    message, theirs = responder.write_second(THEIRS, b"welcome")
    payload, ours = initiator.read_second(message)
    return responder.payload, payload, ours, theirs


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["protocol_name"])
def test_the_published_vectors(vector: dict[str, Any]) -> None:
    def of(name: str) -> bytes:
        value = vector[name]
        return bytes.fromhex(value if isinstance(value, str) else value[0])

    first, second, *transport = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])) for message in vector["messages"]
    ]
    initiator = Initiator(Psk(of("init_psks"), prologue=of("init_prologue")), of("init_ephemeral"))
    assert initiator.write_first(first[0]) == first[1]
    responder = Responder.read(Psk(of("resp_psks"), prologue=of("resp_prologue")), first[1])
    assert responder.payload == first[0]
    message, theirs = responder.write_second(of("resp_ephemeral"), second[0])
    assert message == second[1]
    payload, ours = initiator.read_second(message)
    assert payload == second[0]
    assert ours.handshake_hash == theirs.handshake_hash == of("handshake_hash")
    assert len(transport) >= 4
    for turn, (plain, sealed) in enumerate(transport):
        sender, receiver = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        nonce = nonce_of(turn // 2)
        assert ChaCha20Poly1305(sender.sending).encrypt(nonce, plain, b"") == sealed
        assert ChaCha20Poly1305(receiver.receiving).decrypt(nonce, sealed, b"") == plain


def test_both_sides_get_the_same_keys_bound_to_a_direction() -> None:
    said, answered, ours, theirs = handshake(Psk(KEY, prologue=b"p"))
    assert (said, answered) == (b"hello", b"welcome")
    assert (ours.sending, ours.receiving) == (theirs.receiving, theirs.sending)
    assert ours.sending != ours.receiving


@pytest.mark.parametrize("other", [Psk(b"x" * 32, prologue=b"p"), Psk(KEY, prologue=b"q")], ids=["key", "prologue"])
def test_a_first_message_of_another_key_does_not_read(other: Psk) -> None:
    with pytest.raises(HandshakeFailed):
        handshake(Psk(KEY, prologue=b"p"), other)


def test_a_damaged_or_truncated_message_does_not_read() -> None:
    psk = Psk(KEY)
    initiator = Initiator(psk, OURS)
    first = initiator.write_first(b"hello")
    second, _ = Responder.read(psk, first).write_second(THEIRS, b"welcome")
    for message, read in (
        (first, lambda data: Responder.read(psk, data)),
        (second, initiator.read_second),
    ):
        for position in range(len(message)):
            for damaged in (
                message[:position],
                message[:position] + bytes([message[position] ^ 1]) + message[position + 1 :],
            ):
                with pytest.raises(HandshakeFailed):
                    read(damaged)
    assert initiator.read_second(second)[0] == b"welcome"  # none of them has spoilt it


def test_a_public_key_of_low_order_is_refused() -> None:
    """Somebody with the key, who wants a secret that all know (RFC 7748 §6.1)."""
    psk = Psk(KEY)
    state = psk.begin()
    state.mix_ephemeral(bytes(32))
    responder = Responder.read(psk, bytes(32) + state.encrypt(b"hello"))
    with pytest.raises(HandshakeFailed, match="low order"):
        responder.write_second(THEIRS, b"")


def test_the_next_key_is_that_of_the_specification() -> None:
    """REKEY: the encryption of 32 zeros under the nonce 2^64 - 1, without associated data, cut to 32 bytes (§4.2)."""
    nonce = bytes(4) + b"\xff" * 8
    assert next_key(KEY) == ChaCha20Poly1305(KEY).encrypt(nonce, bytes(32), b"")[:32]
    assert next_key(next_key(KEY)) != next_key(KEY)


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(LocalProtocolError, match="32 bytes, not 31"):
        Psk(bytes(31))


def test_keys_are_in_no_representation() -> None:
    psk = Psk(KEY)
    _, _, ours, _ = handshake(psk)
    for secret_holder in (psk, psk.begin(), ours, Initiator(psk, OURS)):
        text = repr(secret_holder) + str(secret_holder)
        assert " object at " in text
        for secret in (KEY, ours.sending, ours.receiving, OURS):
            assert secret.hex() not in text
            assert repr(secret) not in text
