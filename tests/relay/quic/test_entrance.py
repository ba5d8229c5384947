"""QUIC as an operator sets it: one socket for edges and pages, certificates that are replaced while it is open, what is logged."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from eloquent import schemes
from eloquent.errors import ConfigurationError
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import StreamEnded, Tally
from eloquent.relay.origin import Origin
from eloquent.relay.quic import udp
from eloquent.relay.quic.certificate import ServerCertificate, TrustedAuthorities
from eloquent.relay.quic.entrance import QuicEntrance
from eloquent.relay.settings import OriginSettings

KEY = bytes(range(32))
ENTRANCE = "eloquent.relay.quic.entrance"  # whose log is read, whatever another test has made of the root's level
ORIGINS = ("https://chat.example",)


def write(shown: ServerCertificate, folder: Path) -> dict[str, Path]:
    """Write a certificate and its key as files, and return what settings call them."""
    files = {"certificate": folder / "chain.pem", "certificate_key": folder / "key.pem"}
    files["certificate"].write_bytes(shown.certificate.public_bytes(serialization.Encoding.PEM))
    files["certificate_key"].write_bytes(
        shown.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@asynccontextmanager
async def entrance(folder: Path, relaying: Any, **words: Any) -> AsyncIterator[tuple[QuicEntrance, Origin]]:
    """Open QUIC for edges, and for pages at the same address."""
    where = relaying.free_address()
    settings = OriginSettings(
        upstream="http://127.0.0.1:1",
        key_file=folder / "key",
        quic=where,
        webtransport=where,
        page_origins=ORIGINS,
        certificate_hash=folder / "hash",
        **words,
    )
    made, origin = QuicEntrance(settings, KEY), Origin()
    await made.open(origin, limits=EndpointLimits(), tally=Tally())
    try:
        yield made, origin
    finally:
        await made.leave()
        origin.close()
        await asyncio.sleep(0.05)  # the transports close


async def ask(origin: Origin, authorities: Path, relaying: Any) -> None:
    """Be an edge that has the key, takes the certificate in a file for the origin's, and asks."""
    (server,) = origin.servers
    came: list[Any] = []
    trusted = TrustedAuthorities("127.0.0.1", authorities)
    client = await udp.connect(server.address, schemes.get, came.append, key=KEY, identity=trusted)
    client.open_stream(b"whatever", scheme="eloquent")
    await relaying.until(lambda: came)
    assert isinstance(
        came[0], StreamEnded
    )  # it is refused by the origin, which an edge without the key does not get to
    client.close()


def test_a_certificate_that_was_renewed_is_shown_without_a_restart_and_edges_get_in(
    tmp_path: Path, relaying: Any, quic: Any
) -> None:
    async def main() -> None:
        first, second = (quic.certificate(bytes([seed]) * 32) for seed in (1, 2))
        async with entrance(tmp_path, relaying, **write(first, tmp_path)) as (made, origin):
            await ask(origin, tmp_path / "chain.pem", relaying)
            assert (tmp_path / "hash").read_text() == first.fingerprint.hex() + "\n"
            write(second, tmp_path)
            made._look()
            assert (tmp_path / "hash").read_text() == second.fingerprint.hex() + "\n"
            await ask(origin, tmp_path / "chain.pem", relaying)

    relaying.run(main())


def test_edges_and_pages_at_one_address_share_a_socket_and_the_log_says_who_may_ask(
    tmp_path: Path, relaying: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with entrance(tmp_path, relaying) as (_, origin):
            assert len(origin.servers) == 1

    with caplog.at_level(logging.INFO, logger=ENTRANCE):
        relaying.run(main())
    assert "edges and pages over QUIC are awaited at 127.0.0.1:" in caplog.text
    assert "every page of https://chat.example may ask, and every program that says it is one" in caplog.text
    caplog.clear()
    (tmp_path / "secret").write_bytes(b"x" * 40)
    with caplog.at_level(logging.INFO, logger=ENTRANCE):

        async def with_secret() -> None:
            async with entrance(tmp_path, relaying, page_secret=tmp_path / "secret"):
                pass

        relaying.run(with_secret())
    assert "may ask, and every program" not in caplog.text
    assert "x" * 40 not in caplog.text


def test_what_cannot_be_used_is_said_when_the_relay_starts(tmp_path: Path, relaying: Any) -> None:
    async def main(**words: Any) -> None:
        async with entrance(tmp_path, relaying, **words):
            raise AssertionError

    for words, said in (
        ({"page_secret": tmp_path / "absent"}, "absent cannot be read"),
        ({"certificate": tmp_path / "a", "certificate_key": tmp_path / "b"}, "the certificate .*a cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            relaying.run(main(**words))
    (tmp_path / "hash").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot write .*hash: Is a directory"):
        relaying.run(main())
