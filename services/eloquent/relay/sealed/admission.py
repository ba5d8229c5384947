"""Who may begin an association: who receives at his address, has not begun with the same proof before, and not too often.

Rules of this file
- A cookie is all that a stranger gets. It is made of a secret and the address, and nothing is kept of it until it comes back.
- A cookie that has begun an association begins no other. Those that were used are remembered for as long as they count, so a
  repeated initiation starts nothing a second time; and as handshakes are limited in time, so is what is remembered.
"""

from collections import Counter, OrderedDict
from typing import Protocol

from eloquent.protocol.address_token import Address, AddressTokens
from eloquent.protocol.server_endpoint import source_of

_RATE_TIME = 1.0  # seconds for which handshakes are counted together
_RESOLUTION = 0.001  # seconds, of the ages of cookies


class AdmissionLimits(Protocol):
    """The bounds; see `SealLimits`."""

    @property
    def handshakes(self) -> int:
        """Handshakes a second."""

    @property
    def handshakes_per_source(self) -> int:
        """The same for one source."""

    @property
    def cookie_time(self) -> float:
        """Seconds for which a cookie counts."""


class HandshakeAdmission:
    """Cookies, and how often handshakes are made.

    Args:
        secret: At least 16 random bytes, new in each process.
        limits: The bounds.
    """

    def __init__(self, secret: bytes, limits: AdmissionLimits) -> None:
        self._cookies = AddressTokens(secret, lifetime=limits.cookie_time)
        self._limits = limits
        self._used: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()  # cookie: seconds, what it began
        self._made: Counter[str] = Counter()  # handshakes by source, since the last reset
        self._reset_at = float("-inf")  # seconds

    def issue(self, source: Address, *, now: float) -> bytes:
        """Return a cookie for an address."""
        return self._cookies.issue(source, now=now)

    def is_shown(self, cookie: bytes, source: Address, *, now: float) -> bool:
        """Return whether a cookie shows that a client receives at an address."""
        return self._cookies.is_valid(cookie, source, now=now)

    def begun_with(self, cookie: bytes) -> bytes | None:
        """Return the index of what a cookie has begun, or None if it has begun nothing."""
        used = self._used.get(cookie)
        return None if used is None else used[1]

    def use(self, cookie: bytes, index: bytes, *, now: float) -> None:
        """Note that a cookie has begun an association, and forget what does not count any more."""
        self._used[cookie] = now, index
        while next(iter(self._used.values()))[0] < now - self._limits.cookie_time - _RESOLUTION:
            self._used.popitem(last=False)

    def take_handshake(self, source: Address, *, now: float) -> bool:
        """Return whether one more handshake may be made for a source now, and count it."""
        if now >= self._reset_at + _RATE_TIME:
            self._made.clear()
            self._reset_at = now
        whose = source_of(source)
        if self._made.total() >= self._limits.handshakes or self._made[whose] >= self._limits.handshakes_per_source:
            return False
        self._made[whose] += 1
        return True
