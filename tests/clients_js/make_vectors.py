"""Write the golden vectors that the JavaScript client is tested with: `.venv/bin/python tests/clients_js/make_vectors.py`.

Rules of this file
- Everything comes from the Python implementation, in virtual time and from fixed seeds: the same file whenever it is made.
- Bytes are hexadecimal, times are seconds.
"""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice
from pathlib import Path
from typing import Any

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import HttpField, HttpHead, HttpRequest, Outcome
from eloquent.content import stream
from eloquent.errors import RemoteProtocolError
from eloquent.protocol import datagram as wire
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.client_session import ClientSession
from eloquent.protocol.datagram import Datagram, encode_datagram
from eloquent.protocol.frames import Ack, Data, End, Fragment, ReaderState, encode_payload
from eloquent.protocol.history import STATIC_DICTIONARY
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.packed_receiver import PackedReceiver
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import ServerSession, StreamEnded, StreamRequested, StreamToken
from eloquent.protocol.varint import encode_varint
from eloquent.relay.exchange import encode_begin, encode_outcome, encode_resume

FILE = Path(__file__).parents[2] / "clients" / "js" / "vectors.json"
PAYLOAD = 1150 - (
    wire.MAX_DATAGRAM - wire.PAYLOAD_BUDGET
)  # bytes of a stream in a datagram that a QUIC DATAGRAM frame takes
CONNECTION = bytes(range(8))
SOURCE = ("192.0.2.1", 4433)

Json = dict[str, Any]


def vectors() -> Json:
    """Return all vectors."""
    return {
        "about": "Golden vectors of version 2 (docs/protocol.md), made by tests/clients_js/make_vectors.py. Bytes are hexadecimal.",
        "varints": _varints(),
        "checksums": _checksums(),
        "client_datagrams": _client_datagrams(),
        "server_datagrams": _server_datagrams(),
        "data": _data(),
        "acks": _acks(),
        "answers": [
            _answer("eloquent-packed", 1, content="openai"),
            _answer("eloquent-packed", 2, content="openai-obfuscated"),
            _answer("eloquent-packed", 3, content="text"),
            _answer("eloquent", 4, content="text"),
        ],
        "malformed_packed": _malformed_packed(),
        "messages": _messages(),
        "transcript": transcript(1),
    }


def _varints() -> Json:
    values = [0, 1, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, (1 << 53) - 1]
    return {
        "good": [{"value": value, "hex": encode_varint(value).hex()} for value in values],
        "malformed": ["", "40", "4001", "80000001", "80003fff", "c000000000000001", "c00000003fffffff"],
    }


def _checksums() -> Json:
    tokens = [b"", b"hi", bytes(range(256)), "Grüße, 世界".encode()]
    checksum, steps = 0, []
    for token in tokens:
        checksum = extend_checksum(checksum, token)
        steps.append({"token": token.hex(), "checksum": checksum})
    return {"steps": steps, "static_dictionary": extend_checksum(0, STATIC_DICTIONARY)}


def _client_datagrams() -> list[Json]:
    token, payload = bytes(range(22)), bytes.fromhex("0008 6869".replace(" ", ""))
    bodies: list[tuple[str, list[Any], wire.ClientBody]] = [
        ("open", [token.hex(), 5, payload.hex()], wire.Open(token, 5, payload)),
        ("request", [70, payload.hex()], wire.Request(70, payload)),
        ("answerAck", [0, "0205"], wire.AnswerAck(0, bytes.fromhex("0205"))),
        ("cancel", [16384], wire.Cancel(16384)),
        ("ping", [[]], wire.Ping()),
        ("ping", [[0, 1, 70, 100_000]], wire.Ping((0, 1, 70, 100_000))),
        ("leave", ["tschüß"], wire.Leave("tschüß")),
    ]
    return [
        {
            "kind": kind,
            "fields": fields,
            "number": number,
            "hex": encode_datagram(Datagram(CONNECTION, number, body)).hex(),
        }
        for number, (kind, fields, body) in enumerate(bodies, start=60)
    ]


def _server_datagrams() -> Json:
    token = bytes(range(100, 122))
    bodies: list[tuple[Json, wire.ServerBody]] = [
        ({"answered": 3, "token": token.hex()}, wire.Retry(3, token)),
        ({"streamId": 5, "payload": "0205"}, wire.RequestAck(5, bytes.fromhex("0205"))),
        ({"streamId": 5, "payload": "00086869"}, wire.Answer(5, bytes.fromhex("00086869"))),
        ({"streamId": 7, "reason": ""}, wire.Cancelled(7)),
        ({"streamId": 7, "reason": "zu spät"}, wire.Cancelled(7, "zu spät")),
        ({"answered": 256}, wire.Pong(256)),
        ({"answered": 9, "renew": True, "reason": "no such session"}, wire.Close(9, "no such session", renew=True)),
        ({"answered": 9, "renew": False, "reason": "idle"}, wire.Close(9, "idle")),
    ]
    good = [
        {"fields": fields, "number": number, "hex": encode_datagram(Datagram(CONNECTION, number, body)).hex()}
        for number, (fields, body) in enumerate(bodies, start=16380)
    ]
    said_by_clients = encode_datagram(Datagram(CONNECTION, 1, wire.Ping()))
    return {"good": good, "malformed": ["", "2a", said_by_clients.hex()]}


def _data() -> Json:
    good = [
        Data((Fragment(0, b"hi"),)),
        Data((Fragment(7, b"y"), Fragment(3, b"a"), Fragment(4, b"b"))),
        Data((Fragment(0, b"o"), Fragment(1, b"k", more=True)), End(3, 0xDEADBEEF, b"trailer")),
        Data((), End(0, 0)),
        Data((Fragment(1 << 40, bytes(100)),)),
    ]
    malformed = ["", "00", "01", "0002", "000869", "00010001", "0c", "02", "01 00 00000000 4201", "0008686908"]
    return {
        "good": [
            {
                "hex": encode_payload(data).hex(),
                "fragments": [{"index": f.index, "data": f.data.hex(), "more": f.more} for f in data.fragments],
                "end": None if data.end is None else _end(data.end),
            }
            for data in good
        ],
        "malformed": [text.replace(" ", "") for text in malformed],
    }


def _end(end: End) -> Json:
    return {"count": end.count, "checksum": end.checksum, "trailer": end.trailer.hex()}


def _acks() -> Json:
    good = [
        Ack(5),
        Ack(5, ((7, 10), (11, 12))),
        Ack(0, end_seen=True),
        Ack(5, ((7, 10),), reader=ReaderState(1.275, looking=True)),
        Ack(70, ((1 << 14, 1 << 20),), end_seen=True, reader=ReaderState(3600.0, looking=False), credit=0),
        Ack(5, credit=2047),
    ]
    malformed = [
        "",
        "01",
        "0a",
        "02",
        "020500",
        "02050001",
        "02050100",
        "064fff05",
        "04c000000000000001",
        "0402",
        "048070000005",
    ]
    return {
        "good": [
            {
                "hex": encode_payload(ack).hex(),
                "next": ack.next_index,
                "ranges": [list(pair) for pair in ack.ranges],
                "endSeen": ack.end_seen,
                "reader": ack.reader and {"bufferedS": ack.reader.buffered_s, "looking": ack.reader.looking},
                "credit": ack.credit,
            }
            for ack in good
        ],
        "malformed": malformed,
    }


def _answer(scheme: str, seed: int, *, content: str) -> Json:
    """Return the payloads that reach a receiver on a lossy path, and what it says to each; acknowledgements are lost, too."""
    rng = random.Random(seed)
    tokens = list(islice(stream(content, seed), 60))
    tokens[20:20] = [bytes(range(256)) * 12]  # longer than a datagram
    trailer = encode_outcome(Outcome.COMPLETE)
    sender = schemes.get(scheme).make_sender(budget=PAYLOAD, rtt=RttEstimator())
    receiver: Receiver = PackedReceiver() if "packed" in scheme else Receiver()
    now, steps, queue = 0.0, [], list(tokens)
    while not receiver.finished:
        if queue:
            sender.send_token(queue.pop(0), now=now)
            if not queue:
                sender.finish(trailer=trailer, now=now)
        if (due := sender.get_timer()) is not None and due <= now:
            sender.handle_timer(now=now)
        for payload in sender.datagrams_to_send(now=now):
            if rng.random() < 0.3:
                continue
            receiver.receive_datagram(payload, now=now)
            (ack,) = receiver.datagrams_to_send(now=now)
            released = 0
            while receiver.next_event() is not None:
                released += 1
            steps.append({"payload": payload.hex(), "ack": ack.hex(), "released": released})
            if rng.random() < 0.7:
                sender.receive_datagram(ack, now=now)
        now += 0.02
    return {"scheme": scheme, "tokens": [token.hex() for token in tokens], "trailer": trailer.hex(), "steps": steps}


def _malformed_packed() -> list[str]:
    """Return packed payloads that are the encoding of nothing, or of what its receiver cannot unpack."""
    return [
        payload.replace(" ", "")
        for payload in ("0c", "0c00", "0c 00 00", "0c 00 01", "0c 00 01 f0", "0c 00 01 10", "0c 00 8201 10")
    ]


def _messages() -> Json:
    answer_id = bytes(range(16))
    request = HttpRequest(
        method="POST",
        target="/v1/chat/completions?a=b",
        fields=[HttpField(name="content-type", value=b"application/json"), HttpField(name="x-empty", value=b"")],
        body='{"messages": [{"content": "Grüße"}]}'.encode(),
    )
    bare = HttpRequest(method="GET", target="/")
    head = HttpHead(
        status=200,
        reason="OK",
        fields=[HttpField(name="content-type", value=b"text/event-stream"), HttpField(name="x-latin", value=b"\xe9")],
        is_event_stream=True,
    )
    return {
        "begin": [
            {
                "id": answer_id.hex(),
                "isResumable": resumable,
                **_request(asked),
                "hex": encode_begin(answer_id, asked, is_resumable=resumable).hex(),
            }
            for asked, resumable in ((request, False), (request, True), (bare, False))
        ],
        "resume": [
            {"id": answer_id.hex(), "next": following, "hex": encode_resume(answer_id, following).hex()}
            for following in (0, 1, 127, 128, 1 << 40)
        ],
        "head": [
            {
                "hex": head.SerializeToString().hex(),
                "status": 200,
                "reason": "OK",
                "fields": [["content-type", "text/event-stream"], ["x-latin", "\xe9"]],
                "isEventStream": True,
            },
            {
                "hex": HttpHead(status=404).SerializeToString().hex(),
                "status": 404,
                "reason": "",
                "fields": [],
                "isEventStream": False,
            },
        ],
        "malformed_head": ["", "08", "0863", "08d804", "0f"],
        "outcome": [
            {"hex": encode_outcome(kind, message, grpc_status=status).hex(), "kind": kind, "message": message}
            for kind, message, status in (
                (Outcome.COMPLETE, "", None),
                (Outcome.BROKEN, "das Modell hörte auf", None),
                (Outcome.COMPLETE, "", 5),
            )
        ]
        + [{"hex": text, "kind": 0, "message": ""} for text in ("", "0f", "0a05")],
    }


def _request(request: HttpRequest) -> Json:
    fields = [[field.name, field.value.decode("latin-1")] for field in request.fields]
    return {"method": request.method, "target": request.target, "fields": fields, "body": request.body.hex()}


def transcript(seed: int) -> Json:
    """Return what a client's session is told, when, and what it says: two answers on a path that loses a quarter both ways."""
    return _Transcript(seed).run()


class _Transcript:
    """A session of the Python client with a server's endpoint, in virtual time."""

    _DELAY = 0.1  # seconds one way

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._seed = seed
        limits = EndpointLimits(payload=PAYLOAD)
        self._server = ServerEndpoint(schemes.get, secret=bytes(16), limits=limits)
        self._client = ClientSession(CONNECTION, schemes.get, token=bytes(wire.ADDRESS_TOKEN_SIZE), payload=PAYLOAD)
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._steps: list[Json] = []
        self._answers: dict[int, list[str]] = {}

    def run(self) -> Json:
        """Run it until the client has left, and return what happened."""
        for stream_id, at in enumerate((0.0, 1.0)):
            self._at(at, lambda now, stream_id=stream_id: self._open(stream_id, now))
        self._at(1.7, lambda now: self._report(ReaderState(0.5, looking=True), now))
        self._at(2.2, lambda now: self._report(ReaderState(0.0, looking=False), now))
        while not self._client.closed:
            instant = min((self._heap[0][0] if self._heap else float("inf")), *self._timers())
            while self._heap and self._heap[0][0] <= instant:
                heappop(self._heap)[2](instant)
            if (due := self._client.get_timer()) is not None and due <= instant:
                self._step({"timer": True}, partial(self._client.handle_timer, now=instant), instant)
            self._server.handle_timer(now=instant)
            self._flush_server(instant)
        answers = [self._answers[stream_id] for stream_id in sorted(self._answers)]
        return {"connection": CONNECTION.hex(), "payload": PAYLOAD, "steps": self._steps, "answers": answers}

    def _timers(self) -> Iterator[float]:
        for timer in (self._client.get_timer(), self._server.get_timer()):
            yield float("inf") if timer is None else timer

    def _at(self, instant: float, action: Callable[[float], None]) -> None:
        heappush(self._heap, (instant, next(self._order), action))

    def _is_lost(self) -> bool:
        return self._rng.random() < 0.25

    def _open(self, stream_id: int, now: float) -> None:
        body = json.dumps({"question": "why? " * (20 + 300 * stream_id)}).encode()
        scheme = ("eloquent-packed", "eloquent")[stream_id]
        self._answers[stream_id] = []
        self._step(
            {"open": {"body": body.hex(), "scheme": scheme}},
            lambda: self._client.open_stream(stream_id, body, scheme=scheme, now=now),
            now,
        )

    def _report(self, state: ReaderState, now: float) -> None:
        told = {"stream": 1, "bufferedS": state.buffered_s, "looking": state.looking}
        self._step({"report": told}, lambda: self._client.report(1, state, now=now), now)

    def _step(self, what: Json, action: Callable[[], None], now: float) -> None:
        """Have something happen to the client, take its events, and note what it says."""
        action()
        while (event := self._client.next_event()) is not None:
            if isinstance(event, StreamToken):
                self._answers[event.stream_id].append(event.data.hex())
            elif isinstance(event, StreamEnded):
                self._answers[event.stream_id].append(f"end {event.trailer.hex()}")
        said = self._client.datagrams_to_send(now=now)
        self._steps.append({"at": now, **what, "out": [data.hex() for data in said]})
        for data in said:
            if not self._is_lost():
                self._at(now + self._DELAY, lambda instant, data=data: self._at_server(data, instant))

    def _at_server(self, data: bytes, now: float) -> None:
        self._server.receive_datagram(data, SOURCE, now=now)

    def _flush_server(self, now: float) -> None:
        for data, _ in self._server.datagrams_to_send(now=now):
            if not self._is_lost():
                self._at(now + self._DELAY, lambda instant, data=data: self._at_client(data, instant))
        while (item := self._server.next_event()) is not None:
            session, event = item
            if isinstance(event, StreamRequested):
                self._answer(session, event.stream_id, now)

    def _answer(self, session: ServerSession, stream_id: int, now: float) -> None:
        """Answer in a while, a token each 20 ms."""

        def send(at: float, token: bytes) -> None:
            session.send_token(stream_id, token, now=at)
            self._server.touch(session)

        def finish(at: float) -> None:
            session.finish(stream_id, trailer=b"over", now=at)
            self._server.touch(session)

        begins = now + 0.5 * (stream_id + 1)
        for number, token in enumerate(islice(stream(("openai", "text")[stream_id], self._seed), 50)):
            self._at(begins + 0.02 * number, partial(send, token=token))
        self._at(begins + 1.0, finish)

    def _at_client(self, data: bytes, now: float) -> None:
        def take() -> None:
            try:
                self._client.receive_datagram(data, now=now)
            except RemoteProtocolError as error:  # none of these datagrams is damaged
                raise AssertionError(data.hex()) from error

        self._step({"in": data.hex()}, take, now)


def render() -> str:
    """Return the content of the file."""
    lines = [f"  {json.dumps(name)}: {json.dumps(part, ensure_ascii=False)}" for name, part in vectors().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(render())
