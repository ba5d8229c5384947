"""The receiving side of packed data: what a packet needs is the stream up to its base.

Rules of this file
- Fragments released stay in the history as long as a packet on its way may refer to them.
- A packet whose base lies beyond what was released, or before what is remembered, is dropped like a lost one: no honest
  sender says the first, and the second has been overtaken. It is acknowledged all the same, so that the sender learns what is here.
"""

from eloquent.protocol.frames import Data, Fragment
from eloquent.protocol.history import History
from eloquent.protocol.packed import decode_packed, is_packed, unpack
from eloquent.protocol.receiver import Receiver

REMEMBERED = 1024  # fragments below the next one; five seconds at 200 a second


class PackedReceiver(Receiver):
    """Release the tokens of one stream in order; accepts packed and ordinary data."""

    def __init__(self) -> None:
        super().__init__()
        self._history = History()

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take a packet of tokens.

        Raises:
            RemoteProtocolError: It is malformed, or an acknowledgement.
        """
        if not is_packed(data):
            super().receive_datagram(data, now=now)
            return
        packed = decode_packed(data)
        if packed.base - 1 in self._history and not self._broken:
            self._take(Data(tuple(unpack(packed, self._history, self._waiting)), packed.end))
        else:
            self._take(Data(()))

    def _released(self, fragment: Fragment) -> None:
        self._history.append(fragment.data)
        self._history.forget_below(self._history.next_index - REMEMBERED)
