"""Both relays as processes, sealed: whoever is killed or stopped in the middle of an answer, it never looks whole."""

import asyncio
import random
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.processes

EVENTS = [b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % i for i in range(60)] + [b"data: [DONE]\n\n"]
WHOLE = b"".join(EVENTS)
ID = re.compile(rb"id: [0-9a-f]{32}\.\d+\n")
PATIENCE = 60.0  # seconds


async def read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """Return what comes from now on, and whether it ends cleanly."""
    data = bytearray()
    try:
        async for piece in response.content.iter_any():
            data += piece
    except aiohttp.ClientError:
        return bytes(data), False
    return bytes(data), True


class Model:
    """A model server that streams `EVENTS`, and can be killed: every answer breaks off."""

    def __init__(self) -> None:
        self.is_dead = False

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
            await asyncio.sleep(0.03)
            if self.is_dead and request.transport is not None:
                request.transport.abort()
        return response


async def ask(client: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> tuple[bytes, bool]:
    """Return what an answer brings, and whether it ends cleanly; an error in its place, when nothing had come, brings nothing."""
    try:
        async with client.post(url, headers=headers) as response:
            return await read(response) if response.status == HTTPStatus.OK else (b"", False)
    except aiohttp.ClientError:
        return b"", False


async def ask_at_random(client: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> list[asyncio.Task[Any]]:
    """Ask ten times within 1.6 s; all of it is going on when this returns, each answer at another point."""
    draw = random.Random(1)

    async def ask_soon() -> tuple[bytes, bool]:
        await asyncio.sleep(draw.uniform(0.0, 1.6))
        return await ask(client, url, headers)

    asking = [asyncio.create_task(ask_soon()) for _ in range(10)]
    await asyncio.sleep(1.7)
    return asking


@pytest.mark.parametrize(
    ("who", "carrier"),
    [
        ("nobody", "auto"),
        ("origin", "auto"),
        ("edge", "auto"),
        ("model", "auto"),
        ("nobody", "quic"),
        ("origin", "quic"),
    ],
)
def test_ten_answers_are_whole_or_end_with_an_error_whoever_is_killed(
    make_relays: Any, relaying: Any, who: str, carrier: str
) -> None:
    async def main() -> None:
        model = Model()
        async with relaying.serving(model.stream) as url, aiohttp.ClientSession() as client:
            relays = await asyncio.to_thread(make_relays, url, carrier=carrier)
            asking = await ask_at_random(client, relays.url, {})
            if who == "model":
                model.is_dead = True
            elif who != "nobody":
                await asyncio.to_thread(relays.end, who, signal.SIGKILL)
                await asyncio.to_thread(relays.start, who)
            lengths = set()
            for answer, is_clean in await asyncio.gather(*asking):
                if who == "nobody":
                    assert (answer, is_clean) == (WHOLE, True)
                    continue
                events, _, error = answer.partition(b'data: {"error"')
                assert WHOLE.startswith(events)
                assert not is_clean
                assert bool(error) == (who != "edge" and bool(answer))  # an edge has nobody left to say it
                lengths.add(len(events))
            assert who == "nobody" or len(lengths) > 2
            model.is_dead = False
            assert await ask(client, relays.url) == (WHOLE, True)  # and the next question is answered

    relaying.run(main())


def test_ten_answers_go_on_at_the_next_edge_when_theirs_is_killed(make_relays: Any, relaying: Any) -> None:
    async def main() -> None:
        async with relaying.serving(Model().stream) as url, aiohttp.ClientSession() as client:
            relays = await asyncio.to_thread(make_relays, url)
            asking = await ask_at_random(client, relays.url, {"eloquent-event-ids": "1"})
            await asyncio.to_thread(relays.end, "edge", signal.SIGKILL)
            await asyncio.to_thread(relays.start, "edge")
            came_back = 0
            for answer, is_clean in await asyncio.gather(*asking):
                assert not is_clean
                had = answer[: answer.rfind(b"\n\n") + 2] if b"\n\n" in answer else b""
                if had:
                    last = had.rpartition(b"id: ")[2].strip().decode()
                    rest = await ask(client, relays.url, {"last-event-id": last})
                    assert (ID.sub(b"", had + rest[0]), rest[1]) == (WHOLE, True)
                    came_back += 1
            assert came_back > 2

    relaying.run(main())


@pytest.mark.parametrize("role", ["origin", "edge"])
def test_a_relay_that_is_stopped_ends_what_it_began(make_relays: Any, relaying: Any, role: str) -> None:
    async def main() -> None:
        async with (
            relaying.serving(relaying.event_stream(*EVENTS, gap=0.03)) as model,
            aiohttp.ClientSession() as client,
        ):
            relays = await asyncio.to_thread(make_relays, model)
            async with client.post(relays.url) as response:
                first = await response.content.readuntil(b"\n\n")
                stopping = asyncio.create_task(asyncio.to_thread(relays.end, role, signal.SIGTERM))
                rest, is_clean = await read(response)
            assert (first + rest, is_clean) == (b"".join(EVENTS), True)
            assert await stopping == 0

    relaying.run(main())


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_an_edge_behind_a_blocked_udp_gets_its_answer_over_tcp(
    make_relays: Any, relaying: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    """What it takes for the origin's UDP port is one that takes everything and answers nothing."""
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("ELOQUENT_EDGE_METRICS", metrics := relaying.free_address())

    async def main() -> None:
        async with (
            relaying.serving(relaying.event_stream(*EVENTS, gap=0.01)) as model,
            aiohttp.ClientSession() as client,
        ):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
                hole.bind(("127.0.0.1", 0))
                origin = ["--listen", listen := relaying.free_address()]
                origin += ["--certificate", str(certificate), "--certificate-key", str(key)] if tls else []
                url = f"{'wss' if tls else 'ws'}://localhost:{listen.partition(':')[2]}/eloquent"
                edge = ["--origin", f"127.0.0.1:{hole.getsockname()[1]}", "--fallback", url]
                relays = await asyncio.to_thread(make_relays, model, origin=origin, edge=edge)
                async with client.post(relays.url) as response:
                    assert await read(response) == (b"".join(EVENTS), True)
                async with client.get(f"http://{metrics}/metrics") as page:
                    assert 'eloquent_carrier{carrier="tcp"} 1.0' in await page.text()
                assert await asyncio.to_thread(relays.end, "edge", signal.SIGTERM) == 0
                assert await asyncio.to_thread(relays.end, "origin", signal.SIGTERM) == 0

    relaying.run(main())


def test_an_edge_may_be_told_to_use_tcp_alone(make_relays: Any, relaying: Any) -> None:
    async def main() -> None:
        async with relaying.serving(relaying.event_stream(*EVENTS)) as model, aiohttp.ClientSession() as client:
            relays = await asyncio.to_thread(make_relays, model, edge=["--carrier", "tcp"])
            async with client.post(relays.url) as response:
                assert await read(response) == (b"".join(EVENTS), True)

    relaying.run(main())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["origin", "--upstream", "http://m", "--certificate", "c", "--certificate-key", "k"],
            "cannot use the certificate c",
        ),
        (
            ["edge", "--origin", "a:1", "--carrier", "pigeon"],
            "--carrier: Input should be 'auto', 'udp', 'tcp' or 'quic'",
        ),
        (["edge", "--origin", "a:1", "--fallback", "http://a"], "--fallback: "),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, relaying: Any, words: list[str], said: str) -> None:
    key = tmp_path / "key"
    subprocess.run([sys.executable, "-m", "eloquent.cli", "key", str(key)], check=True, timeout=PATIENCE)
    role, *flags = words
    command = [
        sys.executable,
        "-m",
        "eloquent.cli",
        role,
        "--key-file",
        str(key),
        "--listen",
        relaying.free_address(),
        *flags,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert done.stderr.count("error:") == 1


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for `localhost` that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "certificate-key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
