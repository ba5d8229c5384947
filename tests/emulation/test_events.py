"""Events for a user who has stopped to read: as one who types Ctrl-Z has, or a pipe to a pager."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eloquent.emulation.events import BACKLOG, EventWriter

TELLER = """
import asyncio, sys
from eloquent.emulation.events import EventWriter

async def main():
    lost = asyncio.Event()
    events = await EventWriter.on_pipe(sys.stdout, on_lost=lost.set)
    events.tell({"event": "stage", "text": "testing each link"})
    for number in range(200_000):
        events.tell({"event": "tick", "elapsed": number})
        if number % 50_000 == 0:
            events.tell({"event": "warning", "text": str(number)})
    events.tell({"event": "up"})
    print("all told", file=sys.stderr, flush=True)
    await lost.wait()
    print("nobody reads", file=sys.stderr, flush=True)

asyncio.run(main())
"""


@pytest.mark.processes
def test_a_reader_who_stops_holds_nobody_up_and_misses_nothing_but_signs_of_progress():
    with subprocess.Popen(
        [sys.executable, "-c", TELLER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as teller:
        assert teller.stdout is not None
        assert teller.stderr is not None
        assert teller.stderr.readline() == "all told\n"  # though nobody has read a word yet
        events = []
        while not events or events[-1]["event"] != "up":
            events.append(json.loads(teller.stdout.readline()))
        teller.stdout.close()
        assert teller.stderr.readline() == "nobody reads\n"
    ticks = [event["elapsed"] for event in events if event["event"] == "tick"]
    assert ticks == list(range(len(ticks)))
    assert 0 < len(ticks) < 20_000
    others = [(event["event"], event.get("text")) for event in events if event["event"] != "tick"]
    warnings = [("warning", str(number)) for number in range(0, 200_000, 50_000)]
    assert others == [("stage", "testing each link"), *warnings, ("up", None)]


def test_what_waits_for_a_reader_is_bounded(tmp_path: Path):
    async def run() -> int:
        reached: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_unix_server(lambda _, writer: reached.put(writer), tmp_path / "control")
        _, reader_side = await asyncio.open_unix_connection(tmp_path / "control")
        reader_side.transport.pause_reading()
        writer = await reached.get()
        events = EventWriter(writer.transport)
        for number in range(100_000):
            events.tell({"event": "users", "elapsed": number, "users": 7})
        waiting = writer.transport.get_write_buffer_size()
        for one in (reader_side, writer):
            one.transport.abort()
        events.tell({"event": "users"})  # to one who is gone
        server.close()
        return waiting

    assert asyncio.run(run()) < BACKLOG + 1000


@pytest.mark.parametrize("is_read", [True, False])
def test_the_last_words_leave_before_the_end(is_read: bool):
    async def run() -> bytes:
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as pipe, os.fdopen(reader, "rb", buffering=0) as far:
            events = await EventWriter.on_pipe(pipe, on_lost=lambda: None)
            events.tell({"event": "error", "text": "x" * 100_000})  # more than a pipe holds
            read = asyncio.create_task(asyncio.to_thread(_read_line, far)) if is_read else None
            await asyncio.wait_for(events.close(), 20)
            if read is not None:
                return await read
            events._transport.abort()  # as the end of the process does
            return b""

    said = asyncio.run(run())
    assert len(said) > 100_000 if is_read else said == b""


def _read_line(pipe) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += pipe.read(65536)
    return line
