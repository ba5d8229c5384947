"""What commands print reaches its reader whole, whoever the reader is."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import asdict
from pathlib import Path

import pytest

from eloquent.measure.findings import FINDINGS, Findings

pytestmark = pytest.mark.processes

NAME = "a-carriage-of-the-night-train-from-north-to-south-with-[brackets]-and-more-than-eighty-columns-of-a-name"
SCENARIO = f"name={NAME.replace('[', '').replace(']', '')} rtt=100ms"
FIGURES = Findings(
    name=NAME,
    sessions=1234567,
    tokens=98765432,
    stalls=12345678,
    stall_p95_s=123.456,
    gap_p95_s=98.765,
    stall_ratio=0.123,
    packets=1234567890,
    lost=987654321,
    loss_rate=0.8,
    retransmissions=192837465,
    blocked=564738291,
    longest_block_s=1234.567,
)


def measured(folder: Path) -> Path:
    path = folder / FINDINGS
    path.write_text(json.dumps(asdict(FIGURES)))
    return path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "eloquent.cli", *words]


@pytest.mark.parametrize("columns", [None, "40"])
def test_a_table_in_a_pipe_has_every_digit(tmp_path: Path, columns: str | None):
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {} if columns is None else {"COLUMNS": columns}
    words = command("measure", "table", str(measured(tmp_path)))
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    whole = ("1234567", "98765432", "12345678", "123456 ms", "1234567890", "987654321", "192837465", "564738291")
    (row,) = (line for line in said.splitlines() if NAME in line)
    assert all(word in row for word in whole)
    assert "…" not in said


def test_the_figures_of_a_simulation_in_a_pipe_name_their_scenario():
    words = ("simulate", "--schemes", "bound", "--sessions", "1", "--session", "1", "--workers", "1")
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    told = [*command(*words), "--scenario", SCENARIO]
    said = subprocess.run(told, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    assert SCENARIO.split(maxsplit=1)[0].removeprefix("name=") in said


def test_a_table_on_a_terminal_is_no_wider_than_it(tmp_path: Path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 70, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(
        command("measure", "table", str(measured(tmp_path))),
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as shown:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # the far end is closed
            pass
        assert shown.wait(timeout=60) == 0
    os.close(ours)
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in said.decode().splitlines()) <= 70
