"""Figure 7: traces from files, and all traces as one sample."""

from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.paper.figure7 import POOLED, SHIPPED, printed_table, read_traces, replay, sessions_each

PACKETS = [f"{step / 10:.6f} {'lost' if step % 10 < 2 else 'arrived'}" for step in range(100)]
TRACE = "\n".join(["eloquent loss trace 1", *PACKETS, "10.000000 end"]) + "\n"


def test_the_shipped_traces_are_links_that_begin_anywhere():
    links = read_traces(None)
    assert [link.name for link in links] == list(SHIPPED)
    for link in links:
        assert link.rtt == 0.4
        assert link.loss_down.start is True
        assert len(link.loss_down.shares) * link.loss_down.slot == pytest.approx(300, abs=2)


def test_a_folder_holds_scenarios_or_else_traces(tmp_path: Path):
    (tmp_path / "walk.txt").write_text(TRACE)
    (tmp_path / "train.down").write_text("10\n20\n2000\n")
    train, walk = read_traces(tmp_path)
    assert (train.name, walk.name, walk.rtt) == ("train", "walk", 0.4)
    assert walk.loss_down.stationary_loss == pytest.approx(0.2, abs=0.02)
    assert train.loss_down.stationary_loss == pytest.approx(0.99, abs=0.01)

    (tmp_path / "office").mkdir()
    (tmp_path / "office" / "scenario.yaml").write_text("rtt: 50ms\nloss: trace(file=../walk.txt, slot=20ms)\n")
    (office,) = read_traces(tmp_path)
    assert (office.name, office.rtt) == ("office", 0.05)


@pytest.mark.parametrize(("files", "message"), [({}, "holds no traces"), ({"notes.md": "hello"}, "notes.md")])
def test_a_folder_without_traces_is_refused(tmp_path: Path, files: dict[str, str], message: str):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_traces(tmp_path)


def test_sessions_of_all_traces_are_one_sample():
    links = read_traces(None)
    assert sessions_each(30, links) == 10
    found = replay(("tcp-simple", "eloquent"), links, sessions=5, generated_s=constant_rate(6.0), seed=1)
    assert list(found) == [POOLED, *SHIPPED]
    for place in (0, 1):
        parts = [found[name][place] for name in SHIPPED]
        assert found[POOLED][place].outcomes.total() == 6 == sum(part.outcomes.total() for part in parts)
        assert len(set(found[POOLED][place].column("session"))) == found[POOLED][place].outcomes["ok"]
        stalls = sum(sum(part.column("stall_s")) for part in parts)
        assert sum(found[POOLED][place].column("stall_s")) == pytest.approx(stalls)
    rows = printed_table(found).rows
    assert [row[:4] for row in rows[:2]] == [
        (POOLED, "stall ratio", "Simple TCP", -27.4),
        (POOLED, "late tokens", "Simple TCP", -40.4),
    ]
