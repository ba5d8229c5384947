"""Forward error correction that streams: each packet carries K parities over the N fragments before its own.

Rules of this file
- A packet with new tokens carries K random linear combinations (see `fec_code`) of the last N fragments that earlier
  packets were the first to carry, acknowledged or not. As soon as as many parities as losses have arrived, the losses
  are found: no group has to be complete, which is what the paper holds against FEC (§2.1).
- Parities go only where they fit beside the tokens: a long prompt, whose packets are full, has none. Nothing but
  retransmission covers a pause, and the tail of a stream.
- What parities do not repair is retransmitted, by the rules of `retransmit`.
- Payload: type 32, the number of parities (1 byte), each as first index, count, key (1 byte) and length (varints but
  for the key) and its bytes, then an ordinary `Data`. Packets without parities are an ordinary `Data`.
- Parity bytes count as redundant token bytes: they are what the scheme spends beyond the tokens.
"""

import re
from collections import deque

from eloquent.baselines.fec_code import Decoder, Parity, combine
from eloquent.errors import ConfigurationError, MalformedPacket
from eloquent.protocol.frames import Data, DataBuilder, Fragment
from eloquent.protocol.receiver import Receiver, decode_data
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme, read_indices
from eloquent.protocol.sender import Sender
from eloquent.protocol.senders.retransmit import RetransmitSender
from eloquent.protocol.varint import ByteReader, encode_varint

MAX_WINDOW = 64  # fragments
MAX_PARITIES = 8  # in a packet
_TYPE = 32


class FecSender(RetransmitSender):
    """New tokens together with parities over the last N.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator, for retransmissions.
        window: Fragments that a parity covers, 1 to 64.
        parities: Parities in each packet, 1 to 8.
    """

    def __init__(self, *, budget: int, rtt: RttEstimator | None = None, window: int, parities: int) -> None:
        super().__init__(budget=budget, rtt=rtt)
        self._recent: deque[Fragment] = deque(maxlen=window)
        self._parities = parities
        self._key = 0
        self._new: list[Fragment] = []  # of the packet that was built last

    def _first(self, now: float) -> list[bytes]:
        self._new = []
        [payload] = super()._first(now)
        protected = self._protect(payload)
        self._account.wire_bytes += len(protected) - len(payload)
        self._recent.extend(self._new)
        return [protected]

    def _accompany(self, builder: DataBuilder) -> int:
        self._new = list(builder.fragments)
        return 0

    def _protect(self, payload: bytes) -> bytes:
        parts: list[bytes] = []
        left = self._budget - len(payload) - 2
        for _ in range(self._parities if self._recent else 0):
            parity = combine(self._recent, self._key)
            part = _encode(parity)
            if len(part) > left:
                break
            self._key = (self._key + 1) % 256
            self._account.redundant_bytes += len(parity.data)
            left -= len(part)
            parts.append(part)
        return bytes([_TYPE, len(parts)]) + b"".join(parts) + payload if parts else payload


class FecReceiver(Receiver):
    """Take tokens, and find lost ones from parities."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = Decoder()

    def receive_datagram(self, data: bytes, *, now: float) -> None:  # noqa: ARG002 - the contract gives the time to each call
        """Take a packet of tokens and parities.

        Raises:
            RemoteProtocolError: It is malformed, or an acknowledgement.
        """
        parities, rest = _split(data)
        payload = decode_data(rest)
        self._take(payload)
        if self._finished or self._broken:
            return
        self._decoder.learn(payload.fragments)
        for parity in parities:
            self._decoder.add(parity)
        if found := self._decoder.solve(self._next):
            self._take(Data(tuple(found)))


def _encode(parity: Parity) -> bytes:
    head = encode_varint(parity.first) + encode_varint(parity.count) + bytes([parity.key])
    return head + encode_varint(len(parity.data)) + parity.data


def _split(data: bytes) -> tuple[list[Parity], bytes]:
    if data[:1] != bytes([_TYPE]):
        return [], data
    reader = ByteReader(data[1:])
    parities = []
    for _ in range(reader.take(1)[0]):
        first, count, key = reader.varint(), reader.varint(), reader.take(1)[0]
        parities.append(Parity(first, count, key, reader.take(reader.varint())))
        if not 1 <= count <= MAX_WINDOW:
            raise MalformedPacket(f"a parity over {count} fragments")
    if not 1 <= len(parities) <= MAX_PARITIES:
        raise MalformedPacket(f"a packet with {len(parities)} parities")
    return parities, reader.rest()


def _read(datagram: bytes) -> tuple[int, ...]:
    return read_indices(_split(datagram)[1])


def _build(match: re.Match[str]) -> Scheme:
    window, parities = int(match["window"]), int(match["parities"])
    if not (1 <= window <= MAX_WINDOW and 1 <= parities <= MAX_PARITIES):
        raise ConfigurationError(
            f"'{match[0]}' is not a scheme: give a window of 1 to {MAX_WINDOW} tokens and 1 to {MAX_PARITIES} parities "
            "a packet, as in fec-8-1"
        )

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return FecSender(budget=budget, rtt=rtt, window=window, parities=parities)

    return Scheme(match[0], "datagram", make_sender, FecReceiver, lambda: _read)


FAMILY = Family("fec-N-K", re.compile(r"fec-(?P<window>\d{1,2})-(?P<parities>\d)"), _build, "fec-8-1")
