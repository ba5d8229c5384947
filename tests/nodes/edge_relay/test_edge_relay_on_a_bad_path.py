"""Whole relays as processes, with a bad path between them: a NAT that forgets, a beginning in silence, a slow reader."""

import select
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.calls import names

PROMPT = b"\x0a\x0eCount to 20000"  # GenerateRequest.prompt
NO_GAP = b"\x1a\x00"  # GenerateRequest.token_gap


class Path(threading.Thread):
    """Carries datagrams to a server and back, as a NAT does.

    Args:
        server: Where it carries them to.

    Attributes:
        address: Where clients find it.
        down_until: Instant (`time.monotonic`) until which everything from clients is lost.
    """

    def __init__(self, server: str) -> None:
        super().__init__(daemon=True)
        host, port = server.split(":")
        self.down_until = 0.0
        self._server = host, int(port)
        self._inside, self._outside = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for each in (self._inside, self._outside):
            each.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._inside.getsockname()[1]}"
        self._client: tuple[str, int] | None = None
        self._moved = self._ended = False

    def rebind(self) -> None:
        """Forget the mapping: what comes next leaves from another port, and what comes to the old one is lost."""
        self._moved = True

    def run(self) -> None:
        while not self._ended:
            if self._moved:
                self._outside.close()
                self._outside = socket.socket(type=socket.SOCK_DGRAM)
                self._outside.bind(("127.0.0.1", 0))
                self._moved = False
            for ready in select.select([self._inside, self._outside], [], [], 0.01)[0]:
                self._carry(ready)

    def _carry(self, ready: socket.socket) -> None:
        try:
            data, source = ready.recvfrom(65536)
            if ready is self._outside and self._client is not None:
                self._inside.sendto(data, self._client)
            elif ready is self._inside:
                self._client = source
                if time.monotonic() >= self.down_until:
                    self._outside.sendto(data, self._server)
        except ConnectionError:
            """Nobody listens at one side: to the other one that is silence."""

    def stop(self) -> None:
        """End the thread and close the sockets."""
        self._ended = True
        self.join()
        for each in (self._inside, self._outside):
            each.close()


@pytest.fixture
def path(start_node, free_port) -> Iterator[Path]:
    """The way to an origin relay before a token server."""
    server, origin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    start_node("token_server", "--listen", server)
    start_node("origin_relay", "--listen", origin, "--upstream", server)
    path = Path(origin)
    path.start()
    yield path
    path.stop()


@pytest.fixture
def ask(start_node, free_port, path):
    """Ask an edge relay at the near end of the path."""
    edge = f"127.0.0.1:{free_port()}"
    start_node("edge_relay", "--listen", edge, "--origin", path.address)
    with grpc.insecure_channel(edge) as channel:
        generate = channel.unary_stream(names.GENERATE)

        def ask(request, *, scheme="eloquent", timeout=60):
            return generate(request, metadata=((names.SCHEME_KEY, scheme),), timeout=timeout)

        yield ask


@pytest.mark.parametrize("scheme", ["eloquent", "retransmit"])
def test_a_nat_that_forgets_in_mid_stream_costs_no_token_and_the_next_question_no_time(path, ask, scheme):
    """The origin relay is alive, so nothing has to be waited for but the next sign of life: then the rest is asked for."""
    answer = ask(b"\x10\x28", scheme=scheme)  # max_tokens: 40, at the usual pace
    came = [next(answer) for _ in range(3)]
    began = time.monotonic()
    path.rebind()
    came += answer
    assert time.monotonic() - began < 15  # 40 s without the word of the other side
    assert [GenerateResponse.FromString(message).index for message in came] == [*range(40)]
    began = time.monotonic()
    assert len(list(ask(b"\x10\x03", scheme=scheme))) == 3  # max_tokens: 3
    assert time.monotonic() - began < 10


def test_a_question_asked_while_nothing_goes_up_is_answered_when_it_does(path, ask):
    path.down_until = time.monotonic() + 10
    assert len(list(ask(b"\x10\x03"))) == 3
    assert time.monotonic() >= path.down_until


@pytest.mark.parametrize("scheme", ["eloquent", "retransmit"])
def test_20000_tokens_without_a_gap_reach_a_slow_reader_in_order(ask, scheme):
    read = 0
    for _ in ask(PROMPT + NO_GAP + b"\x10\xa0\x9c\x01", scheme=scheme, timeout=120):
        read += 1
        if read % 500 == 0:
            time.sleep(0.05)
    assert read == 20_000
