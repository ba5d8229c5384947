"""The edge relay of a lab: what it takes for the scheme of a question, and the node as a process."""

import signal

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from eloquent.calls import names
from eloquent.errors import ConfigurationError
from eloquent.nodes.edge_relay.relay import scheme_between, scheme_of_call


@pytest.mark.parametrize(
    ("metadata", "scheme"),
    [
        ({}, "eloquent-packed"),
        ({"x-eloquent-scheme": "eloquent"}, "eloquent"),
        ({"x-other": "grpc"}, "eloquent-packed"),
    ],
)
def test_a_call_names_by_what_its_answer_comes(metadata, scheme):
    assert scheme_of_call(metadata) == scheme


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grpc", "relays do not carry the scheme 'grpc'"),
        ("openai", "relays do not carry the scheme 'openai'"),
        ("pigeon", "'pigeon' is not a scheme"),
    ],
)
def test_a_scheme_that_relays_do_not_have_is_refused(name, message):
    with pytest.raises(ConfigurationError, match=message):
        scheme_of_call({"x-eloquent-scheme": name})


@pytest.mark.parametrize(
    ("fields", "between"),
    [({}, "eloquent-packed"), ({"x-eloquent-scheme": "openai"}, "eloquent-packed")]
    + [({"x-eloquent-scheme": f"openai-{name}"}, name) for name in ("retransmit", "red-2")],
)
def test_a_request_names_by_what_its_answer_comes(fields, between):
    assert scheme_between(fields) == between


@pytest.mark.parametrize("name", ["sse", "eloquent", "openai-grpc", "nothing"])
def test_what_the_pair_does_not_carry_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"'{name}'"):
        scheme_between({"x-eloquent-scheme": name})


def test_kill_9_of_the_origin_relay_in_mid_stream_is_unavailable(start_node, free_port):
    server, origin, edge = (f"127.0.0.1:{free_port()}" for _ in range(3))
    start_node("token_server", "--listen", server)
    first = start_node("origin_relay", "--listen", origin, "--upstream", server)
    start_node("edge_relay", "--listen", edge, "--origin", origin)
    with grpc.insecure_channel(edge) as channel:
        generate = channel.unary_stream(names.GENERATE)
        answer = generate(b"", timeout=30)  # an empty request: the book, at the usual pace
        for _ in range(3):
            next(answer)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        start_node("origin_relay", "--listen", origin, "--upstream", server)
        with pytest.raises(grpc.RpcError) as lost:
            list(answer)
        assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "does not have this answer any more" in lost.value.details()
        assert len(next(generate(b"", timeout=20))) > 0


def test_as_processes_relays_drain_and_exit_with_0(start_node, free_port):
    server, origin_address, edge_address = (f"127.0.0.1:{free_port()}" for _ in range(3))
    start_node("token_server", "--listen", server)
    origin = start_node(
        "origin_relay", "--listen", origin_address, "--upstream", server, "--metrics", "127.0.0.1:0", "--grace", 15
    )
    edge = start_node(
        "edge_relay", "--listen", edge_address, "--origin", origin_address, "--metrics", "127.0.0.1:0", "--grace", 15
    )
    with grpc.insecure_channel(edge_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
        known = ProtoReflectionDescriptorDatabase(channel)
        assert set(known.get_services()) >= {names.TOKEN_SERVICE, "grpc.health.v1.Health"}
        assert (
            DescriptorPool(known).FindServiceByName(names.TOKEN_SERVICE).FindMethodByName("Generate").server_streaming
        )
        answer = channel.unary_stream(names.GENERATE)(b"\x10\x0a", timeout=30)  # max_tokens: 10
        next(answer)
        origin.process.terminate()
        edge.process.terminate()
        assert len(list(answer)) == 9
    assert origin.wait()[0] == 0
    assert edge.wait()[0] == 0


@pytest.mark.parametrize(
    ("node", "flags"),
    [
        ("edge_relay", ("--listen", "127.0.0.1:0", "--origin", "nonsense")),
        ("origin_relay", ("--listen", "127.0.0.1:x", "--upstream", "127.0.0.1:1")),
        ("origin_relay", ("--listen", "192.0.2.1:9", "--upstream", "127.0.0.1:1")),
    ],
)
def test_a_wrong_address_is_one_sentence_and_exit_status_2(start_node, node, flags):
    status, error = start_node(node, *flags, ready=False).wait()
    assert status == 2
    assert error.startswith("error: ")
    assert "Traceback" not in error
