"""The relays of a bare install: a request through both of them to a model server."""

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.ports import find_address
from tests.wheel.conftest import Installation

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]  # the first to ask waits for the wheel

PATIENCE = 10  # seconds for an answer
EVENTS = b'data: {"token": "tea"}\n\ndata: {"token": " time"}\n\ndata: [DONE]\n\n'


class Model(http.server.BaseHTTPRequestHandler):
    """A model server that says the same to everybody."""

    def do_POST(self) -> None:
        """Answer with a stream of events."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(EVENTS)


@pytest.fixture
def model() -> Iterator[str]:
    """Run the model server; yield its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask_through(bare: Installation, model: str, origin_words: tuple[str, ...], edge_words: tuple[str, ...]) -> bytes:
    """Run a pair with these words beside the addresses, and return what it answers."""
    between, front = find_address(), find_address()
    with ExitStack() as both:
        both.enter_context(bare.serving("origin", *origin_words, "--upstream", model, "--listen", between))
        both.enter_context(bare.serving("edge", *edge_words, "--origin", between, "--listen", front))
        body = b'{"model": "any", "stream": true}'
        asked = urllib.request.Request(
            f"http://{front}/v1/chat/completions", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            assert answer.status == 200
            return bytes(answer.read())


def test_an_answer_comes_through_the_pair_as_the_model_gave_it(bare: Installation, model: str):
    assert ask_through(bare, model, ("--plaintext",), ("--plaintext",)) == EVENTS


def test_an_answer_comes_sealed_with_the_key_that_both_relays_have(bare: Installation, model: str, tmp_path: Path):
    key, other = tmp_path / "key", tmp_path / "other"
    for file in (key, other):
        assert bare.run("eloquent", "key", str(file)).returncode == 0
    assert bare.run("eloquent", "key", str(key)).returncode != 0  # one that is in use is not overwritten
    assert ask_through(bare, model, ("--key-file", str(key)), ("--key-file", str(key))) == EVENTS
    for stranger in (("--key-file", str(other)), ("--plaintext",)):
        with pytest.raises(TimeoutError):
            ask_through(bare, model, ("--key-file", str(key)), stranger)


def test_the_doctor_measures_and_names_the_extra_that_simulates(bare: Installation, model: str, tmp_path: Path):
    key, address = tmp_path / "key", find_address()
    assert bare.run("eloquent", "key", str(key)).returncode == 0
    with bare.serving("origin", "--key-file", str(key), "--upstream", model, "--listen", address):
        done = bare.run("eloquent", "doctor", "--origin", address, "--key-file", str(key), "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("UDP gets through, and so does TCP")
    assert "The core is compiled (docs/install.md).\n" in done.stdout
    assert done.stdout.rstrip().endswith("pip install 'eloquent-testbed[sim]'")
