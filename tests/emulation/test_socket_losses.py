"""Losses in socket buffers, as the kernel counts them."""

import os
import socket

from eloquent.emulation.socket_losses import SocketLosses, count_losses


def test_what_does_not_fit_into_a_socket_is_counted():
    before = count_losses(os.getpid())
    with socket.socket(type=socket.SOCK_DGRAM) as reader, socket.socket(type=socket.SOCK_DGRAM) as writer:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.bind(("127.0.0.1", 0))
        for _ in range(200):
            writer.sendto(bytes(1000), reader.getsockname())
    assert count_losses(os.getpid()) >= before + 100


def test_only_what_was_lost_meanwhile_is_told():
    before, after = SocketLosses({"c1": 3, "c2": 0}), SocketLosses({"c1": 3, "c2": 4, "origin": 1})
    assert before.until(after) == {"c2": 4, "origin": 1}


def test_a_host_that_is_gone_has_lost_nothing():
    assert count_losses(2**22 + 1) == 0
