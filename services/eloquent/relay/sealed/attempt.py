"""A client's attempt to get an association: it sends initiations of a handshake until it is let in.

Rules of this file
- Every initiation has an index and an ephemeral key of its own; a repetition is the same datagram. So an answer tells which
  one it is for, and what answers one that was given up is ignored.
- The first cookie is used at once, and the initiation with it repeated. The server answers it with an acceptance, the same
  each time, or with another cookie when the first does not count any more. That goes with the next repetition, so that a
  client whose cookies never count, or that gets forged ones, sends no more initiations.
"""

from collections.abc import Callable

from eloquent.protocol.repetition import Repetition
from eloquent.relay.sealed.account import Dropped
from eloquent.relay.sealed.noise import KEY_SIZE, HandshakeFailed, Initiator, Psk, TransportKeys
from eloquent.relay.sealed.packets import (
    COOKIE_SIZE,
    INDEX_SIZE,
    INITIATION,
    NO_COOKIE,
    Accept,
    Initiation,
)

INITIATION_TIMEOUT = 0.5  # seconds to the first repetition of an initiation, doubled at each
INITIATION_MAX_TIMEOUT = 2.0  # seconds: a person waits for the answer


class Attempt:
    """One attempt.

    Args:
        psk: The key.
        draw: Draws so many random bytes.
        previous: The binding of the association that may be lost, or zeros.
        now: Seconds.

    Attributes:
        index: Of the initiation that is being repeated.
    """

    __slots__ = ("_draw", "_has_cookie", "_initiation", "_initiator", "_previous", "_psk", "_repetition", "index")

    def __init__(self, psk: Psk, draw: Callable[[int], bytes], *, previous: bytes, now: float) -> None:
        self._previous = previous
        self._psk = psk
        self._draw = draw
        self._has_cookie = False
        self._repetition = Repetition(now, INITIATION_TIMEOUT, INITIATION_MAX_TIMEOUT)
        self._make_initiation(NO_COOKIE)

    @property
    def due(self) -> float:
        """Seconds; when `take_initiation` has something."""
        return self._repetition.due

    def take_initiation(self, *, now: float) -> bytes | None:
        """Return the datagram that is to be sent now, or None."""
        if self._repetition.due > now:
            return None
        self._repetition.repeat(now)
        return self._initiation

    def take_cookie(self, datagram: bytes, *, now: float) -> None:
        """Take a server's cookie, for this and all further initiations.

        Raises:
            Dropped: It answers no initiation that is being repeated.
        """
        cookie = datagram[1 + INDEX_SIZE :]
        if datagram[1 : 1 + INDEX_SIZE] != self.index or len(cookie) != COOKIE_SIZE or cookie == NO_COOKIE:
            raise Dropped("a cookie for another initiation")
        self._make_initiation(cookie)
        if not self._has_cookie:
            self._has_cookie = True
            self._repetition = Repetition(now, INITIATION_TIMEOUT, INITIATION_MAX_TIMEOUT)

    def take_accept(self, datagram: bytes) -> tuple[Accept, TransportKeys]:
        """Return what a server says to the initiation, and the keys.

        Raises:
            Dropped: It answers no initiation that is being repeated, or not from somebody with the key.
            MalformedPacket: Somebody with the key says what we do not know.
        """
        if datagram[1 : 1 + INDEX_SIZE] != self.index:
            raise Dropped("an acceptance of another initiation")
        try:
            payload, keys = self._initiator.read_second(datagram[1 + INDEX_SIZE :])
        except HandshakeFailed:
            raise Dropped("without the key") from None
        return Accept.decode(payload), keys

    def _make_initiation(self, cookie: bytes) -> None:
        self.index = self._draw(INDEX_SIZE)
        self._initiator = Initiator(self._psk, self._draw(KEY_SIZE))
        payload = Initiation(self.index, cookie, self._previous).encode()
        self._initiation = bytes([INITIATION]) + self._initiator.write_first(payload)
