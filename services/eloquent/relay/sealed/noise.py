"""The handshake Noise_NNpsk0_25519_ChaChaPoly_SHA256 (the Noise Protocol Framework, revision 34).

    -> psk, e
    <- e, ee

Rules of this file
- Nothing here is cryptography of our own: X25519, ChaCha20-Poly1305, SHA-256 and HKDF are those of the library `cryptography`,
  and what is done with them is the specification's, held to published test vectors.
- Whoever does not know the pre-shared key cannot make a first message that reads well, and reading it takes no
  Diffie-Hellman: that comes with `write_second`, when the caller has decided that the message deserves it.
- A handshake is used once. Its secrets are in no representation, and a message that does not read well leaves it unusable.
"""

from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from eloquent.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL_NAME = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"
KEY_SIZE = 32  # bytes, of every key here
TAG_SIZE = 16  # bytes
MESSAGE_OVERHEAD = KEY_SIZE + TAG_SIZE  # bytes of each message beside its payload
REKEY_NUMBER = (1 << 64) - 1


class HandshakeFailed(RemoteProtocolError):
    """A handshake message of somebody who does not have the key, or that was damaged."""


def nonce_of(number: int) -> bytes:
    """Return the nonce of a packet number: 32 bits of zeros, then the number, little-endian (Noise §12.3)."""
    return bytes(4) + number.to_bytes(8, "little")


def next_key(key: bytes) -> bytes:
    """Return the key that follows a key; nobody finds the way back (REKEY, Noise §4.2)."""
    return ChaCha20Poly1305(key).encrypt(nonce_of(REKEY_NUMBER), bytes(KEY_SIZE), b"")[:KEY_SIZE]


def _hash(*parts: bytes) -> bytes:
    digest = Hash(SHA256())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def _derive(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Return keys made of a chaining key and new material (HKDF of Noise §4.3, which is RFC 5869 without info)."""
    kdf = HKDF(SHA256(), length=outputs * KEY_SIZE, salt=chaining_key, info=b"")
    made = kdf.derive(material)
    return [made[i : i + KEY_SIZE] for i in range(0, len(made), KEY_SIZE)]


class _Symmetric:
    """The symmetric state (Noise §5.2), with the cipher state of the handshake, whose key serves for one message."""

    __slots__ = ("chaining_key", "cipher", "hash")

    def __init__(self, protocol: bytes, prologue: bytes, psk: bytes) -> None:
        self.hash = protocol.ljust(KEY_SIZE, b"\0") if len(protocol) <= KEY_SIZE else _hash(protocol)
        self.chaining_key = self.hash
        self.cipher: ChaCha20Poly1305 | None = None
        self.mix_hash(prologue)
        self.chaining_key, mixed, key = _derive(self.chaining_key, psk, 3)  # the token psk (Noise §9.2)
        self.mix_hash(mixed)
        self.cipher = ChaCha20Poly1305(key)

    def copy(self) -> "_Symmetric":
        other = object.__new__(_Symmetric)
        other.hash, other.chaining_key, other.cipher = self.hash, self.chaining_key, self.cipher
        return other

    def mix_hash(self, data: bytes) -> None:
        self.hash = _hash(self.hash, data)

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = _derive(self.chaining_key, material, 2)
        self.cipher = ChaCha20Poly1305(key)

    def mix_ephemeral(self, public: bytes) -> None:
        """Mix in an ephemeral public key, as with a pre-shared key (the token e, Noise §9.2)."""
        self.mix_hash(public)
        self.mix_key(public)

    def encrypt(self, payload: bytes) -> bytes:
        assert self.cipher is not None
        sealed = self.cipher.encrypt(nonce_of(0), payload, self.hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        assert self.cipher is not None
        try:
            payload = self.cipher.decrypt(nonce_of(0), sealed, self.hash)
        except InvalidTag as error:
            raise HandshakeFailed("a handshake message was not made with our key") from error
        self.mix_hash(sealed)
        return payload


class Psk:
    """A pre-shared key, and what of every handshake depends on it alone.

    Args:
        key: 32 random bytes.
        prologue: What both sides have to agree on beside it.

    Raises:
        LocalProtocolError: The key is not 32 bytes long.
    """

    __slots__ = ("_beginning",)

    def __init__(self, key: bytes, *, prologue: bytes = b"") -> None:
        if len(key) != KEY_SIZE:
            raise LocalProtocolError(f"a pre-shared key has {KEY_SIZE} bytes, not {len(key)}")
        self._beginning = _Symmetric(PROTOCOL_NAME, prologue, key)

    def begin(self) -> _Symmetric:
        """Return the state at the beginning of a handshake."""
        return self._beginning.copy()


class TransportKeys:
    """What a handshake leaves.

    Attributes:
        sending: The key of what this side sends, 32 bytes.
        receiving: The key of what the peer sends.
        handshake_hash: 32 bytes that are this handshake's alone and no secret (channel binding, Noise §11.2).
    """

    __slots__ = ("handshake_hash", "receiving", "sending")

    def __init__(self, sending: bytes, receiving: bytes, handshake_hash: bytes) -> None:
        self.sending = sending
        self.receiving = receiving
        self.handshake_hash = handshake_hash


class Initiator:
    """The side that begins.

    Args:
        psk: The key.
        ephemeral: 32 random bytes, drawn for this handshake alone.
    """

    __slots__ = ("_ephemeral", "_state")

    def __init__(self, psk: Psk, ephemeral: bytes) -> None:
        self._state = psk.begin()
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)

    def write_first(self, payload: bytes) -> bytes:
        """Return the first message: an ephemeral public key, and the payload under the pre-shared key (no forward secrecy)."""
        public = self._ephemeral.public_key().public_bytes_raw()
        self._state.mix_ephemeral(public)
        return public + self._state.encrypt(payload)

    def read_second(self, message: bytes) -> tuple[bytes, TransportKeys]:
        """Return the payload of the second message, and the keys.

        Raises:
            HandshakeFailed: It is no answer to this handshake's first message; another one may still come.
        """
        if len(message) < MESSAGE_OVERHEAD:
            raise HandshakeFailed("a handshake message is too short")
        state, public = self._state.copy(), message[:KEY_SIZE]
        state.mix_ephemeral(public)
        state.mix_key(_exchange(self._ephemeral, public))
        payload = state.decrypt(message[KEY_SIZE:])
        forward, backward = _derive(state.chaining_key, b"", 2)
        return payload, TransportKeys(forward, backward, state.hash)


class Responder:
    """The side that answers; made by `read`.

    Attributes:
        payload: Of the first message.
    """

    __slots__ = ("_public", "_state", "payload")

    def __init__(self, state: _Symmetric, public: bytes, payload: bytes) -> None:
        self._state = state
        self._public = public
        self.payload = payload

    @classmethod
    def read(cls, psk: Psk, message: bytes) -> Self:
        """Read a first message; that takes a few hashes and one decryption.

        Raises:
            HandshakeFailed: It was not made with the key, or damaged.
        """
        if len(message) < MESSAGE_OVERHEAD:
            raise HandshakeFailed("a handshake message is too short")
        state, public = psk.begin(), message[:KEY_SIZE]
        state.mix_ephemeral(public)
        return cls(state, public, state.decrypt(message[KEY_SIZE:]))

    def write_second(self, ephemeral: bytes, payload: bytes) -> tuple[bytes, TransportKeys]:
        """Return the second message, and the keys.

        Args:
            ephemeral: 32 random bytes, drawn for this handshake alone.
            payload: What only the initiator will read.

        Raises:
            HandshakeFailed: The peer's public key is one with which there is no secret (RFC 7748 §6.1).
        """
        private = X25519PrivateKey.from_private_bytes(ephemeral)
        public = private.public_key().public_bytes_raw()
        self._state.mix_ephemeral(public)
        self._state.mix_key(_exchange(private, self._public))
        message = public + self._state.encrypt(payload)
        forward, backward = _derive(self._state.chaining_key, b"", 2)
        return message, TransportKeys(backward, forward, self._state.hash)


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise HandshakeFailed("a public key is of low order") from error
