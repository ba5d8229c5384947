"""A run small enough to work out its figures by hand."""

from random import Random

import pytest

from eloquent.records.rows import LagRow, ProbeRow, SessionRow, StreamRow, TokenRow
from eloquent.records.run_directory import RunDirectory

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


@pytest.fixture
def make_run(tmp_path):
    """Makes whole runs: tokens every 100 ms, some of them 500 ms after the one before, by a seeded coin."""

    def make(
        name="whole",
        *,
        clients=("c1", "c2"),
        chances=None,
        rounds=1,
        seed=1,
        schedule="same",
        made=None,
        tokens=60,
    ):
        chances = {"grpc": 0.3, "eloquent": 0.1} if chances is None else chances
        run = RunDirectory.create(tmp_path / "made", name)
        links = [
            {
                "name": client,
                "self_test": {"rtt_s": 0.4004, "rtt_expected_s": 0.4, "bad_loss": 0.91, "bad_loss_expected": 0.9},
                "schedule": {
                    "down": {"digest": f"{schedule} {client}", "stretches": [[0.0, 3.0], [0.9, 0.5], [0.0, 9.0]]},
                    "up": {"digest": "up", "stretches": [[0.0, 12.5]]},
                },
            }
            for client in clients
        ]
        manifest = {
            "run": name,
            "scenario": {"name": "always", "line": LINE},
            "seed": 1,
            "schemes": list(chances),
            "options": {"clients": len(clients), "rounds": rounds, "session_s": 6.0},
            "carrier": {"name": "wire", "why": "no netem"},
            "links": links,
            "epoch_s": 100.0,
            "rounds_s": 20.0 * rounds,
            "lateness": {"p99_s": 0.0004, "max_s": 0.001},
            "processor": {"busy": 0.6, "stolen": 0.02},
            "warnings": [],
        }
        run.write_manifest(manifest | (made or {}))
        coin = Random(seed)
        with run.stream_writer("origin") as streams:
            for client in clients:
                with run.session_writer(client) as sessions, run.token_writer(client) as log:
                    for number in range(1, rounds + 1):
                        for scheme, chance in chances.items():
                            session, begin = f"{client}.{scheme}.r{number}", 100.0 + 20.0 * (number - 1)
                            at = begin + 0.4
                            for index in range(tokens):
                                at += 0.5 if coin.random() < chance else 0.1
                                log.write(TokenRow(session, index, begin + index / 10, at))
                            sessions.write(SessionRow(session, client, scheme, number, begin, at, "ok", tokens))
                            streams.write(StreamRow(session, client, scheme, tokens, 1000, 250, tokens, 60 * tokens))
                with run.probe_writer(client) as probes:
                    for sequence in range(50):
                        at, lost = 100.0 + sequence / 10, sequence % 5 == 0
                        probes.write(ProbeRow(sequence, at, None if lost else at + 0.2, None if lost else 0.4))
        return run

    return make
