"""A model server of one's own, on the machine's loopback, asked through the lab's links: over TCP and through the relay pair."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.lab

SCHEMES = {"sse-cubic", "openai", "eloquent-quic"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server outside the lab: the project's own, of which the lab is not told."""
    log = tmp_path_factory.mktemp("server") / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    listeners = ("--listen", "127.0.0.1:0", "--http", address)
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "eloquent.nodes.token_server", *listeners], stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", log.read_text()
        yield f"http://{address}"
        process.terminate()


def test_the_answers_of_a_server_outside_cross_the_labs_links(testbed, server):
    words = ("--schemes", ",".join(SCHEMES), "--clients", "2", "--session", "6", "--prompt", "Tell me a story")
    testbed.up("--upstream", server, "--model", "any", *words)
    schemes = testbed.summary()["schemes"]
    assert set(schemes) == SCHEMES
    for figures in schemes.values():
        assert (figures["sessions"], figures["failed"], figures["tokens"]) == (2, 0, 2 * 60)
        assert figures["ttft_p50_s"] > 0.4  # a round trip of the impaired link
        assert figures["late_ratio"] is None  # nobody told when a token was made
    assert schemes["openai"]["wire_bytes_per_token"] >= 220
    assert schemes["sse-cubic"]["wire_bytes_per_token"] is None  # not known, which is not 0
    options = testbed.manifest()["options"]
    assert (options["upstream"], options["model"], options["prompt"]) == (server, "any", "Tell me a story")

    refused = testbed.call("load", "--users", "2", "--duration", "5", "--schemes", "grpc")
    assert refused.returncode != 0
    assert "'grpc' does not carry HTTP" in refused.stdout + refused.stderr
    assert json.loads(testbed.call("status").stdout)["stage"] == "up"


def test_a_server_that_is_not_there_is_told_before_anything_is_built(testbed):
    refused = testbed.call(*testbed.up_words("--upstream", "http://127.0.0.1:9", "--model", "any"))
    assert refused.returncode != 0
    assert "nobody answers at UPSTREAM, 127.0.0.1:9" in refused.stdout + refused.stderr
    assert not (testbed.folder / "runs").exists()
