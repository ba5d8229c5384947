"""The terminal view, drawn from a real Prometheus."""

import asyncio

import pytest
from rich.console import Console

from eloquent.watch.prometheus import Alert, Prometheus
from eloquent.watch.top import Frame, read_frame, render


def drawn(frame: Frame, flaws: dict[str, list[str]] | None = None) -> str:
    console = Console(width=100, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(render(frame, title="here", flaws=flaws or {}))
    return capture.get()


def frame_of(url: str) -> Frame:
    async def read():
        prometheus = Prometheus(url)
        try:
            return await read_frame(prometheus)
        finally:
            await prometheus.close()

    return asyncio.run(read())


def row(text: str, first: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(first)).removeprefix(first).split()


def percent(text: str) -> float:
    return float(text.removesuffix("%"))


def test_schemes_and_clients_are_told_with_what_prometheus_knows(prometheus):
    text = drawn(frame_of(prometheus))
    assert percent(row(text, "TCP (gRPC)")[0]) == pytest.approx(50, abs=2)
    assert percent(row(text, "Eloquent")[0]) == pytest.approx(5, abs=2)
    assert row(text, "TCP (gRPC)")[1] == "–"  # no gap was observed, and none is not 0
    assert row(text, "c1")[0] == "good"
    assert row(text, "c2")[:2] == ["bad", "–"]
    assert [percent(cell) for cell in row(text, "c2")[2:]] == pytest.approx([50, 5], abs=2)
    assert "no alert fires" in text
    assert "load" not in text


def test_what_is_not_valid_is_told_first():
    nothing = Frame(
        {heading: {} for heading in ("stall ratio", "gap p95", "TTFT p95", "tokens/s", "streams")},
        {},
        {},
        {},
        {},
        {},
        (),
    )
    lines = drawn(nothing, {"the rounds": ["c1 lagged"], "the load test load-2": ["links late"]}).splitlines()
    assert [line.strip() for line in lines[:4]] == [
        "here",
        "the rounds, not valid: c1 lagged",
        "the load test load-2, not valid: links late",
        "",
    ]


def test_alerts_that_fire_and_a_load_are_shown():
    frame = Frame(
        by_scheme={heading: {} for heading in ("stall ratio", "gap p95", "TTFT p95", "tokens/s", "streams")},
        by_client={},
        links={("c10", "down"): 0.0, ("c2", "down"): 0.9},
        measured={},
        users={("grpc",): 12.0, ("eloquent",): 8.0},
        lag={("c1",): 0.004, ("c2",): 0.031},
        alerts=(
            Alert("StallRatioHigh", "firing", "warning", "c1 stalls over grpc"),
            Alert("TargetDown", "pending", "critical", "nobody knows yet"),
        ),
    )
    text = drawn(frame)
    assert "StallRatioHigh  c1 stalls over grpc" in text
    assert "nobody knows yet" not in text
    assert row(text, "all") == ["20", "31", "ms"]
    assert text.index("c2 ") < text.index("c10 ")
