"""The golden vectors of the JavaScript client: up to date, and read by the Python implementation as by the other one."""

import importlib.util
import json
from pathlib import Path

import pytest

from eloquent.errors import MalformedPacket, RemoteProtocolError
from eloquent.protocol.datagram import decode_datagram
from eloquent.protocol.frames import Ack, Data, decode_payload
from eloquent.protocol.packed_receiver import PackedReceiver
from eloquent.protocol.receiver import Receiver, decode_data
from eloquent.protocol.varint import ByteReader
from eloquent.relay.exchange import decode_ask, decode_head, decode_outcome

_spec = importlib.util.spec_from_file_location("make_vectors", Path(__file__).with_name("make_vectors.py"))
assert _spec is not None
assert _spec.loader is not None
make_vectors = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_vectors)


@pytest.fixture(scope="module")
def vectors():
    return json.loads(make_vectors.FILE.read_text())


def test_they_are_up_to_date():
    assert make_vectors.FILE.read_text() == make_vectors.render(), "run tests/clients_js/make_vectors.py"


def test_integers(vectors):
    for vector in vectors["varints"]["good"]:
        assert ByteReader(bytes.fromhex(vector["hex"])).varint() == vector["value"]
    for text in vectors["varints"]["malformed"]:
        with pytest.raises(MalformedPacket):
            ByteReader(bytes.fromhex(text)).varint()


def test_datagrams(vectors):
    for vector in vectors["client_datagrams"] + vectors["server_datagrams"]["good"]:
        assert decode_datagram(bytes.fromhex(vector["hex"])).number == vector["number"]


def test_data_and_acknowledgements(vectors):
    for part, kind in (("data", Data), ("acks", Ack)):
        for vector in vectors[part]["good"]:
            assert isinstance(decode_payload(bytes.fromhex(vector["hex"])), kind)


def test_what_is_no_data(vectors):
    for text in vectors["data"]["malformed"]:
        with pytest.raises(RemoteProtocolError):
            decode_data(bytes.fromhex(text))


def test_answers(vectors):
    for answer in vectors["answers"]:
        receiver = PackedReceiver() if "packed" in answer["scheme"] else Receiver()
        tokens = []
        for step in answer["steps"]:
            receiver.receive_datagram(bytes.fromhex(step["payload"]), now=0.0)
            while (event := receiver.next_event()) is not None:
                tokens.append(event)
        assert tokens.pop().trailer.hex() == answer["trailer"]
        assert [token.data.hex() for token in tokens] == answer["tokens"]


def test_what_is_not_packed_data(vectors):
    for text in vectors["malformed_packed"]:
        with pytest.raises(RemoteProtocolError):
            PackedReceiver().receive_datagram(bytes.fromhex(text), now=0.0)


def test_messages(vectors):
    messages = vectors["messages"]
    for vector in messages["begin"] + messages["resume"]:
        assert decode_ask(bytes.fromhex(vector["hex"])).answer_id.hex() == vector["id"]
    for vector in messages["head"]:
        assert decode_head(bytes.fromhex(vector["hex"])).status == vector["status"]
    for text in messages["malformed_head"]:
        with pytest.raises(RemoteProtocolError):
            decode_head(bytes.fromhex(text))
    for vector in messages["outcome"]:
        assert decode_outcome(bytes.fromhex(vector["hex"])).kind == vector["kind"]


def test_the_session_has_losses_and_ends_well(vectors):
    transcript = vectors["transcript"]
    said = sum(len(step["out"]) for step in transcript["steps"])
    heard = sum("in" in step for step in transcript["steps"])
    assert min(said, heard) > 30
    assert any(step.get("timer") for step in transcript["steps"])
    assert [answer[-1] for answer in transcript["answers"]] == ["end " + b"over".hex()] * 2
