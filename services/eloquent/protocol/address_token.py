"""Proof that a client receives at the address that it sends from (RFC 9000 §8.1), without any state of the server.

    milliseconds at which it was issued (6) | HMAC-SHA-256 over that and the address, cut to 16 bytes

Rules of this file
- A token is good for the host and port that it was issued to, until it is too old, in the lifetime of one secret: a
  restarted server has another.
- It may be used again, where its lifetime is long, so that a client's next session need not wait for a new one. Who
  remembers the sessions of a token's lifetime keeps them from being repeated; who has to forget one says so with
  `refuse_before`.
"""

import hmac

ADDRESS_TOKEN_LIFETIME = 3600.0  # seconds
_ISSUED_SIZE = 6  # bytes
_MAC_SIZE = 16  # bytes
NO_TOKEN = bytes(_ISSUED_SIZE + _MAC_SIZE)  # for a server that knows in another way that a client receives

Address = tuple[str, int]
"""Host and port of a datagram's source, as the socket tells them."""


class AddressTokens:
    """Issue tokens and judge them.

    Args:
        secret: At least 16 random bytes.
        lifetime: Seconds for which a token counts.
    """

    def __init__(self, secret: bytes, *, lifetime: float = ADDRESS_TOKEN_LIFETIME) -> None:
        self._secret = secret
        self._lifetime_ms = lifetime * 1e3
        self._oldest = 0  # milliseconds

    def issue(self, address: Address, *, now: float) -> bytes:
        """Return a token for an address, 22 bytes."""
        issued = int(now * 1e3).to_bytes(_ISSUED_SIZE)
        return issued + self._mac(issued, address)

    def is_valid(self, token: bytes, address: Address, *, now: float) -> bool:
        """Return whether a token was issued here to this address and still counts."""
        issued, mac = token[:_ISSUED_SIZE], token[_ISSUED_SIZE:]
        age_ms = int(now * 1e3) - int.from_bytes(issued)
        if not hmac.compare_digest(mac, self._mac(issued, address)):
            return False
        return age_ms <= self._lifetime_ms and int.from_bytes(issued) >= self._oldest

    @staticmethod
    def age(token: bytes, *, now: float) -> float:
        """Return for how many seconds a valid token has been out: as long as a round trip at least."""
        return now - int.from_bytes(token[:_ISSUED_SIZE]) / 1e3

    def refuse_before(self, now: float) -> None:
        """Refuse, from now on, every token that was issued up to `now`."""
        self._oldest = int(now * 1e3) + 1

    def _mac(self, issued: bytes, address: Address) -> bytes:
        content = issued + f"{address[0]} {address[1]}".encode()
        return hmac.digest(self._secret, content, "sha256")[:_MAC_SIZE]
