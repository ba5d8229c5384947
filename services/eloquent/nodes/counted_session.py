"""Sessions whose datagrams are counted by direction and kind."""

from eloquent.protocol.packet import decode_datagram, kind_name
from eloquent.protocol.session import ClientSession, ServerSession
from eloquent.protocol.session_base import SessionBase
from eloquent.telemetry import SessionMetrics


class _Counted(SessionBase):
    """Counts what passes between a driver and the session below."""

    def __init__(self, connection_id: bytes, metrics: SessionMetrics) -> None:
        super().__init__(connection_id)
        self._metrics = metrics

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram, and count it if the session did."""
        super().receive_datagram(data, now=now)
        self._count("in", data)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent, and count it."""
        datagrams = super().datagrams_to_send(now=now)
        for data in datagrams:
            self._count("out", data)
        return datagrams

    def _count(self, direction: str, data: bytes) -> None:
        self._metrics.datagrams.labels(direction, kind_name(decode_datagram(data).body)).inc()


class CountedClientSession(_Counted, ClientSession):
    """A client's session that is counted.

    Args:
        connection_id: As for `ClientSession`.
        metrics: Where it is counted.
    """


class CountedServerSession(_Counted, ServerSession):
    """A server's session that is counted.

    Args:
        connection_id: As for `ServerSession`.
        metrics: Where it is counted.
    """
