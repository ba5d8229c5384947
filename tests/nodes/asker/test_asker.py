"""The asker: one question by several schemes at the same instant."""

import json
import signal

import pytest


@pytest.fixture
def server(start_node, free_port):
    addresses = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    start_node("token_server", "--listen", addresses[0], "--http", addresses[1])
    return ("--server", addresses[0], "--http", addresses[1])


def events(node):
    while True:
        yield json.loads(node.line())


def test_the_same_answer_comes_by_each_scheme(start_node, server):
    flags = ("--client", "c1", "--schemes", "grpc,sse", "--words", "A story, please.", "--seconds", 0.5)
    asker = start_node("asker", *flags, "--token-gap", 0.01, *server, ready=False)
    told = events(asker)
    asked = next(told)
    assert asked["event"] == "asked"
    text, ended = {"grpc": "", "sse": ""}, {}
    while len(ended) < 2:
        event = next(told)
        if event["event"] == "ended":
            ended[event["scheme"]] = event["outcome"]
        else:
            text[event["scheme"]] += event["text"]
            assert asked["at_s"] <= event["generated_s"] <= event["rendered_s"]
    assert ended == {"grpc": "ok", "sse": "ok"}
    assert text["grpc"] == text["sse"]
    assert len(text["grpc"].split()) == 50
    assert asker.wait()[0] == 0


def test_one_that_fails_leaves_the_other_alone(start_node, server):
    wrong = ("--http", server[1])  # gRPC is spoken there
    flags = ("--client", "c1", "--schemes", "grpc,sse", "--seconds", 0.2, "--token-gap", 0.01)
    told = events(start_node("asker", *flags, *server, *wrong, ready=False))
    outcomes = {}
    while len(outcomes) < 2:
        event = next(told)
        if event["event"] == "ended":
            outcomes[event["scheme"]] = event["outcome"]
    assert outcomes == {"grpc": "ok", "sse": "unavailable"}


def test_sigterm_ends_it_in_the_middle_of_an_answer(start_node, server):
    asker = start_node("asker", "--client", "c1", "--schemes", "grpc", "--seconds", 60, *server, ready=False)
    told = events(asker)
    while next(told)["event"] != "token":
        pass
    asker.process.send_signal(signal.SIGTERM)
    status, error = asker.wait()
    assert (status, "Traceback" in error) == (0, False)
