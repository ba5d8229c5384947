"""Find out what a path does to datagrams: a client's side of an association that only pings.

Rules of this file
- Each ping has a packet number, and each pong tells which of the numbers before its own ping's have come. So of each ping is
  known whether it was lost on the way up or its pong on the way down, without a clock of the other side.
- Whoever owns a prober decides when it pings. It repeats its initiation as any client does.
"""

from collections.abc import Callable
from dataclasses import dataclass

from eloquent.errors import RemoteProtocolError
from eloquent.relay.sealed.account import Dropped, SealAccount
from eloquent.relay.sealed.association import Association
from eloquent.relay.sealed.attempt import Attempt
from eloquent.relay.sealed.noise import Psk
from eloquent.relay.sealed.packets import (
    ACCEPT,
    COOKIE,
    NO_BINDING,
    PONG_BITS,
    PROLOGUE,
    SERIAL_SIZE,
    SERVER_SEALED,
    PongContent,
    Status,
    Type,
)


@dataclass(slots=True)
class SentPing:
    """A ping that was sent.

    Attributes:
        size: Bytes of the datagram.
        sent_at: Seconds.
        answered_at: Seconds; None while there was no pong.
        came: Whether it has come to the server; None while that is not known.
    """

    size: int
    sent_at: float
    answered_at: float | None = None
    came: bool | None = None


class Prober:
    """Ping a sealed server.

    Args:
        key: 32 bytes, shared with it.
        draw: Draws so many random bytes.
        now: Seconds.

    Attributes:
        status: What the server said to the handshake; None until then.
        pings: All pings so far; the index is the packet number.
    """

    def __init__(self, key: bytes, *, draw: Callable[[int], bytes], now: float) -> None:
        self.status: Status | None = None
        self.pings: list[SentPing] = []
        self._attempt = Attempt(Psk(key, prologue=PROLOGUE), draw, previous=NO_BINDING, now=now)
        self._association: Association | None = None

    @property
    def due(self) -> float:
        """Seconds; when `take_initiation` has something, until there is a status."""
        return self._attempt.due

    def take_initiation(self, *, now: float) -> bytes | None:
        """Return what is to be sent now for an association, or None."""
        return self._attempt.take_initiation(now=now) if self.status is None else None

    def ping(self, size: int, *, now: float) -> bytes:
        """Return a ping of at least so many bytes; there is an association."""
        assert self._association is not None
        datagram = self._association.seal_control(Type.PING, size=size, now=now)
        self.pings.append(SentPing(len(datagram), now))
        return datagram

    def leave(self, *, now: float) -> bytes:
        """Return the farewell; there is an association."""
        assert self._association is not None
        return self._association.seal_control(Type.LEAVE, now=now)

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the server.

        Raises:
            RemoteProtocolError: It is not from the server, comes again or answers nothing; drop it and go on.
        """
        kind = data[0] if data else None
        if kind == COOKIE and self.status is None:
            self._attempt.take_cookie(data, now=now)
        elif kind == ACCEPT and self.status is None:
            self._take_accept(data, now)
        elif kind == SERVER_SEALED and self._association is not None:
            _, inner, content = self._association.open(data)
            if inner == Type.PONG:
                self._take_pong(PongContent.decode(content), now)
        else:
            raise Dropped("not ours")

    def _take_accept(self, data: bytes, now: float) -> None:
        accept, keys = self._attempt.take_accept(data)
        self.status = accept.status
        if accept.status is Status.BEGUN:
            self._association = Association(
                keys,
                index=accept.index,
                serial=bytes(SERIAL_SIZE),
                is_client=True,
                padding=None,
                account=SealAccount(),
                now=now,
            )

    def _take_pong(self, pong: PongContent, now: float) -> None:
        if pong.number >= len(self.pings):
            raise RemoteProtocolError("a pong answers a ping that was not sent")
        answered = self.pings[pong.number]
        answered.answered_at, answered.came = now, True
        for i, ping in enumerate(reversed(self.pings[max(pong.number - PONG_BITS, 0) : pong.number])):
            ping.came = bool(pong.came >> i & 1) or bool(ping.came)
