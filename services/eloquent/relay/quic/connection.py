"""aioquic's connection with what it lacks for datagrams that go now or never; the only file that touches what is private there.

Rules of this file
- Nothing waits: a datagram that cannot be sent at once (a new path that is not validated has had its three times, the connection is
  closing) is dropped and counted, and the sessions send something newer.
- A datagram of more than `QUIC_DATAGRAM` bytes is never given to aioquic, which would block all later ones for ever.
- A key protects 2^20 packets, an eighth of what AES-GCM may (RFC 9001 §6.6): then this side updates both (§6.1).
- Datagrams are given room and are not paced: the sessions' controllers have done that (`congestion`, docs/quic.md).
"""

import logging
from itertools import islice
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import END_STATES, QuicConnection, QuicReceiveContext
from aioquic.quic.events import DatagramFrameReceived
from aioquic.tls import Epoch
from cryptography.x509 import Certificate

from eloquent.protocol.address_token import Address
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.congestion import ALGORITHM, QuicCongestion, RestPacer
from eloquent.relay.quic.limits import QUIC_DATAGRAM, QuicLimits

CONNECTION_ID_SIZE = 8  # bytes, of ours
PACKET_OVERHEAD = 1 + CONNECTION_ID_SIZE + 2 + 16  # bytes: flags, connection id, packet number as aioquic sends it, tag
FRAME_OVERHEAD = 1 + 2  # bytes: type and length
MAX_FRAME = QUIC_DATAGRAM + 2  # bytes; WebTransport needs two more, to name its session
KEY_PACKETS = 1 << 20  # sent under one key
_FRAME_HANDLERS = "_QuicConnection__frame_handlers"
INITIAL_RTT = 0.333  # seconds (RFC 9002 §6.2.2); aioquic's 0.1 repeats every handshake on paths of 0.2 s and more
_MAX_TIMERS = 4  # that are due at one instant: of acknowledgements, loss, probes and path validation
_ROUNDING = 1e-6  # seconds
_ALL_FRAMES = 65536  # bytes: DATAGRAM frames of any size may be sent to us (RFC 9221 §3)

logging.getLogger("quic").setLevel(logging.ERROR)  # aioquic's, which tells of what any stranger sends


def wire_size(datagram: bytes) -> int:
    """Return how many bytes of UDP payload a session's datagram takes, alone in its packet."""
    return PACKET_OVERHEAD + FRAME_OVERHEAD + len(datagram)


def configure(*, is_client: bool, protocols: list[str], limits: QuicLimits | None = None) -> QuicConfiguration:
    """Return how aioquic is to behave.

    Args:
        is_client: Which side it is.
        protocols: What is spoken (ALPN).
        limits: The bounds.
    """
    limits = QuicLimits() if limits is None else limits
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=protocols,
        connection_id_length=CONNECTION_ID_SIZE,
        congestion_control_algorithm=ALGORITHM,
        idle_timeout=limits.silence,
        initial_rtt=INITIAL_RTT,
        max_datagram_frame_size=_ALL_FRAMES,
        max_data=limits.stream_data,
        max_stream_data=limits.stream_data // 4,
    )


class DatagramConnection(QuicConnection):
    """One connection, of either side.

    Args:
        account: Where its datagrams are counted.
        options: As for `QuicConnection`.
    """

    def __init__(self, account: QuicAccount, **options: Any) -> None:
        self._has_news = True  # whether aioquic may have something to say besides datagrams
        self._due_is_known = False
        self._due: float | None = None
        super().__init__(**options)
        self._account = account
        self._left_of_key = KEY_PACKETS
        self._newest: int | None = None  # number of the newest packet that came after the handshake
        assert isinstance(self._loss._cc, QuicCongestion), "the configuration is that of `configure`"
        self._congestion = self._loss._cc
        self._loss._pacer = RestPacer(self._congestion, max_datagram_size=self._max_datagram_size)

    @property
    def is_over(self) -> bool:
        """Whether it was closed, by whomever."""
        return self._close_pending or self._state in END_STATES

    @property
    def end_code(self) -> int | None:
        """The code with which an application has closed it; None if QUIC has, or nobody yet."""
        event = self._close_event
        return None if event is None or event.frame_type is not None else event.error_code

    @property
    def end_reason(self) -> str:
        """Why it is over, in the words of who closed it."""
        return "" if self._close_event is None else self._close_event.reason_phrase

    @property
    def is_path_validated(self) -> bool:
        """Whether the address that datagrams go to has shown that it receives."""
        return bool(self._network_paths) and self._network_paths[0].is_validated

    @property
    def peer_certificate(self) -> Certificate | None:
        """What the other side has shown and signed with, once the handshake is complete."""
        return self.tls._peer_certificate

    @property
    def peer_chain(self) -> list[Certificate]:
        """The certificates that it has shown beside."""
        return self.tls._peer_certificate_chain

    def handle_timer(self, now: float) -> None:
        """See `QuicConnection`."""
        self._note_news()
        super().handle_timer(now)

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:  # noqa: FBT001, FBT002 - aioquic's
        """See `QuicConnection`."""
        self._note_news()
        super().send_stream_data(stream_id, data, end_stream)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """See `QuicConnection`."""
        self._note_news()
        super().reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """See `QuicConnection`."""
        self._note_news()
        super().stop_stream(stream_id, error_code)

    def close(self, *args: Any, **options: Any) -> None:
        """See `QuicConnection`."""
        self._note_news()
        super().close(*args, **options)

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` is to be called, or None: so late that rounding leaves nothing due again."""
        if not self._due_is_known:
            due = super().get_timer()
            self._due = None if due is None else due + _ROUNDING
            self._due_is_known = True
        return self._due

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """See `QuicConnection`; packets are counted."""
        known = len(self._events)
        super().receive_datagram(data, addr, now)
        self._due_is_known = False
        brought = list(islice(self._events, known, None))
        # What a packet with a session's datagram asks of QUIC besides has time until it is acknowledged, which a timer sees to.
        can_wait = (
            brought and self.is_path_validated and all(isinstance(event, DatagramFrameReceived) for event in brought)
        )
        self._has_news |= not can_wait
        if (space := self._spaces.get(Epoch.ONE_RTT)) is not None and space.largest_received_packet >= 0:
            before, self._newest = self._newest, space.largest_received_packet
            self._account.expected += 1 if before is None else self._newest - before

    def _payload_received(  # of each packet that opens and has not come before
        self,
        context: QuicReceiveContext,
        plain: bytes,
        crypto_frame_required: bool = False,  # noqa: FBT001, FBT002 - aioquic's signature
    ) -> tuple[bool, bool]:
        self._account.opened += context.epoch is Epoch.ONE_RTT
        return super()._payload_received(context, plain, crypto_frame_required)

    def carry(self, datagram: bytes) -> None:
        """Have a datagram sent by the next `flush`."""
        if len(datagram) > MAX_FRAME:
            self._account.oversized += 1
        elif not self.is_over:
            self._account.carried += 1
            self.send_datagram_frame(datagram)

    def flush(self, *, now: float, urgent: int = 0) -> list[tuple[bytes, Address]]:
        """Do what is due, return the datagrams of UDP that are to be sent now, and where to, and drop what waits.

        A timer of aioquic may leave another one due that was due before, so one call may take several.

        Args:
            now: Seconds.
            urgent: Bytes of streams that are not to wait for the pace either.
        """
        if not (self._datagrams_pending or self._has_news or self._is_due(now)):
            return []
        if self._congestion.is_deaf(now):
            self._drop_pending()
        self._congestion.promise(sum(map(wire_size, self._datagrams_pending)) + urgent)
        datagrams = self.datagrams_to_send(now=now)
        self._due_is_known = False
        for _ in range(_MAX_TIMERS):
            if not self._is_due(now):
                break
            self.handle_timer(now=now)
            datagrams += self.datagrams_to_send(now=now)
            self._due_is_known = False
        self._congestion.promise(0)
        self._drop_pending()
        self._has_news = False
        self._left_of_key -= len(datagrams)
        if self._left_of_key <= 0 and not self.is_over:
            self._left_of_key = KEY_PACKETS
            self.request_key_update()
        return datagrams

    def _is_due(self, now: float) -> bool:
        due = self.get_timer()
        return due is not None and due <= now

    def _note_news(self) -> None:
        self._has_news = True
        self._due_is_known = False

    def _drop_pending(self) -> None:
        self._account.unsent += len(self._datagrams_pending)
        self._datagrams_pending.clear()

    def release(self) -> None:
        """Let go, when it is over, of what refers to it in circles: memory is free at once, and not when circles are looked for."""
        for name in ("tls", "_loss", "_cryptos", "_cryptos_initial", "_spaces", "_streams", _FRAME_HANDLERS):
            self.__dict__.pop(name, None)
