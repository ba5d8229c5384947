"""A run small enough to work out its figures by hand."""

import pytest

from eloquent.report.rows import LagRow, ProbeRow, SessionRow, StreamRow, TokenRow
from eloquent.report.run_directory import RunDirectory

LINE = "name=always rtt=400ms rate=10mbit queue=1000 loss=independent(probability=0.25)"


@pytest.fixture
def run(tmp_path):
    """One round. `eloquent`: gaps 100 100 300 and 200 200 100 ms. `grpc`: one session of 100 500 ms, one failed, one
    without an end. `duplicate-2` was asked for and never ran."""
    run = RunDirectory.create(tmp_path / "runs", "small")
    run.write_manifest(
        {
            "run": "small",
            "scenario": {"name": "always", "line": LINE},
            "seed": 1,
            "schemes": ["eloquent", "grpc", "duplicate-2"],
            "links": [{"name": "client1", "self_test": {"rtt_s": 0.4}}, {"name": "client2"}],
            "epoch_s": 90.0,
        }
    )
    rendered = {
        "client1": {
            "eloquent": [100.5, 100.6, 100.7, 101.0],
            "grpc": [100.6, 100.7, 101.2],
        },
        "client2": {"eloquent": [100.7, 100.9, 101.1, 101.2], "grpc": [100.6, 105.0]},
        "client3": {"grpc": [100.5, 100.6]},
    }
    outcomes = {
        "client1.eloquent.r1": "ok",
        "client2.eloquent.r1": "ok",
        "client1.grpc.r1": "ok",
        "client2.grpc.r1": "unavailable",
    }
    for client, schemes in rendered.items():
        with run.session_writer(client) as sessions, run.token_writer(client) as tokens:
            for scheme, instants in schemes.items():
                session = f"{client}.{scheme}.r1"
                for index, at in enumerate(instants):
                    generated = 100.25 + index / 10 if scheme == "eloquent" else None
                    tokens.write(TokenRow(session=session, index=index, generated_s=generated, rendered_s=at))
                if session in outcomes:
                    sessions.write(
                        SessionRow(
                            session=session,
                            client=client,
                            scheme=scheme,
                            round=1,
                            requested_s=100.0,
                            ended_s=105.0,
                            outcome=outcomes[session],
                            tokens=len(instants),
                        )
                    )
    with run.stream_writer("origin") as streams:
        for client, redundant in (("client1", 30), ("client2", 50)):
            streams.write(
                StreamRow(
                    session=f"{client}.eloquent.r1",
                    client=client,
                    scheme="eloquent",
                    tokens=4,
                    original_bytes=20,
                    redundant_bytes=redundant,
                    packets=4,
                    wire_bytes=400,
                )
            )
    with run.stream_writer("server") as streams:
        streams.write(
            StreamRow(
                session="client1.grpc.r1",
                client="client1",
                scheme="grpc",
                tokens=3,
                original_bytes=15,
                redundant_bytes=None,
                packets=None,
                wire_bytes=600,
            )
        )
    with run.probe_writer("client1") as probes:
        for sequence in range(10):  # at 99.0, 100.0, ... 108.0: of the six within the window, two are lost
            lost = sequence in (0, 2, 4, 9)
            at = 99.0 + sequence
            probes.write(
                ProbeRow(
                    sequence=sequence, sent_s=at, received_s=None if lost else at + 0.2, rtt_s=None if lost else 0.4
                )
            )
    with run.lag_writer("client1") as lags:
        for number in range(101):
            lags.write(LagRow(at_s=101.0 + number / 100, lag_s=number / 1e5))
        lags.write(LagRow(at_s=99.0, lag_s=7.0))
        lags.write(LagRow(at_s=106.0, lag_s=7.0))
    return run
