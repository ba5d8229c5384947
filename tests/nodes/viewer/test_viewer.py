import asyncio
import json
import signal
import socket
import time
import urllib.request

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from eloquent import congestion, telemetry
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.asking.grpc import AsyncGrpcClient
from eloquent.calls import names
from eloquent.nodes.common.clients import Ask
from eloquent.nodes.viewer.viewer import Viewer, keep_background, share_lag
from eloquent.qoe.session import measure
from eloquent.records.run_directory import RunDirectory
from eloquent.relay.sealed.key import make_key
from eloquent.screen import ViewerLog

SCHEMES = ("grpc", "sse", "retransmit", "duplicate-2", "eloquent", "openai", "eloquent-quic")
SCHEMES += ("quic-stream", "quic-stream-cubic", "quic-datagram-stock")
COMPRESSED = {"openai", "eloquent-quic", "quic-datagram-stock"}


@pytest.mark.parametrize(
    ("length", "gap", "count"),
    [(30, 0.1, 150), (30.0, 0.05, 300), (3, 0.1, 15), (0.1, 0.1, 1), (0.01, 0.1, 1), (0.3, 0.1, 2)],
)
def test_the_prompt_fills_the_session(length, gap, count):
    assert Ask(length, gap).prompt.startswith(f"Count to {count},")
    assert (2 * count - 1) * gap <= max(length, gap) + 1e-9


def test_a_session_has_far_more_time_than_it_needs():
    assert Ask(30, 0.1).deadline >= 60


@pytest.fixture
def view(counts):
    """Run one session of 0.1 s against a script that answers; return its outcome and the viewer's metrics."""

    def run(answer, ask=None):
        async def session():
            server = grpc.aio.server()
            method = grpc.unary_stream_rpc_method_handler(
                answer, GenerateRequest.FromString, GenerateResponse.SerializeToString
            )
            service = grpc.method_handlers_generic_handler(names.TOKEN_SERVICE, {"Generate": method})
            server.add_generic_rpc_handlers([service])
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            seen, client = counts(), AsyncGrpcClient(f"127.0.0.1:{port}")
            viewer = Viewer("c1", {"grpc": client}, telemetry.ViewerMetrics(seen.registry), None)
            outcome = await viewer.view("grpc", 0, ask or Ask(0.05, 0.01))
            await client.close()
            await server.stop(0)
            return outcome, seen

        return asyncio.run(session())

    return run


def answer(*texts, indices=None, then=None):
    async def generate(_, context):
        for index, text in zip(indices or range(len(texts)), texts, strict=True):
            await context.write(GenerateResponse(index=index, text=text, generated_at_ns=time.monotonic_ns()))
        if then is not None:
            await context.abort(then, "as the script says")

    return generate


RIGHT = ("1", ",", " 2", ",", " 3")


@pytest.mark.parametrize(
    ("script", "outcome", "rendered"),
    [
        (answer(*RIGHT), "ok", 5),
        (answer(*RIGHT[:4]), "data_loss", 4),
        (answer(*RIGHT, ","), "data_loss", 5),
        (answer("1", ",", " 3"), "data_loss", 2),
        (answer("1", ",", indices=[0, 2]), "data_loss", 1),
        (answer(), "data_loss", 0),
        (answer("1", ",", then=grpc.StatusCode.UNAVAILABLE), "unavailable", 2),
        (answer(then=grpc.StatusCode.RESOURCE_EXHAUSTED), "resource_exhausted", 0),
    ],
)
def test_the_outcome_is_ok_only_for_the_whole_right_answer(view, script, outcome, rendered):
    result, seen = view(script)
    assert result == outcome
    labels = {"client": "c1", "scheme": "grpc"}
    assert seen("streams_total", outcome=outcome, **labels) == 1
    assert seen("rendered_tokens_total", **labels) == rendered
    assert seen("active_streams", **labels) == 0


def test_an_unforeseen_error_is_an_outcome_too(view):
    outcome, seen = view(answer("1", "\0", indices=[0, 1]), ask=Ask(0.05, 0.0))  # no gap: the prompt cannot be made
    assert outcome == "internal"
    assert seen("active_streams", client="c1", scheme="grpc") == 0


def test_words_of_ones_own_may_have_any_answer(view):
    outcome, seen = view(answer("Be", "cause"), ask=Ask(0.05, 0.01, "Why?"))
    assert outcome == "ok"
    assert seen("rendered_tokens_total", client="c1", scheme="grpc") == 2


def test_lag_is_sampled_on_the_clock(counts, run_virtually):
    seen = counts()

    async def run():
        viewer = Viewer("c1", {}, telemetry.ViewerMetrics(seen.registry), None)
        sampling = asyncio.create_task(share_lag([viewer], logged=False))
        await asyncio.sleep(1.02)
        sampling.cancel()

    run_virtually(run())
    assert seen("loop_lag_seconds_count", client="c1") == 20


def test_a_blocked_loop_is_as_many_samples_as_it_missed_ticks(run_virtually, tmp_path):
    log = ViewerLog(tmp_path, "c1")

    async def run():
        viewer = Viewer("c1", {}, telemetry.ViewerMetrics(CollectorRegistry()), log)
        sampling = asyncio.create_task(share_lag([viewer], logged=True))
        await asyncio.sleep(0.12)
        asyncio.get_running_loop().block(0.5)
        await asyncio.sleep(0.11)
        sampling.cancel()

    run_virtually(run())
    log.close()
    lags = [row.lag_s for _, row in RunDirectory(tmp_path).lags()]
    late = [0.47 - 0.05 * tick for tick in range(10)]  # due at 0.15, 0.2 ... and sampled at 0.62
    assert lags == pytest.approx([0, 0, *late, 0, 0], abs=1e-9)


def test_the_background_load_pauses_on_order(counts, run_virtually):
    """Its lag is sampled while it is on: every 50 ms."""
    seen = counts()

    def samples():
        return seen("loop_lag_seconds_count", client="c1")

    async def run():
        orders = asyncio.StreamReader()
        viewer = Viewer("c1", {}, telemetry.ViewerMetrics(seen.registry), None)
        keeping = asyncio.create_task(keep_background([viewer], Ask(1, 0.1), pause=1, orders=orders))
        await asyncio.sleep(1.02)
        first = samples()
        orders.feed_data(b'{"background": false}\n')
        await asyncio.sleep(5)
        paused = samples()
        orders.feed_data(b'{"background": true}\n')
        orders.feed_eof()
        await asyncio.sleep(1.02)
        keeping.cancel()
        return first, paused, samples()

    assert run_virtually(run()) == (20, 20, 40)


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        text = page.read().decode()
    return {
        (sample.name, sample.labels.get("client"), sample.labels.get("scheme")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels and sample.labels.get("outcome", "ok") == "ok"
    }


def test_each_congestion_control_has_a_listener_and_the_log_says_what_the_socket_said(start_node, free_port, tmp_path):
    first = free_port(row=6)
    server, chat = f"127.0.0.1:{first}", f"127.0.0.1:{first + 3}"
    controls = congestion.offered()
    wanted = {f"{way}-{control}": control for control in controls for way in ("grpc", "sse")}
    books = ("--known-clients", "c1", "--run-dir", tmp_path)
    model = start_node(
        *("token_server", "--listen", server, "--http", chat, "--congestion-controls", ",".join(controls)), *books
    )
    viewer = start_node(
        *("viewer", "--client", "c1", "--schemes", ",".join(["grpc", "sse", *wanted]), "--server", server),
        *("--http", chat, "--session-seconds", 0.3, "--token-gap", 0.05, "--run-dir", tmp_path),
    )
    assert viewer.wait()[0] == 0
    assert model.stop()[0] == 0
    run = RunDirectory(tmp_path)
    assert {row.outcome for row in run.sessions()} == {"ok"}
    with socket.socket() as usual:
        own = congestion.read_control(usual)
    said = {row.scheme: row.congestion_control for row in run.streams()}
    assert said == {"grpc": own, "sse": own, **wanted}


def test_the_whole_chain_for_every_scheme_and_three_accounts_that_agree(start_node, free_port, tmp_path):
    server, chat, origin, edge, sealed, edge_http = (f"127.0.0.1:{free_port()}" for _ in range(6))
    quic, origin_quic, edge_quic = (f"127.0.0.1:{free_port()}" for _ in range(3))
    make_key(tmp_path / "key")
    key = ("--key-file", tmp_path / "key")
    viewer_page, server_page, origin_page = free_port(), free_port(), free_port()
    books = ("--known-clients", "c1", "--run-dir", tmp_path)
    listeners = ("--listen", server, "--http", chat, "--quic", quic)
    model = start_node("token_server", *listeners, "--metrics", f"127.0.0.1:{server_page}", *books)
    relay = start_node(
        "origin_relay",
        *("--listen", origin, "--upstream", server, "--http-upstream", f"http://{chat}", "--sealed", sealed, *key),
        *("--quic", origin_quic, "--metrics", f"127.0.0.1:{origin_page}", *books),
    )
    way = ("--quic-http", edge_quic, "--quic-origin", origin_quic)
    start_node(
        "edge_relay",
        *("--listen", edge, "--origin", origin, "--http", edge_http, "--sealed-origin", sealed, *key, *way),
    )
    viewer = start_node(
        "viewer",
        *("--client", "c1", "--schemes", ",".join(SCHEMES), "--server", server, "--http", chat),
        *("--edge", edge, "--edge-http", edge_http, "--quic", quic, "--edge-quic", edge_quic),
        *("--rounds", 2, "--session-seconds", 0.6, "--round-seconds", 1.5, "--token-gap", 0.05),
        *("--metrics", f"127.0.0.1:{viewer_page}", "--run-dir", tmp_path, "--start-on-order"),
        *("--background", "--background-seconds", 60),
    )
    start_at = time.monotonic() + 0.2
    viewer.process.stdin.write(json.dumps({"start_at": start_at}).encode() + b"\n")
    viewer.process.stdin.flush()
    assert json.loads(viewer.line()) == {"event": "order_taken", "late_s": 0.0}
    events = [json.loads(viewer.line()) for _ in range(2 * len(SCHEMES) + 1)]
    assert events.pop() == {"event": "rounds_done"}
    assert {(event["scheme"], event["round"]) for event in events} == {(s, r) for s in SCHEMES for r in (1, 2)}
    assert {(event["event"], event["tokens"], event["outcome"]) for event in events} == {("session_ended", 11, "ok")}
    assert viewer.stop()[0] == 0
    # What the last acknowledgements told is logged by the time the senders have drained.
    assert model.stop()[0] == 0
    assert relay.stop()[0] == 0

    run = RunDirectory(tmp_path)
    sessions = {row.session: row for row in run.sessions()}
    assert sorted(sessions) == sorted(f"c1.{scheme}.r{number}" for scheme in SCHEMES for number in (1, 2))
    for row in sessions.values():
        assert -0.01 <= row.requested_s - (start_at + (row.round - 1) * 1.5) < 0.5  # the loop counts in milliseconds
        assert row.ended_s > row.requested_s
    tokens = list(run.tokens())
    for session in sessions:
        mine = [token for token in tokens if token.session == session]
        assert [token.index for token in mine] == list(range(11))
        assert all(token.generated_s < token.rendered_s for token in mine)
    streams = {row.session: row for row in run.streams()}
    assert set(streams) == set(sessions)
    for row in streams.values():
        assert row.tokens == 11
        assert row.original_bytes > 0
        assert row.wire_bytes > (
            28 * row.packets if row.scheme in COMPRESSED else row.original_bytes
        )  # it compresses events
    assert len(list(run.lags())) > 20


def test_a_viewer_that_was_told_nothing_by_its_start_says_so(start_node, free_port):
    server = f"127.0.0.1:{free_port()}"
    start_node("token_server", "--listen", server)
    asked = ("--client", "c1", "--schemes", "grpc", "--server", server, "--session-seconds", 0.3)
    viewer = start_node("viewer", *asked, "--start-on-order")
    viewer.process.stdin.write(json.dumps({"start_at": time.monotonic() - 2.5}).encode() + b"\n")
    viewer.process.stdin.flush()
    first = json.loads(viewer.line())
    assert first["event"] == "order_taken"
    assert first["late_s"] >= 2.5


def test_prometheus_and_the_log_say_the_same(start_node, free_port, tmp_path):
    server, page = f"127.0.0.1:{free_port()}", free_port()
    start_node("token_server", "--listen", server)
    viewer = start_node(
        "viewer",
        *("--client", "c1", "--schemes", "grpc", "--server", server, "--session-seconds", 1, "--token-gap", 0.25),
        *("--metrics", f"127.0.0.1:{page}", "--run-dir", tmp_path, "--background", "--background-seconds", 600),
    )
    while json.loads(viewer.line())["event"] != "rounds_done":
        pass
    seen = scrape(page)
    viewer.stop()
    tokens = list(RunDirectory(tmp_path).tokens())
    measures = measure([token.rendered_s for token in tokens], [token.generated_s for token in tokens])
    assert measures.stalls == 2  # a token every 250 ms is one stall after the other

    def value(name):
        return seen[f"eloquent_{name}", "c1", "grpc"]

    assert value("rendered_tokens_total") == measures.tokens
    assert value("stalls_total") == measures.stalls
    assert value("stall_seconds_total") == pytest.approx(measures.stall_s)
    assert value("stream_seconds_total") == pytest.approx(measures.stream_s)


def test_a_session_that_fails_stops_no_other(start_node, free_port, tmp_path):
    server, edge = (f"127.0.0.1:{free_port()}" for _ in range(2))
    start_node("token_server", "--listen", server)
    relay = start_node("edge_relay", "--listen", edge, "--origin", f"127.0.0.1:{free_port()}")
    viewer = start_node(
        "viewer",
        *("--client", "c1", "--schemes", "eloquent,grpc", "--server", server, "--edge", edge),
        *("--session-seconds", 1, "--run-dir", tmp_path),
    )
    first = json.loads(viewer.line())
    assert (first["scheme"], first["outcome"]) == ("grpc", "ok")
    relay.process.send_signal(signal.SIGKILL)  # the stream by `eloquent` waits for an origin relay that is not there
    second = json.loads(viewer.line())
    assert (second["scheme"], second["outcome"], second["tokens"]) == ("eloquent", "unavailable", 0)
    assert json.loads(viewer.line()) == {"event": "rounds_done"}
    assert viewer.wait()[0] == 0


def test_sigterm_in_mid_session_ends_it_as_cancelled(start_node, free_port, tmp_path):
    server = f"127.0.0.1:{free_port()}"
    start_node("token_server", "--listen", server)
    flags = ("--client", "c1", "--schemes", "grpc", "--server", server, "--run-dir", tmp_path)
    viewer = start_node("viewer", *flags)
    deadline = time.monotonic() + 20
    while not list(RunDirectory(tmp_path).tokens()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert viewer.stop()[0] == 0
    (session,) = RunDirectory(tmp_path).sessions()
    assert session.outcome == "cancelled"
    assert session.tokens == len(list(RunDirectory(tmp_path).tokens()))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--schemes", "eloquent"), "the scheme 'eloquent' needs --edge"),
        (("--schemes", "grpc"), "the scheme 'grpc' needs --server"),
        (("--schemes", "sse"), "the scheme 'sse' needs --http"),
        (("--schemes", "pigeon"), "'pigeon' is not a scheme"),
        (("--schemes", ","), "name at least one scheme"),
    ],
)
def test_flags_that_do_not_fit_are_one_sentence(start_node, flags, message):
    status, error = start_node("viewer", "--client", "c1", *flags, ready=False).wait()
    assert status == 2
    assert message in error
    assert "Traceback" not in error
