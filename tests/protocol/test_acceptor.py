import pytest

from eloquent.protocol.acceptor import MAX_CLOSED, MAX_SESSIONS, Acceptor
from eloquent.protocol.datagram import Answer, Body, Cancel, Close, Datagram, Open, Ping, Request, decode_datagram

ID = b"sessionA"


def test_only_open_begins_a_session() -> None:
    acceptor = Acceptor()
    assert acceptor.admits(Datagram(ID, 0, Open(0, b"")), sessions=0)
    assert not acceptor.admits(Datagram(ID, 0, Request(0, b"")), sessions=0)
    assert not acceptor.admits(Datagram(ID, 0, Open(0, b"")), sessions=MAX_SESSIONS)


def test_a_closed_session_does_not_begin_again() -> None:
    acceptor = Acceptor()
    acceptor.closed(ID)
    assert not acceptor.admits(Datagram(ID, 0, Open(0, b"")), sessions=0)
    for i in range(MAX_CLOSED):
        acceptor.closed(i.to_bytes(8))
    assert acceptor.admits(Datagram(ID, 0, Open(0, b"")), sessions=0)


@pytest.mark.parametrize("body", [Request(0, b""), Answer(0, b""), Ping(), Open(0, b"")])
def test_the_rest_is_told_that_there_is_no_session(body: Body) -> None:
    refusal = Acceptor().refusal(Datagram(ID, 7, body))
    assert refusal is not None
    assert decode_datagram(refusal).body == Close(7, "no such session")
    assert len(refusal) < 3 * (8 + 1 + 1 + 4)


def test_cancel_is_confirmed_and_close_is_not_answered() -> None:
    refusal = Acceptor().refusal(Datagram(ID, 7, Cancel(3)))
    assert refusal is not None
    assert decode_datagram(refusal).body == Cancel(3)
    assert Acceptor().refusal(Datagram(ID, 7, Close(0, ""))) is None
