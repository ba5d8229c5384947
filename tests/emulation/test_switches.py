"""The lab's own Open vSwitch comes up on a machine that is busy with others."""

import asyncio
import os
import shutil

import pytest

from eloquent.emulation.switches import FOLDER_VARIABLES, start_open_vswitch

SLOW_SERVER = """#!/bin/sh
# A database server that is stopped for a second between the making of its socket and the moment at which it listens.
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$(dirname "$1")/db.sock"
sleep 1
rm "$(dirname "$1")/db.sock"
exec {server} "$@"
"""


@pytest.mark.namespaces
def test_a_database_that_does_not_listen_yet_is_waited_for(needs_root, tmp_path, monkeypatch):
    server = tmp_path / "bin" / "ovsdb-server"
    server.parent.mkdir()
    server.write_text(SLOW_SERVER.format(server=shutil.which("ovsdb-server")))
    server.chmod(0o755)
    monkeypatch.setenv("PATH", f"{server.parent}:{os.environ['PATH']}")
    for variable in FOLDER_VARIABLES:
        monkeypatch.setenv(variable, "")  # so that what is set in the test is undone

    async def start():
        (tmp_path / "openvswitch").mkdir()
        processes = await start_open_vswitch(tmp_path / "openvswitch", logs=tmp_path)
        try:
            assert all(process.is_running for process in processes)
        finally:
            for process in reversed(processes):
                await process.stop()

    asyncio.run(start())
