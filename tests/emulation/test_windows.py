"""Ports in the lab that lead to services outside."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from eloquent.emulation.windows import Outside, Window, look_out, make_windows

# Inside a network of its own: open a window to ADDRESS outside, and print what is to be seen through it.
INSIDE = """
import asyncio, sys
from pathlib import Path
from eloquent.emulation.processes import run_command
from eloquent.emulation.windows import Outside, Window, make_windows

async def main():
    run_command("ip", "link", "set", "lo", "up")
    network, mount, address, logs = sys.argv[1:]
    windows = make_windows([Window(6653, address)], Outside(int(network), int(mount)), logs=Path(logs))
    await windows.start()
    await windows.wait_ready()
    reader, writer = await asyncio.open_connection("127.0.0.1", 6653)
    writer.write(b"who is there?")
    print((await reader.read()).decode())
    writer.close()
    await windows.stop()

asyncio.run(main())
"""


async def _shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read(100)).upper())
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_window_carries_a_connection_out(is_there):
    async def scenario() -> bytes:
        outside = await asyncio.start_server(_shout, "127.0.0.1", 0)
        port = outside.sockets[0].getsockname()[1]
        if not is_there:
            outside.close()
            await outside.wait_closed()
        inner = socket.create_server(("127.0.0.1", 0))
        window = await look_out(inner, f"localhost:{port}")
        reader, writer = await asyncio.open_connection(*inner.getsockname())
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        window.close()
        outside.close()
        return answer

    assert asyncio.run(scenario()) == (b"HELLO" if is_there else b"")


@pytest.mark.namespaces
def test_it_is_seen_from_another_network_namespace(needs_root, tmp_path):
    async def scenario() -> bytes:
        outside = await asyncio.start_server(_shout, "127.0.0.1", 0)
        address = f"localhost:{outside.sockets[0].getsockname()[1]}"
        descriptors = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
        words = ["unshare", "--net", "--mount", sys.executable, "-c", INSIDE, *map(str, descriptors), address, tmp_path]
        lab = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, pass_fds=descriptors)
        said, _ = await lab.communicate()
        for descriptor in descriptors:
            os.close(descriptor)
        outside.close()
        assert lab.returncode == 0
        return said

    assert asyncio.run(scenario()) == b"WHO IS THERE?\n"


def test_the_process_that_looks_out_gets_its_files_and_nothing_else(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = make_windows([Window(port, "controller:6653")], Outside(11, 12), logs=tmp_path)
    assert process.words[:3] == ["nsenter", "--net=/proc/self/fd/11", "--mount=/proc/self/fd/12"]
    number = int(process.words[-1].removesuffix("=controller:6653"))
    with socket.socket(fileno=number) as inner:
        assert inner.getsockname() == ("127.0.0.1", port)
