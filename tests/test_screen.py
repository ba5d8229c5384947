import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.qoe.session import measure
from eloquent.records.rows import SessionRow, TokenRow, read_rows
from eloquent.screen import SchemeMetrics, Screen, ViewerLog

GENERATED = [10.0, 10.1, 10.2, 10.3, 10.4]
RENDERED = [10.2, 10.3, 10.75, 10.75, 10.76]  # one stall of 0.45 s; the tokens of 10.2 and 10.3 are late


class Counts:
    """An empty set of metrics, read by name."""

    def __init__(self):
        self.registry = CollectorRegistry()

    def __call__(self, name, **labels):
        return self.registry.get_sample_value(f"eloquent_{name}", labels)


@pytest.fixture
def shown(tmp_path):
    """Render the session above; give the metrics and the run's directory."""

    def show(round_number):
        seen, log = Counts(), ViewerLog(tmp_path, "c1")
        screen = Screen(
            f"c1.grpc.r{round_number}",
            client="c1",
            scheme="grpc",
            round_number=round_number,
            requested_s=9.9,
            metrics=SchemeMetrics(telemetry.ViewerMetrics(seen.registry), "c1", "grpc"),
            log=log,
        )
        for generated, rendered in zip(GENERATED, RENDERED, strict=True):
            screen.render(generated_s=generated, rendered_s=rendered)
        assert seen("active_streams", client="c1", scheme="grpc") == 1
        screen.end("ok", ended_s=11.0)
        log.close()
        return lambda name, **labels: seen(name, client="c1", scheme="grpc", **labels)

    return show


def test_the_metrics_say_what_the_measures_say(shown):
    seen, measures = shown(1), measure(RENDERED, GENERATED)
    assert seen("rendered_tokens_total") == measures.tokens == 5
    assert seen("stalls_total") == measures.stalls == 1
    assert seen("stall_seconds_total") == pytest.approx(measures.stall_s) == pytest.approx(0.45)
    assert seen("stall_excess_seconds_total") == pytest.approx(measures.excess_s) == pytest.approx(0.25)
    assert seen("stall_length_seconds_count") == 1
    assert seen("stall_length_seconds_sum") == pytest.approx(measures.stall_s)
    assert seen("stall_length_seconds_bucket", le="0.4") == 0
    assert seen("stall_length_seconds_bucket", le="0.5") == 1
    assert seen("stream_seconds_total") == pytest.approx(measures.stream_s) == pytest.approx(0.56)
    assert seen("late_tokens_total") == measures.late_tokens == 2
    assert seen("token_gap_seconds_count") == 4
    assert seen("time_to_first_token_seconds_sum") == pytest.approx(0.3)
    assert seen("streams_total", outcome="ok") == 1
    assert seen("active_streams") == 0


def test_the_log_holds_every_token_and_the_session(shown, tmp_path):
    shown(2)
    (session,) = read_rows(tmp_path / "sessions" / "c1.csv", SessionRow)
    assert session == SessionRow("c1.grpc.r2", "c1", "grpc", 2, 9.9, 11.0, "ok", 5)
    tokens = list(read_rows(tmp_path / "tokens" / "c1.csv", TokenRow))
    assert [(row.session, row.index, row.generated_s, row.rendered_s) for row in tokens] == [
        ("c1.grpc.r2", index, *times) for index, times in enumerate(zip(GENERATED, RENDERED, strict=True))
    ]


def test_background_load_is_counted_and_not_logged(shown, tmp_path):
    seen = shown(0)
    assert seen("rendered_tokens_total") == 5
    assert list(read_rows(tmp_path / "tokens" / "c1.csv", TokenRow)) == []
    assert list(read_rows(tmp_path / "sessions" / "c1.csv", SessionRow)) == []


def test_a_wait_shows_while_it_lasts(monkeypatch):
    """Two streams of one scheme, of which the older wait counts, from the request on; a stream that ended counts no more."""
    seen = Counts()
    metrics = SchemeMetrics(telemetry.ViewerMetrics(seen.registry), "c1", "grpc")

    def longest_wait(now):
        monkeypatch.setattr("eloquent.screen.time.monotonic", lambda: now)
        return seen("longest_wait_seconds", client="c1", scheme="grpc")

    def ask(session, requested_s):
        return Screen(
            session, client="c1", scheme="grpc", round_number=0, requested_s=requested_s, metrics=metrics, log=None
        )

    assert longest_wait(9.0) == 0
    first, second = ask("c1.grpc.l1u1t1", 10.0), ask("c1.grpc.l1u2t1", 11.0)
    assert longest_wait(12.0) == 2
    first.render(generated_s=11.9, rendered_s=12.0)
    assert longest_wait(12.5) == 1.5
    second.end("cancelled", ended_s=12.6)
    assert longest_wait(12.7) == pytest.approx(0.7)
    first.end("ok", ended_s=12.8)
    assert longest_wait(20.0) == 0


def test_series_exist_before_anything_happens():
    seen = Counts()
    SchemeMetrics(telemetry.ViewerMetrics(seen.registry), "c1", "grpc")
    value = seen.registry.get_sample_value("eloquent_stall_seconds_total", {"client": "c1", "scheme": "grpc"})
    assert value == 0
