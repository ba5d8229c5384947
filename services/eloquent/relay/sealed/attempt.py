"""A client's attempt to get an association: it knocks until it is let in.

Rules of this file
- Every knock has an index and an ephemeral key of its own; a repetition is the same datagram. So an answer tells which knock
  it is for, and what answers one that was given up is ignored.
- The first cookie is used at once, and the knock with it repeated. The server answers it with an acceptance, the same each
  time, or with another cookie when the first does not count any more. That goes with the next repetition, so that a client
  whose cookies never count, or who gets forged ones, knocks no faster.
"""

from collections.abc import Callable

from eloquent.protocol.repetition import Repetition
from eloquent.relay.sealed.account import Dropped
from eloquent.relay.sealed.noise import KEY_SIZE, HandshakeFailed, Initiator, Psk, TransportKeys
from eloquent.relay.sealed.packets import (
    COOKIE_SIZE,
    INDEX_SIZE,
    KNOCK,
    NO_COOKIE,
    Accept,
    Knock,
)

KNOCK_TIMEOUT = 0.5  # seconds to the first repetition of a knock, doubled at each
KNOCK_MAX_TIMEOUT = 2.0  # seconds: a person waits for the answer


class Attempt:
    """One attempt.

    Args:
        psk: The key.
        draw: Draws so many random bytes.
        previous: The binding of the association that may be lost, or zeros.
        now: Seconds.

    Attributes:
        index: Of the knock that is being repeated.
    """

    __slots__ = ("_draw", "_has_cookie", "_initiator", "_knock", "_previous", "_psk", "_repetition", "index")

    def __init__(self, psk: Psk, draw: Callable[[int], bytes], *, previous: bytes, now: float) -> None:
        self._previous = previous
        self._psk = psk
        self._draw = draw
        self._has_cookie = False
        self._repetition = Repetition(now, KNOCK_TIMEOUT, KNOCK_MAX_TIMEOUT)
        self._make_knock(NO_COOKIE)

    @property
    def due(self) -> float:
        """Seconds; when `take_knock` has something."""
        return self._repetition.due

    def take_knock(self, *, now: float) -> bytes | None:
        """Return the datagram that is to be sent now, or None."""
        if self._repetition.due > now:
            return None
        self._repetition.repeat(now)
        return self._knock

    def take_cookie(self, datagram: bytes, *, now: float) -> None:
        """Take a server's cookie, and knock with it from now on.

        Raises:
            Dropped: It answers no knock that is being repeated.
        """
        cookie = datagram[1 + INDEX_SIZE :]
        if datagram[1 : 1 + INDEX_SIZE] != self.index or len(cookie) != COOKIE_SIZE or cookie == NO_COOKIE:
            raise Dropped("a cookie for another knock")
        self._make_knock(cookie)
        if not self._has_cookie:
            self._has_cookie = True
            self._repetition = Repetition(now, KNOCK_TIMEOUT, KNOCK_MAX_TIMEOUT)

    def take_accept(self, datagram: bytes) -> tuple[Accept, TransportKeys]:
        """Return what a server says to the knock, and the keys.

        Raises:
            Dropped: It answers no knock that is being repeated, or not from somebody with the key.
            MalformedPacket: Somebody with the key says what we do not know.
        """
        if datagram[1 : 1 + INDEX_SIZE] != self.index:
            raise Dropped("an acceptance of another knock")
        try:
            payload, keys = self._initiator.read_second(datagram[1 + INDEX_SIZE :])
        except HandshakeFailed:
            raise Dropped("without the key") from None
        return Accept.decode(payload), keys

    def _make_knock(self, cookie: bytes) -> None:
        self.index = self._draw(INDEX_SIZE)
        self._initiator = Initiator(self._psk, self._draw(KEY_SIZE))
        payload = Knock(self.index, cookie, self._previous).encode()
        self._knock = bytes([KNOCK]) + self._initiator.write_first(payload)
