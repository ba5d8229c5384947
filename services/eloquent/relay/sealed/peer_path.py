"""Where a client is now: its address moves with it, and a new one is believed only so far (RFC 9000 §8.2, §9).

Rules of this file
- Only a datagram that opened, and whose number is higher than every one before, moves the client. So no repeated or
  overtaken datagram does, from wherever it comes.
- To a new address goes at most three times as much as came from it, until it has returned a challenge that only who receives
  there and has the keys can return. All else leaves room for the next challenge, or answers to signs of life would take it all.
- The address that was validated last needs no new proof: whoever sends an intercepted datagram on from elsewhere loses the
  client to its next own one.
"""

from collections.abc import Callable

from eloquent.protocol.address_token import Address
from eloquent.protocol.repetition import Repetition
from eloquent.protocol.server_endpoint import AMPLIFICATION

CHALLENGE_SIZE = 8  # bytes
CHALLENGE_ROOM = 64  # bytes of UDP payload; a challenge, sealed and padded
CHALLENGE_TIMEOUT = 0.25  # seconds to the first repetition of a challenge, doubled at each
CHALLENGE_MAX_TIMEOUT = 2.0  # seconds
CHALLENGE_TIME = (
    10.0  # seconds after which a path that does not answer is not asked any more, until it is heard of again
)


class PeerPath:
    """The path to a client, validated at the beginning.

    Args:
        address: Where the client has shown that it receives.
        draw: Draws so many random bytes.

    Attributes:
        address: Where the client is now.
    """

    __slots__ = ("_ask_until", "_challenge", "_draw", "_repetition", "_room", "_validated", "address")

    def __init__(self, address: Address, draw: Callable[[int], bytes]) -> None:
        self.address = address
        self._draw = draw
        self._validated = address  # the last address that was
        self._room = 0  # bytes that may go to an address that is not validated
        self._challenge: bytes | None = None
        self._repetition: Repetition | None = None
        self._ask_until = 0.0  # seconds

    @property
    def is_validated(self) -> bool:
        """Whether the client has shown that it receives at its address."""
        return self.address == self._validated

    @property
    def due(self) -> float | None:
        """Seconds; when `take_challenge` has something, or None."""
        return None if self._repetition is None else self._repetition.due

    def receive(self, size: int, source: Address, *, is_newest: bool, now: float) -> None:
        """Note a datagram that opened.

        Args:
            size: Bytes.
            source: Where it came from.
            is_newest: Whether its number is higher than every one before.
            now: Seconds.
        """
        if source != self.address and is_newest:
            self.address, self._room = source, 0
            self._challenge, self._repetition = None, None
        if source == self.address and not self.is_validated:
            self._room += AMPLIFICATION * size
            if self._repetition is None:
                self._challenge = self._draw(CHALLENGE_SIZE)
                self._repetition = Repetition(now, CHALLENGE_TIMEOUT, CHALLENGE_MAX_TIMEOUT)
                self._ask_until = now + CHALLENGE_TIME

    def answer(self, content: bytes, source: Address) -> bool:
        """Take what came back for a challenge, and return whether it validates the address."""
        if content != self._challenge or source != self.address:
            return False
        self._validated = source
        self._challenge, self._repetition = None, None
        return True

    def take_challenge(self, *, now: float) -> bytes | None:
        """Return a challenge that is to be sent now, or None."""
        if self._repetition is None or self._repetition.due > now:
            return None
        if now >= self._ask_until:
            self._repetition = None
            return None
        self._repetition.repeat(now)
        return self._challenge

    def take_room(self, size: int, *, is_challenge: bool = False) -> bool:
        """Return whether so many bytes may go to the address, and count them.

        Args:
            size: Bytes of UDP payload.
            is_challenge: Whether they are the challenge, for which all others leave room.
        """
        if self.is_validated:
            return True
        if size > self._room - (0 if is_challenge else CHALLENGE_ROOM):
            return False
        self._room -= size
        return True
