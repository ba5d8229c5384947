"""A client and a server over QUIC in virtual time: who gets in, what survives, and what comes back."""

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic.packet import QuicErrorCode
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from eloquent.protocol.session import StreamEnded, StreamFailed, StreamToken
from eloquent.relay.quic.certificate import ServerCertificate, TrustedAuthorities
from eloquent.relay.quic.connection import DatagramConnection


def first_token_at(talk: Any) -> list[float]:
    """Return the instants at which streams got their first tokens."""
    instants: dict[int, float] = {}
    on_event = talk.pair.on_event

    def note(side: str, event: Any) -> None:
        if isinstance(event, StreamToken):
            instants.setdefault(event.stream_id, talk.now)
        on_event(side, event)

    talk.pair.on_event = note
    talk.pair.run(until=300.0)
    return list(instants.values())


@pytest.mark.parametrize("delay", [0.0, 1e-4, 0.01, 0.4])
def test_nothing_is_said_before_the_key_is_shown(quic: Any, delay: float) -> None:
    """Else it would be dropped, and said again a second later."""
    talk = quic.Talk(quic.Path(delay=delay))
    talk.ask(b"question")
    (first,) = first_token_at(talk)
    assert first == pytest.approx(6 * delay, abs=0.05)
    assert talk.pair.refused == 0


def test_a_question_is_answered_after_three_round_trips_and_with_a_connection_after_one(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.2))
    talk.ask(b"first")
    talk.ask(b"second", at=10.0)
    assert first_token_at(talk) == pytest.approx([1.2, 10.4], abs=0.03)
    assert talk.ends() == [StreamEnded(0, b""), StreamEnded(1, b"")]


WORDS = [f"word {i} ".encode() for i in range(100)]  # ten a second


def failures(talk: Any) -> list[str]:
    return [event.reason for event in talk.ends() if isinstance(event, StreamFailed)]


def ended(talk: Any) -> list[int]:
    """Return the streams that ended well."""
    return [event.stream_id for event in talk.ends() if isinstance(event, StreamEnded)]


def test_sessions_outlive_a_connection_that_dies(quic: Any) -> None:
    """Its end is told here; where it is not, the client takes 2 s to suspect it."""
    talk = quic.Talk(quic.Path(delay=0.05), answers={b"q": WORDS})
    talk.ask(b"q")

    def kill() -> None:
        (connection,) = talk.server.endpoint._peers
        connection.close(error_code=QuicErrorCode.INTERNAL_ERROR, frame_type=0, reason_phrase="a test")
        talk.server.endpoint._touched[connection] = None

    talk.pair.at(3.0, kill, "b")
    talk.pair.run(until=60.0)
    assert talk.text(0) == b"".join(WORDS)
    assert talk.ends() == [StreamEnded(0, b"")]
    assert (talk.server.connections, talk.server.channels) == (1, 1)


def test_sessions_outlive_a_connection_that_the_server_has_forgotten(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.05), answers={b"q": WORDS})
    talk.ask(b"q")

    def forget() -> None:
        server = talk.server.endpoint
        (connection,) = server._peers
        server._retire(server._peers[connection], talk.now)

    talk.pair.at(3.0, forget, "b")
    talk.pair.run(until=60.0)
    assert talk.text(0) == b"".join(WORDS)
    assert talk.ends() == [StreamEnded(0, b"")]


def test_a_server_that_was_restarted_is_asked_again_within_seconds(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.05), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.at(3.0, talk.restart, "b")
    talk.ask(b"another", at=3.5)
    talk.pair.run(until=60.0)
    assert talk.text(1) == b"hello world"
    assert ended(talk) == [1]
    assert failures(talk) == ["the origin relay does not have the sessions any more"]
    at = next(when for when, data in talk.pair.sent["b"] if when > 3.0)
    assert at < 3.0 + 2.0 + 1.0  # it is noticed by its silence of 2 s


def test_keys_are_replaced_on_the_way(quic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eloquent.relay.quic.connection.KEY_PACKETS", 50)
    talk = quic.Talk(quic.terrible(3, until=1e9), answers={b"q": WORDS})
    replaced = []
    update = DatagramConnection.request_key_update
    monkeypatch.setattr(
        DatagramConnection, "request_key_update", lambda self: (replaced.append(talk.now), update(self))
    )
    talk.ask(b"q")
    talk.pair.run(until=60.0)
    assert talk.text(0) == b"".join(WORDS)
    assert len(replaced) > 3
    assert talk.server.connections == 1


def test_an_outage_of_ten_seconds_is_outlived(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.2, blackouts=[(3.0, 13.0)]), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.run(until=100.0)
    assert talk.text(0) == b"".join(WORDS)
    assert talk.ends() == [StreamEnded(0, b"")]
    assert (talk.server.connections, talk.server.channels) == (1, 1)


def test_nothing_is_sent_while_nothing_is_awaited_and_a_question_after_a_long_rest_is_answered(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.05))
    talk.ask(b"first")
    talk.ask(b"second", at=150.0)
    talk.ask(b"third", at=1000.0)
    talk.pair.run(until=1010.0)
    assert (ended(talk), failures(talk)) == ([0, 1, 2], [])
    resting = [when for side in "ab" for when, _ in talk.pair.sent[side] if 100.0 < when < 150.0 or 300.0 < when < 1000]
    assert resting == []


def test_a_farewell_is_heard_at_once(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.05), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.at(3.0, lambda: talk.client.close(now=talk.now))
    talk.pair.run(until=3.2)
    assert (talk.server.connections, talk.server.channels, talk.server.sessions) == (0, 0, [])


def test_a_server_that_stops_says_so(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.05), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.at(3.0, lambda: talk.server.endpoint.close(now=talk.now), "b")
    talk.pair.run(until=3.2)
    assert len(failures(talk)) == 1
    assert talk.server.connections == 0


def test_losses_are_counted_by_packet_numbers(quic: Any) -> None:
    draw = random.Random(1)
    talk = quic.Talk(quic.Path(delay=0.05, judge=lambda side, count, data: draw.random() < 0.2), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.run(until=100.0)
    for account, side in ((talk.client.account, "b"), (talk.server.account, "a")):
        assert 0.8 * len(talk.pair.sent[side]) < account.expected <= len(talk.pair.sent[side])
        assert 0.1 < 1 - account.opened / account.expected < 0.3  # of 100 and more: four deviations


def test_nothing_waits_in_quic_while_the_address_changes_each_second(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.2), answers={b"q": WORDS})
    for step in range(1, 12):
        talk.rebind(float(step))
    talk.ask(b"q")
    waiting: list[int] = []

    def look() -> None:
        waiting.extend(len(connection._datagrams_pending) for connection in talk.server.endpoint._peers)

    for step in range(1000):
        talk.pair.at(step * 0.012, look, "b")
    talk.pair.run(until=60.0)
    assert len(waiting) > 900
    assert set(waiting) == {0}
    assert talk.text(0) == b"".join(WORDS)


OTHER = bytes(31) + b"\1"


def test_another_key_at_the_server_is_told_at_once(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.05), key=OTHER)
    talk.ask(b"question")
    talk.pair.run(until=1.0)
    (reason,) = failures(talk)
    assert "not made of the key in the key file" in reason
    assert "--quic-certificate" in reason
    assert (talk.server.channels, talk.server.sessions) == (0, [])


def test_another_key_behind_a_good_certificate_is_told_at_once(quic: Any, tmp_path: Path) -> None:
    shown, file = write(tmp_path, *signed("relay.example"))
    identity = TrustedAuthorities("relay.example", file)
    talk = quic.Talk(quic.Path(delay=0.05), shown=shown, own=quic.client(key=OTHER, identity=identity))
    talk.ask(b"question")
    talk.pair.run(until=1.0)
    assert failures(talk) == ["the origin relay refuses this edge: not the key of this origin relay"]
    assert (talk.server.channels, talk.server.sessions) == (0, [])


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("relay.example", "authority", None),
        ("relay.example", "own", None),
        ("whatever", "own", None),
        ("another.example", "authority", "doesn't match"),
        ("relay.example", "another", "signature failure"),
        ("relay.example", "system", "unable to get local issuer"),
    ],
)
def test_whom_a_client_takes_for_the_server(
    quic: Any, tmp_path: Path, name: str, file: str, reason: str | None
) -> None:
    shown, authority = write(tmp_path, *signed("relay.example"))
    (tmp_path / "other").mkdir()
    files = {
        "authority": authority,
        "own": tmp_path / "own.pem",
        "another": write(tmp_path / "other", *signed("relay.example"))[1],
        "system": None,
    }
    identity = TrustedAuthorities(name, files[file])
    talk = quic.Talk(quic.Path(delay=0.05), shown=shown, own=quic.client(identity=identity))
    talk.ask(b"question")
    talk.pair.run(until=2.0)
    if reason is None:
        assert (talk.text(0), failures(talk)) == (b"hello world", [])
    else:
        assert talk.text(0) == b""
        assert reason in failures(talk)[0]
        assert talk.server.channels == 0


def signed(name: str) -> tuple[ServerCertificate, x509.Certificate]:
    """Return a certificate for a name, and that of the authority that has signed it."""
    now = dt.datetime.now(dt.UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])

    def build(subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(authority_name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))

    authority = build(authority_name, authority_key.public_key())
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    own = build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
    own = own.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return ServerCertificate(own.sign(authority_key, SHA256()), key), authority.sign(authority_key, SHA256())


def write(folder: Path, own: ServerCertificate, authority: x509.Certificate) -> tuple[ServerCertificate, Path]:
    """Write both certificates, and return the first one and the file of the second."""
    (folder / "own.pem").write_bytes(own.certificate.public_bytes(Encoding.PEM))
    (folder / "authority.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    return own, folder / "authority.pem"
