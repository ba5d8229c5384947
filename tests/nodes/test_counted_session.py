import pytest

from eloquent import telemetry
from eloquent.errors import MalformedPacket
from eloquent.nodes.counted_session import CountedClientSession, CountedServerSession
from eloquent.protocol.session import StreamEnded, StreamRequested


def test_datagrams_are_counted_by_direction_and_kind_at_both_ends(counts):
    near, far = counts(), counts()
    client = CountedClientSession(b"12345678", telemetry.SessionMetrics(near.registry))
    server = CountedServerSession(b"12345678", telemetry.SessionMetrics(far.registry))
    client.open_stream(b"request", scheme="eloquent", now=0.0)
    events = []
    for tick in range(20):
        now = tick * 0.01
        for data in client.datagrams_to_send(now=now):
            server.receive_datagram(data, now=now)
        while (event := server.next_event()) is not None:
            if isinstance(event, StreamRequested):
                server.send_token(event.stream_id, b"token", now=now)
                server.finish(event.stream_id, now=now)
        for data in server.datagrams_to_send(now=now):
            client.receive_datagram(data, now=now)
        while (event := client.next_event()) is not None:
            events.append(event)
    assert any(isinstance(event, StreamEnded) for event in events)
    for kind in ("open", "request", "answer"):
        sent = near("datagrams_total", direction="out", kind=kind)
        assert sent == far("datagrams_total", direction="in", kind=kind)
    assert near("datagrams_total", direction="out", kind="open") >= 1
    assert near("datagrams_total", direction="in", kind="answer") >= 1


def test_what_the_session_refuses_is_not_counted(counts):
    seen = counts()
    session = CountedServerSession(b"12345678", telemetry.SessionMetrics(seen.registry))
    with pytest.raises(MalformedPacket):
        session.receive_datagram(b"nonsense", now=0.0)
    assert not [s for family in seen.registry.collect() for s in family.samples if s.name == "eloquent_datagrams_total"]
