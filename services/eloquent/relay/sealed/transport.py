"""Sealing and opening one direction of an association: ChaCha20-Poly1305, with the packet number as nonce.

    head (kind and index) | packet number (4) | encrypted: content | type (1) | zeros || tag (16)

Rules of this file
- A packet number is used once; after 2^32 - 1 of them a direction is exhausted and refuses to seal. Everything before the
  ciphertext is associated data.
- Keys change as numbers go: those of an epoch of 65,536 numbers share a key, and the next epoch's is made of it by REKEY of the
  handshake's specification, so nobody who learns a key can read what an earlier one sealed. After 120 s a sender moves on to the
  next epoch by leaving out the rest of the numbers. Thus the number alone tells the receiver the key.
- A receiver keeps the key of the epoch before, for what was overtaken, and follows a sender up to four epochs ahead. Only a
  datagram that opens moves it on, or counts as having come.
- Keys live here only: in no representation, no message and no file.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from eloquent.errors import LocalProtocolError, MalformedPacket
from eloquent.relay.sealed.account import Dropped
from eloquent.relay.sealed.noise import TAG_SIZE, next_key, nonce_of
from eloquent.relay.sealed.packets import HEAD_SIZE, NUMBER_SIZE, SEAL_SIZE
from eloquent.relay.sealed.replay_window import ReplayWindow

EPOCH_SIZE = 1 << 16  # packet numbers that share a key
EPOCH_TIME = 120.0  # seconds for which they may, as in WireGuard
EPOCHS_AHEAD = 4  # an interruption of 8 minutes; after a longer one, a client begins another association
MAX_NUMBER = (1 << 8 * NUMBER_SIZE) - 1


class Sealer:
    """Seal what one side says.

    Args:
        key: 32 bytes, of this direction alone.
        now: Seconds.
    """

    __slots__ = ("_began", "_cipher", "_key", "_number")

    def __init__(self, key: bytes, *, now: float) -> None:
        self._key = key
        self._cipher = ChaCha20Poly1305(key)
        self._number = 0
        self._began = now

    @property
    def number(self) -> int:
        """The number of the next datagram, unless an epoch ends before."""
        return self._number

    def seal(self, head: bytes, content: bytes, kind: int, *, size: int, now: float) -> bytes:
        """Return a sealed datagram.

        Args:
            head: What stands before the packet number.
            content: What is sealed.
            kind: Its type, 1 to 255.
            size: Bytes that the datagram is to have; no fewer than it needs.
            now: Seconds.

        Raises:
            LocalProtocolError: The packet numbers are used up.
        """
        if (self._number and self._number % EPOCH_SIZE == 0) or now - self._began >= EPOCH_TIME:
            self._begin_epoch(now)
        if self._number > MAX_NUMBER:
            raise LocalProtocolError("the packet numbers of the association are used up")
        number, self._number = self._number, self._number + 1
        full_head = head + number.to_bytes(NUMBER_SIZE)
        plain = (content + bytes([kind])).ljust(size - HEAD_SIZE - TAG_SIZE, b"\0")
        return full_head + self._cipher.encrypt(nonce_of(number), plain, full_head)

    def _begin_epoch(self, now: float) -> None:
        self._number = -(-self._number // EPOCH_SIZE) * EPOCH_SIZE or EPOCH_SIZE
        self._key = next_key(self._key)
        self._cipher = ChaCha20Poly1305(self._key)
        self._began = now


class Opener:
    """Open what the other side sealed, each datagram once.

    Args:
        key: 32 bytes, of this direction alone.
    """

    __slots__ = ("_ahead", "_before", "_cipher", "_epoch", "_key", "_window")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = ChaCha20Poly1305(key)
        self._before: ChaCha20Poly1305 | None = None
        self._epoch = 0
        self._ahead: list[tuple[bytes, ChaCha20Poly1305]] = []  # keys of the epochs that follow, once they were needed
        self._window = ReplayWindow()

    @property
    def highest(self) -> int:
        """The highest packet number that was opened, or -1."""
        return self._window.highest

    def came_below(self, number: int, count: int) -> int:
        """Return which packet numbers below one have come (`ReplayWindow.came_below`)."""
        return self._window.came_below(number, count)

    def open(self, datagram: bytes) -> tuple[int, int, bytes]:
        """Return a datagram's packet number, type and content.

        Raises:
            Dropped: It is forged, damaged, repeated or too old; nothing has changed.
            MalformedPacket: The peer sealed it without a type; the packet number counts as used.
        """
        if len(datagram) < SEAL_SIZE:
            raise Dropped("too short")
        number = int.from_bytes(datagram[HEAD_SIZE - NUMBER_SIZE : HEAD_SIZE])
        if not self._window.is_new(number):
            raise Dropped("replayed")
        epoch = number // EPOCH_SIZE
        cipher = self._cipher_of(epoch)
        try:
            plain = cipher.decrypt(nonce_of(number), datagram[HEAD_SIZE:], datagram[:HEAD_SIZE])
        except InvalidTag:
            raise Dropped("forged") from None
        if epoch > self._epoch:
            self._move_to(epoch)
        self._window.mark(number)
        content = plain.rstrip(b"\0")
        if not content:
            raise MalformedPacket("a sealed datagram has no type")
        return number, content[-1], content[:-1]

    def _cipher_of(self, epoch: int) -> ChaCha20Poly1305:
        if epoch == self._epoch:
            return self._cipher
        if epoch == self._epoch - 1 and self._before is not None:
            return self._before
        ahead = epoch - self._epoch
        if not 0 < ahead <= EPOCHS_AHEAD:
            raise Dropped("of another epoch")
        while len(self._ahead) < ahead:
            key = next_key(self._ahead[-1][0] if self._ahead else self._key)
            self._ahead.append((key, ChaCha20Poly1305(key)))
        return self._ahead[ahead - 1][1]

    def _move_to(self, epoch: int) -> None:
        ahead = epoch - self._epoch
        self._before = self._ahead[ahead - 2][1] if ahead > 1 else self._cipher
        self._key, self._cipher = self._ahead[ahead - 1]
        self._ahead = self._ahead[ahead:]
        self._epoch = epoch
