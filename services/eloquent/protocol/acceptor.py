"""What a server does with a datagram of a session that it does not have (docs/protocol.md §6).

Rules of this file
- Only `Open` begins a session; everything else shows that the client relies on a session that was lost, and gets
  `Close`.
- A session that either side closed does not begin again, even if an old `Open` comes late.
- `Cancel` asks for nothing to be there, and is confirmed. `Close` is never answered, so that two sides cannot go on
  for ever.
- A refusal is hardly longer than what it answers, and never three times as long: it is of no use to flood a third
  party.
"""

from collections import OrderedDict

from eloquent.protocol.datagram import Body, Cancel, Close, Datagram, Open, encode_datagram

MAX_SESSIONS = 4096  # of one server at once
MAX_CLOSED = 4096  # connection ids remembered when their sessions were closed


class Acceptor:
    """Decide which sessions begin."""

    def __init__(self) -> None:
        self._closed: OrderedDict[bytes, None] = OrderedDict()

    def admits(self, datagram: Datagram, *, sessions: int) -> bool:
        """Return whether a session begins with this datagram.

        Args:
            datagram: Of a session that the server does not have.
            sessions: How many it has.
        """
        return (
            isinstance(datagram.body, Open) and sessions < MAX_SESSIONS and datagram.connection_id not in self._closed
        )

    def refusal(self, datagram: Datagram) -> bytes | None:
        """Return the answer to a datagram that was not admitted, or None for no answer."""
        body: Body
        match datagram.body:
            case Close():
                return None
            case Cancel(stream_id):
                body = Cancel(stream_id)
            case _:
                body = Close(datagram.number, "no such session")
        return encode_datagram(Datagram(datagram.connection_id, 0, body))

    def closed(self, connection_id: bytes) -> None:
        """Note that a session was closed for good."""
        self._closed[connection_id] = None
        if len(self._closed) > MAX_CLOSED:
            self._closed.popitem(last=False)
