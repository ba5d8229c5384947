"""One handshake's keys, as one side uses them: what goes out is sealed and padded, what comes in is opened, all is counted.

Rules of this file
- Every datagram of an association is sealed: acknowledgements, signs of life and farewells too.
- A session's datagram inside has a constant serial, four bytes that stand for the association in its connection id.
"""

from eloquent.protocol.datagram import MAX_DATAGRAM
from eloquent.relay.sealed.account import SealAccount
from eloquent.relay.sealed.noise import TransportKeys
from eloquent.relay.sealed.packets import (
    BINDING_SIZE,
    CLIENT_SEALED,
    PONG_BITS,
    SEAL_SIZE,
    SERVER_SEALED,
    Type,
    restore,
    shorten,
    shortened_size,
)
from eloquent.relay.sealed.padding import Padding, padded
from eloquent.relay.sealed.transport import EPOCH_SIZE, MAX_NUMBER, Opener, Sealer


def server_size(datagram: bytes, padding: Padding | None) -> int:
    """Return how many bytes a session's datagram takes when a server has sealed it."""
    return padded(shortened_size(datagram) + SEAL_SIZE, () if padding is None else padding.server)


class Association:
    """One side of an association.

    Args:
        keys: What the handshake left to this side.
        index: The four bytes by which the peer names the association.
        serial: The first four bytes of connection ids on this side.
        is_client: Whether this is the client's side.
        padding: The sizes of datagrams, or None for no padding.
        account: Where what is sent is counted.
        now: Seconds.

    Attributes:
        binding: 16 bytes that name the association to both sides, and no secret.
        serial: The same.
    """

    __slots__ = ("_account", "_control", "_head", "_opener", "_sealer", "_sizes", "binding", "serial")

    def __init__(
        self,
        keys: TransportKeys,
        *,
        index: bytes,
        serial: bytes,
        is_client: bool,
        padding: Padding | None,
        account: SealAccount,
        now: float,
    ) -> None:
        self.binding = keys.handshake_hash[:BINDING_SIZE]
        self.serial = serial
        self._head = bytes([CLIENT_SEALED if is_client else SERVER_SEALED]) + index
        self._sealer = Sealer(keys.sending, now=now)
        self._opener = Opener(keys.receiving)
        self._account = account
        self._control = 0 if padding is None else padding.control
        self._sizes = () if padding is None else padding.client if is_client else padding.server

    @property
    def highest(self) -> int:
        """The highest packet number that came from the peer, or -1."""
        return self._opener.highest

    @property
    def is_exhausted(self) -> bool:
        """Whether so few packet numbers are left that the association is to end."""
        return self._sealer.number > MAX_NUMBER - 2 * EPOCH_SIZE

    def open(self, datagram: bytes) -> tuple[int, int, bytes]:
        """Return a datagram's packet number, type and content, a session's datagram restored.

        Raises:
            Dropped: It is forged, damaged, repeated or too old; nothing has changed.
            MalformedPacket: The peer sealed what it never should; the packet number counts as used.
        """
        highest = self._opener.highest
        number, kind, content = self._opener.open(datagram)
        self._account.opened += 1
        if (
            number > highest
        ):  # whose epoch, if it is a new one, may have begun before the numbers of the last were used up
            self._account.expected += min(number - highest, number % EPOCH_SIZE + 1)
        return number, kind, restore(content, self.serial) if kind == Type.DATAGRAM else content

    def seal_datagram(self, datagram: bytes, *, now: float) -> bytes:
        """Return a session's datagram, sealed and padded.

        Raises:
            LocalProtocolError: The packet numbers are used up, or the datagram is too large for the payload budget of sealed UDP.
        """
        content = shorten(datagram)
        needed = len(content) + SEAL_SIZE
        assert needed <= MAX_DATAGRAM, "the endpoint inside keeps to the budget of sealed datagrams"
        sealed = self._sealer.seal(self._head, content, Type.DATAGRAM, size=padded(needed, self._sizes), now=now)
        account, size = self._account, len(datagram)
        account.datagrams += 1
        account.content += size
        account.sealing += needed - size
        account.padding += len(sealed) - needed
        return sealed

    def came_below(self, number: int) -> int:
        """Return which packet numbers below one have come from the peer, as a pong tells it."""
        return self._opener.came_below(number, PONG_BITS)

    def seal_control(self, kind: Type, content: bytes = b"", *, size: int = 0, now: float) -> bytes:
        """Return a sealed datagram that carries no session's.

        Args:
            kind: Its type.
            content: Its content.
            size: Bytes that it is to have at least.
            now: Seconds.

        Raises:
            LocalProtocolError: The packet numbers are used up.
        """
        sealed = self._sealer.seal(self._head, content, kind, size=max(size, self._control), now=now)
        self._account.datagrams += 1
        self._account.control += len(sealed)
        return sealed
