"""Sessions of a lab's run, read and replayed."""

from dataclasses import replace

import pytest
from tests.sim.conftest import EPOCH

from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.errors import ConfigurationError
from eloquent.records.rows import ProbeRow, TokenRow
from eloquent.records.run_directory import Manifest, NamedScenario
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.replay.connections import model_of, read_connections, replay


def manifest(control: str) -> Manifest:
    extra = {"congestion_control": control}
    return Manifest(run="lab", scenario=NamedScenario(name="x", line="rtt=1ms"), seed=1, schemes=("grpc",), **extra)


@pytest.mark.parametrize(("control", "model"), [("bbr", "tcp-bbr"), ("cubic", "tcp")])
def test_the_kernels_tcp_is_replayed_by_the_model_of_its_congestion_control(control: str, model: str):
    assert model_of("grpc", manifest(control)) == model
    assert model_of("duplicate-2", manifest(control)) == "duplicate-2"


def test_what_the_sockets_of_a_scheme_told_counts_more_than_the_machines_own():
    told = manifest("bbr").model_copy(update={"congestion_controls": {"grpc-cubic": "cubic"}})
    assert [model_of(name, told) for name in ("grpc-cubic", "grpc")] == ["tcp", "tcp-bbr"]


def test_a_congestion_control_without_a_model_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"'grpc' ran over .* 'vegas', and there are models of bbr, cubic only"
    ):
        model_of("grpc", manifest("vegas"))


def test_the_relay_pair_has_no_model():
    with pytest.raises(ConfigurationError, match="'openai' cannot be replayed"):
        model_of("openai", manifest("bbr"))


def test_sessions_are_read_in_the_order_of_the_rounds_on_the_time_axis_of_their_schedules(make_lab_run):
    connections = read_connections(make_lab_run())
    assert [(connection.scheme, connection.model, connection.link) for connection in connections] == [
        ("eloquent", "eloquent", "c1"),
        ("eloquent", "eloquent", "c2"),
    ]
    assert [[session.name for session in connection.sessions] for connection in connections] == [
        [f"{client}.eloquent.r1", f"{client}.eloquent.r2"] for client in ("c1", "c2")
    ]  # and none that failed
    second = connections[1].sessions[1]
    assert second.generated_s == pytest.approx([15.21 + when for when in constant_rate(10.0)])
    assert [GenerateResponse.FromString(message) for message in second.messages()[:3]] == [
        GenerateResponse(index=index, text=text, generated_at_ns=round((EPOCH + 15.21 + index / 10) * 1e9))
        for index, text in enumerate(("1", ",", " 2"))
    ]


@pytest.mark.parametrize(("scheme", "rtt", "jitter"), [("eloquent", 0.42, 0.0), ("grpc", 0.41, 0.01)])
def test_the_round_trip_time_is_what_the_probes_of_the_link_found(make_lab_run, scheme: str, rtt: float, jitter: float):
    run = make_lab_run(scheme=scheme)
    with run.probe_writer("c2") as probes:
        for sequence, rtt_s in enumerate((0.41, None, 0.42, 0.9)):
            probes.write(ProbeRow(sequence, EPOCH + sequence, None, rtt_s))
    found = [(connection.scenario.rtt, connection.jitter) for connection in read_connections(run)]
    assert found == [(0.4, 0.0), (rtt, pytest.approx(jitter))]


def test_where_the_slots_decide_everything_a_replay_repeats_the_lab(make_lab_run):
    """Whatever is drawn: nothing is left to chance, and the lab of this run has no processes that could be late."""
    connections = read_connections(make_lab_run())
    replayed = replay(connections, repeats=3)
    for connection, sums in zip(connections, replayed, strict=True):
        assert [one.session for one in sums] == 3 * [session.number for session in connection.sessions]
        for one in sums:
            session = next(session for session in connection.sessions if session.number == one.session)
            assert one.outcome == "ok"
            assert one.stream_s == pytest.approx(session.rendered_s[-1] - session.rendered_s[0], abs=0.001)
            assert one.stall_210_s > 0


def test_the_kernels_tcp_keeps_its_connection_from_round_to_round(make_lab_run):
    """In the second round it expects reordering, and repairs later; nothing is left to chance on this link."""
    connection = replace(read_connections(make_lab_run())[0], scheme="grpc", model="tcp-bbr")
    [[_, after]] = replay([connection], repeats=1)
    [[alone]] = replay([replace(connection, sessions=connection.sessions[1:])], repeats=1)
    assert after.session == alone.session
    assert after.stall_210_s > alone.stall_210_s


def test_a_run_without_rounds_cannot_be_replayed(make_lab_run):
    run = make_lab_run()
    run.write_manifest({**run.read_manifest().model_dump(mode="json"), "epoch_s": None})
    with pytest.raises(ConfigurationError, match="its schedules never began"):
        read_connections(run)


def test_tokens_must_say_when_they_were_made(make_lab_run):
    run = make_lab_run()
    with run.token_writer("c2") as tokens:
        tokens.write(TokenRow("c2.eloquent.r2", 100, None, 6000.0))
    with pytest.raises(ConfigurationError, match="does not say when the tokens of c2"):
        read_connections(run)
