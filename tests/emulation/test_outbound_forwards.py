"""Ports in the lab that lead to services outside."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eloquent import congestion
from eloquent.emulation.outbound_forwards import OutboundForward, forward_outwards

# Inside a network of its own: forward a port to ADDRESS outside, and print what comes through it.
INSIDE = """
import asyncio, sys
from pathlib import Path
from eloquent.emulation.processes import run_command
from eloquent.emulation.outbound_forwards import Outside, OutboundForward, start_outbound_forwards

async def main():
    run_command("ip", "link", "set", "lo", "up")
    network, mount, address, logs = sys.argv[1:]
    outside = Outside(int(network), int(mount))
    forwards = await start_outbound_forwards(
        [OutboundForward(("127.0.0.1", 6653), address)], outside, name="the forwards", log=Path(logs) / "log"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", 6653)
    writer.write(b"who is there?")
    print((await reader.read()).decode())
    writer.close()
    await forwards.stop()
    try:
        await asyncio.open_connection("127.0.0.1", 6653)
    except ConnectionRefusedError:
        print("nobody listens any more")

asyncio.run(main())
"""


async def _shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read(100)).upper())
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_connection_is_forwarded_outwards(is_there):
    async def scenario() -> bytes:
        outside = await asyncio.start_server(_shout, "127.0.0.1", 0)
        port = outside.sockets[0].getsockname()[1]
        if not is_there:
            outside.close()
            await outside.wait_closed()
        inner = socket.create_server(("127.0.0.1", 0))
        server = await forward_outwards(inner, f"localhost:{port}")
        reader, writer = await asyncio.open_connection(*inner.getsockname())
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
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

    assert asyncio.run(scenario()) == b"WHO IS THERE?\nnobody listens any more\n"


@pytest.mark.namespaces
def test_one_may_listen_in_another_network_with_a_congestion_control_of_its_own(needs_root):
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec sleep 60"], stdout=subprocess.PIPE
    ) as one:
        one.stdout.readline()
        place, control = Path(f"/proc/{one.pid}/ns/net"), congestion.offered()[0]
        forward = OutboundForward(("127.0.0.1", 7999), "127.0.0.1:1", namespace=place, congestion_control=control)
        with forward.listen() as listener, socket.socket() as ours:
            assert congestion.read_control(listener) == control
            assert ours.connect_ex(("127.0.0.1", 7999)) == errno.ECONNREFUSED  # this thread is where it was
            words = [
                "nsenter",
                f"--net={place}",
                sys.executable,
                "-c",
                "import socket; socket.create_connection(('127.0.0.1', 7999))",
            ]
            assert subprocess.run(words, check=False).returncode == 0
        one.kill()
