"""The process by which a browser is a client: requests and datagrams go on to where they are wanted."""

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

pytestmark = pytest.mark.processes

PATIENCE = 30.0  # seconds; only a test that fails waits so long


def test_requests_and_datagrams_go_on_and_answers_come_back():
    with ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        front, origin, browser = (
            opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)
        )
        for one in (front, origin):
            one.bind(("127.0.0.1", 0))
        free = socket.create_server(("127.0.0.1", 0))
        requests = free.getsockname()
        free.close()

        def address(of: socket.socket) -> str:
            return ":".join(map(str, of.getsockname()))

        words = ["--requests", ":".join(map(str, requests)), "--server", address(server)]
        words += ["--datagrams", str(front.fileno()), "--origin", address(origin)]
        process = opened.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "eloquent.emulation.browser_access", *words],
                stdout=subprocess.PIPE,
                pass_fds=[front.fileno()],
            )
        )
        opened.callback(process.terminate)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for one in (server, origin, browser):
            one.settimeout(PATIENCE)

        asker = opened.enter_context(socket.create_connection(requests, timeout=PATIENCE))
        asker.sendall(b"question")
        reached = opened.enter_context(server.accept()[0])
        reached.settimeout(PATIENCE)
        assert reached.recv(100) == b"question"
        reached.sendall(b"answer")
        assert asker.recv(100) == b"answer"

        browser.sendto(b"hello", front.getsockname())
        datagram, where = origin.recvfrom(100)
        assert datagram == b"hello"
        origin.sendto(b"HELLO", where)
        assert browser.recvfrom(100) == (b"HELLO", front.getsockname())
