"""The relays, sealed, on a lossy link before llama.cpp's own server: unmodified clients, and how much a reader waits."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eloquent import scenarios
from eloquent.emulation.carriers.impairment import ImpairedLink

pytestmark = pytest.mark.models

HERE = Path(__file__).parent
CLIENTS = HERE.parent / "clients"
INSTALLED = HERE.parents[1] / ".build" / "clients"
SERVER, CLIENT = "10.9.0.2", "10.9.0.1"
PATIENCE = 120.0  # seconds for what a test waits for
ASKED = {
    "model": "any",
    "messages": [{"role": "user", "content": "hello"}],
    "seed": 1,
    "temperature": 1.0,
    "max_tokens": 120,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@dataclass(frozen=True)
class Road:
    """A model server in one namespace, its clients in another, the link between them, and the relays.

    Attributes:
        server: A process in the server's namespace.
        client: A process in the clients'.
        direct: The model server's URL, from either.
        relayed: The URL of the edge, from the clients'.
        answers: The folder of what the model server has answered, a file each.
    """

    server: int
    client: int
    direct: str
    relayed: str
    answers: Path


@pytest.fixture
def road(namespace: Callable[[], int], run_in: Callable[..., str], tmp_path: Path) -> Iterator[Road]:
    if not (INSTALLED / "model" / "installed").exists():
        pytest.skip("the model server is missing: tests/clients/run.py --install model")
    with ExitStack() as stack:
        lab, client, server = namespace(), namespace(), namespace()
        _link(stack, run_in, lab, client, server)
        python, model, answers = (
            str(INSTALLED / "model" / "bin" / "python"),
            str(tmp_path / "model"),
            tmp_path / "answers",
        )
        answers.mkdir()
        subprocess.run([python, str(HERE / "make_model.py"), model], check=True, timeout=PATIENCE)
        url = _start(stack, server, python, str(HERE / "serve_model.py"), model)
        port = _start(stack, server, sys.executable, str(HERE / "meter.py"), url, str(answers))
        eloquent, key = [sys.executable, "-m", "eloquent.cli"], str(tmp_path / "key")
        subprocess.run([*eloquent, "key", key], check=True, timeout=PATIENCE)
        origin = ["origin", "--upstream", f"http://127.0.0.1:{port}", "--listen", f"{SERVER}:4433", "--key-file", key]
        assert _start(stack, server, *eloquent, *origin) == "ready"
        edge = ["edge", "--origin", f"{SERVER}:4433", "--listen", "127.0.0.1:8080", "--key-file", key]
        assert _start(stack, client, *eloquent, *edge) == "ready"
        yield Road(server, client, f"http://{SERVER}:{port}/v1", "http://127.0.0.1:8080/v1", answers)


def _link(stack: ExitStack, run_in: Callable[..., str], lab: int, client: int, server: int) -> None:
    """Join two namespaces by the link of `paper-default`."""
    carrier = stack.enter_context(_process(lab, sys.executable, "-m", "eloquent.emulation.carriers.wire"))
    assert carrier.stdin is not None
    assert carrier.stdout is not None
    link = ImpairedLink("c1", "tap-c", "tap-s", scenarios.load("paper-default").to_line(), seed=1)

    def say(words: dict[str, Any]) -> None:
        carrier.stdin.write(json.dumps(words) + "\n")
        carrier.stdin.flush()
        carrier.stdout.readline()

    say({"id": 0, "links": [link.to_json()]})
    for pid, device, address in ((client, "tap-c", CLIENT), (server, "tap-s", SERVER)):
        run_in(lab, "ip", "link", "set", device, "netns", str(pid))
        run_in(pid, "ip", "addr", "add", f"{address}/24", "dev", device)
        run_in(pid, "ip", "link", "set", device, "up")
    say({"id": 1, "schedule": time.monotonic()})


def _process(pid: int, *words: str) -> "subprocess.Popen[str]":
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *words]
    return subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _start(stack: ExitStack, pid: int, *words: str) -> str:
    """Start a process in a namespace, to be ended with the test; return the first line that it prints."""
    process = stack.enter_context(_process(pid, *words))
    stack.callback(process.kill)
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(pid: int, *words: str) -> str:
    """Run a client in a namespace, and return what it prints."""
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *words]
    return subprocess.run(inside, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


@pytest.mark.parametrize("name", ["openai", "openai-js", "langchain"])
def test_a_client_gets_what_it_gets_without_the_relays(road: Road, name: str) -> None:
    words = [str(INSTALLED / name / "bin" / "python"), str(CLIENTS / f"stream_{name}.py")]
    if name == "openai-js":
        words = ["node", shutil.copy(CLIENTS / "stream_openai.mjs", INSTALLED / "javascript")]
    direct = ask(road.server, *words, road.direct, json.dumps(ASKED))
    text, reasons, tokens, _ = json.loads(direct.splitlines()[0])
    assert (len(text) > 300, reasons, tokens) == (True, ["length"], 120)
    assert ask(road.client, *words, road.relayed, json.dumps(ASKED)) == direct


def test_curl_gets_what_the_model_server_sent_byte_for_byte(road: Road) -> None:
    words = ["curl", "-sSN", "-H", "content-type: application/json", "-d", json.dumps(ASKED)]
    got = ask(road.client, *words, f"{road.relayed}/chat/completions")
    (sent,) = road.answers.iterdir()
    assert got.count("data: ") > 120
    assert got == sent.read_text()


def test_a_reader_waits_a_third_as_long_at_most(road: Road, tmp_path: Path) -> None:
    """Three answers of 12 s after each other, by each way at the same time, on the same link."""
    env = {**os.environ, "OPENAI_API_KEY": "any"}
    runs = []
    for way, url in (("direct", road.direct), ("relayed", road.relayed)):
        words = (
            "measure",
            "run",
            "--url",
            url,
            "--model",
            "any",
            "--prompt",
            "hello",
            "--sessions",
            "3",
            "--no-capture",
        )
        where = ("--runs", str(tmp_path / way), "--name", way)
        inside = ["nsenter", f"--net=/proc/{road.client}/ns/net", "--", sys.executable, "-m", "eloquent.cli"]
        runs.append(subprocess.Popen([*inside, *words, *where], env=env, stdout=subprocess.DEVNULL))
    assert [run.wait(200) for run in runs] == [0, 0]
    ratios = {}
    for way in ("direct", "relayed"):
        found = json.loads((tmp_path / way / way / "measurement.json").read_text())
        assert found["failed"] == 0
        ratios[way] = found["stall_ratio"]
    print(ratios)
    assert ratios["relayed"] < ratios["direct"] / 3
