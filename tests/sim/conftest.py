"""A run directory that a lab might have left, made by the simulator itself, so that what its replay gives is known."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eloquent import schemes
from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.records.rows import SessionRow, StreamRow, TokenRow
from eloquent.records.run_directory import RunDirectory
from eloquent.sim.engine.session import constant_rate, run_session

EPOCH = 5000.0
ROUND = 15.0  # seconds from round to round
# A bad slot loses everything and a good one nothing, so that slots decide the fate of each packet and nothing is drawn.
LINE = "name=certain rtt=400ms loss=markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=1,slot=100ms)"


@pytest.fixture
def make_lab_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Make a run of two clients and two rounds of 10 s, whose link is certain about each packet."""

    def make(
        *, pause: float = 0.0, congestion_control: str = "bbr", line: str = LINE, scheme: str = "eloquent"
    ) -> RunDirectory:
        """Let each token after the 50th be rendered later by a pause, in seconds; another scheme has the name only."""
        run = RunDirectory.create(tmp_path / "runs", f"lab-{pause}-{congestion_control}")
        run.write_manifest(
            {
                "run": "lab",
                "scenario": {"name": "certain", "line": line},
                "seed": 7,
                "schemes": [scheme],
                "epoch_s": EPOCH,
                "kernel": "6.18",
                "congestion_control": congestion_control,
                "processor": {"busy": 0.5, "stolen": 0.01},
                "lateness": {"p99_s": 0.0007},
                "warnings": ["something was not as it should be"],
            }
        )
        link = parse_line(line)
        for number, client in enumerate(("c1", "c2")):
            schedules = {way: link.schedule(way, seed=7, link=client) for way in Direction}
            with (
                run.session_writer(client) as sessions,
                run.token_writer(client) as tokens,
                run.stream_writer(f"origin-{client}") as streams,
            ):
                for turn in (1, 2):
                    start = (turn - 1) * ROUND + 0.2 + number / 100
                    generated = [start + when for when in constant_rate(10.0)]
                    trace = run_session(
                        schemes.get("eloquent"), link, seed=turn, generated_s=generated, schedules=schedules
                    )
                    assert trace.outcome == "ok"
                    name = f"{client}.{scheme}.r{turn}"
                    for index, (made, seen) in enumerate(zip(generated, trace.rendered_s, strict=True)):
                        tokens.write(TokenRow(name, index, EPOCH + made, EPOCH + seen + pause * (index > 50)))
                    times = EPOCH + start, EPOCH + start + ROUND
                    sessions.write(SessionRow(name, client, scheme, turn, *times, "ok", len(generated)))
                    account = trace.account
                    sent = account.original_bytes, account.redundant_bytes, account.packets, account.wire_bytes
                    streams.write(StreamRow(name, client, scheme, len(generated), *sent))
                failed = f"{client}.{scheme}.r3"
                sessions.write(SessionRow(failed, client, scheme, 3, EPOCH, EPOCH, "unavailable", 0))
        return run

    return make
