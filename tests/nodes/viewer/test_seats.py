"""Clients of several hosts in one viewer: each asks from the network of its own host, and from no other."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes.viewer.seats import Seat, read_seats
from eloquent.records.run_directory import RunDirectory

PORT = 50051
SERVER = f"127.0.0.1:{PORT}"  # in each network, another one


@pytest.fixture
def served(namespace: Callable[[], int]) -> Iterator[list[Path]]:
    """The networks of three hosts, with a token server on the loopback of each."""
    hosts = [Path(f"/proc/{namespace()}/ns/net") for _ in range(3)]
    with ExitStack() as stack:
        for host in hosts:
            words = [
                "nsenter",
                f"--net={host}",
                sys.executable,
                "-m",
                "eloquent.nodes.token_server",
                "--listen",
                SERVER,
            ]
            server = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield hosts


@pytest.mark.namespaces
def test_clients_of_several_hosts_in_one_viewer(start_node, served: list[Path], tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(len(served))]
    seats = [Seat(name, host, 0.1 * number) for number, (name, host) in enumerate(zip(names, served, strict=True))]
    (tmp_path / "seats.json").write_text(json.dumps([seat.to_json() for seat in seats]))
    flags = ("--seats", tmp_path / "seats.json", "--schemes", "grpc", "--server", SERVER)
    viewer = start_node("viewer", *flags, "--session-seconds", 0.5, "--run-dir", tmp_path)

    told = [json.loads(viewer.line()) for _ in range(len(names) + 1)]
    assert told.pop() == {"event": "rounds_done"}
    assert {(event["client"], event["outcome"]) for event in told} == {(name, "ok") for name in names}
    assert viewer.wait()[0] == 0
    run = RunDirectory(tmp_path)
    started = {row.client: row.requested_s for row in run.sessions()}
    for name, seat in zip(names, seats, strict=True):
        assert started[name] - started["c0"] == pytest.approx(seat.offset_s, abs=0.09)
    assert {path.stem for path in (tmp_path / "lag").iterdir()} == set(names), "the lag of the process is that of each"


@pytest.mark.parametrize("text", ["", "1", '[{"client": "c1"}]', "[1]"])
def test_what_is_no_list_of_seats_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seats"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is no list of seats: "):
        read_seats(argparse.Namespace(seats=path, client=None))
