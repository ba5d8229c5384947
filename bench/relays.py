"""How much processor time the relays take for an event: `.venv/bin/python bench/relays.py --help`.

Each round starts, one after the other, a bare UDP echo and the relay pair, plain and sealed, before a model server that streams
OpenAI's events at 50 a second. What is measured is the processor time that the kernel counts for each process (/proc/PID/stat), so
a busy machine makes it noisy but not wrong; the echo, measured in the same run, is the unit in which machines compare.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

BASELINE = Path(__file__).with_name("baseline.json")
GAP = 0.020  # seconds between two events of a stream
EVENTS = 20_000  # in all streams of a row together, as far as that makes streams of 100 to 1000 events
ECHOES = 20_000  # datagrams
ECHO_SIZE = 100  # bytes
EVENT = (
    b'data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"some-model",'
    b'"system_fingerprint":"fp_4","choices":[{"index":0,"delta":{"content":" word%d"},"logprobs":null,'
    b'"finish_reason":null}],"usage":null}\n\n'
)


# --- the processes


async def serve_model() -> None:
    """Stream as many events as the path says."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        due = asyncio.get_running_loop().time()
        for number in range(int(request.path.rpartition("/")[2])):
            await response.write(EVENT % number)
            due += GAP
            await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0.0))
        return response

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    await _serve_on(listener.getsockname()[1])


async def serve_echo() -> None:
    """Send every datagram back."""

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(data, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    await _serve_on(transport.get_extra_info("sockname")[1])


async def _serve_on(port: int) -> None:
    print(port, flush=True)
    await asyncio.Event().wait()


async def read_streams(url: str, streams: int, events: int) -> None:
    """Read streams to their ends, begun within a second, and print how many events came."""

    async def read(client: aiohttp.ClientSession, after: float) -> int:
        await asyncio.sleep(after)
        async with client.get(f"{url}/{events}") as response:
            return sum([piece.count(b"data: ") async for piece in response.content.iter_any()])

    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=unlimited, timeout=aiohttp.ClientTimeout(total=None)) as client:
        print(sum(await asyncio.gather(*(read(client, number / streams) for number in range(streams)))))


# --- the measurement


@contextlib.contextmanager
def running(*words: str) -> Iterator[tuple[int, str]]:
    """Run a process; yield its number and the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as one:
        assert one.stdout is not None
        try:
            yield one.pid, one.stdout.readline().strip()
        finally:
            one.terminate()


def cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_echo() -> float:
    """Return the microseconds that an echo takes for a datagram, with at most 50 on their way."""
    with running(__file__, "echo") as (pid, port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.connect(("127.0.0.1", int(port)))
        ours.settimeout(10.0)
        before = cpu(pid)
        for number in range(ECHOES):
            ours.send(bytes(ECHO_SIZE))
            if number >= 50:
                ours.recv(2 * ECHO_SIZE)
        for _ in range(50):
            ours.recv(2 * ECHO_SIZE)
        return 1e6 * (cpu(pid) - before) / ECHOES


def measure_pair(folder: Path, streams: list[int], *, sealed: bool) -> Iterator[tuple[str, float]]:
    """Yield the name of each row, and the microseconds that a relay takes for an event."""
    eloquent = ("-m", "eloquent.cli")
    key = folder / "key"
    if sealed and not key.exists():
        subprocess.run([sys.executable, *eloquent, "key", key], check=True)
    flags = ["--key-file", str(key)] if sealed else ["--plaintext"]
    between, front = _free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)
    origin = ("--listen", f"127.0.0.1:{between}")
    edge = ("--origin", f"127.0.0.1:{between}", "--listen", f"127.0.0.1:{front}")
    with (
        running(__file__, "model") as (_, port),
        running(*eloquent, "origin", *flags, *origin, "--upstream", f"http://127.0.0.1:{port}") as (origin_pid, _),
        running(*eloquent, "edge", *flags, *edge) as (edge_pid, _),
    ):
        pids = {"origin": origin_pid, "edge": edge_pid}
        for number in streams:
            events = min(max(EVENTS // number, 100), 1000)
            before = {role: cpu(pid) for role, pid in pids.items()}
            words = [sys.executable, __file__, "read", f"http://127.0.0.1:{front}", str(number), str(events)]
            read = int(subprocess.check_output(words))
            if read != number * events:
                raise SystemExit(f"{read} events came of {number * events}: this says nothing")
            for role, pid in pids.items():
                yield f"{role}, {'sealed' if sealed else 'plain'}, {number}", 1e6 * (cpu(pid) - before[role]) / read


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(rows: dict[str, list[float]], baseline: dict[str, float]) -> str:
    """Return a table of the medians; a row's ratio is to the echo of the same run."""
    echo = statistics.median(rows["echo"])
    lines = [
        "| process, how, streams | µs an event | streams of 50/s a core | echoes | echoes, baseline |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, samples in rows.items():
        took = statistics.median(samples)
        carried = "" if name == "echo" else f"{1e6 * GAP / took:.0f}"
        before = f"{baseline[name] / baseline['echo']:.1f}" if name in baseline else ""
        lines.append(f"| {name} | {took:.0f} | {carried} | {took / echo:.1f} | {before} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="How much processor time the relays take for an event.")
    parser.add_argument("--streams", default="1,10,100", help="numbers of streams at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the medians here, as JSON")
    asked = parser.parse_args()
    rows: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.rounds):
            rows["echo"].append(measure_echo())
            for sealed in (False, True):
                for name, took in measure_pair(Path(folder), [*map(int, asked.streams.split(","))], sealed=sealed):
                    rows[name].append(took)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    print(report(rows, baseline))
    if asked.out is not None:
        medians = {name: round(statistics.median(samples), 1) for name, samples in rows.items()}
        asked.out.write_text(json.dumps(medians, indent=1) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["model"]:
            uvloop.run(serve_model())
        case ["echo"]:
            uvloop.run(serve_echo())
        case ["read", url, streams, events]:
            uvloop.run(read_streams(url, int(streams), int(events)))
        case _:
            main()
