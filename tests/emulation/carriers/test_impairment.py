"""The loss script: changes of state of all directions, in the order of time, and never twice."""

import json
import os
import subprocess
import sys
import time

import pytest

from eloquent.channel.loss import IndependentLoss, MarkovLoss
from eloquent.channel.schedule import Direction, Schedule
from eloquent.emulation.carriers.impairment import ImpairedLink, LossScript, Steering, summarise_lateness

MODEL = MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_bad=0.9, slot=0.1)
EPOCH = 1000.0


def schedules(count: int = 3) -> list[Schedule]:
    return [Schedule(MODEL, seed=7, link=f"c{number}", direction=Direction.DOWN) for number in range(count)]


def test_forced_states_leave_the_schedule():
    script = LossScript(schedules(2))
    script.start(epoch=EPOCH, now=EPOCH)
    assert script.force(worst=True) == [0.9, 0.9]
    assert script.deadline == float("inf")
    assert script.force(worst=False) == [0.0, 0.0]


def test_changes_come_in_order_and_give_the_schedules_loss():
    script = LossScript(schedules())
    loss = script.start(epoch=EPOCH, now=EPOCH - 5.0)
    assert loss == [schedule.loss_at(0.0) for schedule in schedules()]
    previous = EPOCH
    for step in range(1, 600):
        now = EPOCH + step * 0.05 + 0.001
        for planned, index, new_loss in script.due(now):
            assert previous <= planned <= now
            assert loss[index] != new_loss
            loss[index], previous = new_loss, planned
        assert loss == [schedule.loss_at(now - EPOCH) for schedule in schedules()]
        assert script.deadline > now


def test_a_late_start_meets_the_schedule_in_the_middle():
    script = LossScript(schedules(1))
    assert script.start(epoch=EPOCH, now=EPOCH + 12.34) == [schedules(1)[0].loss_at(12.34)]
    assert script.deadline > EPOCH + 12.34


def test_a_constant_loss_never_changes():
    script = LossScript([Schedule(IndependentLoss(probability=0.2), seed=1, link="c1", direction=Direction.UP)])
    assert script.start(epoch=EPOCH, now=EPOCH) == [0.2]
    assert script.deadline == float("inf")
    assert list(script.due(EPOCH + 1e6)) == []


def test_a_link_keeps_its_plan_through_json():
    link = ImpairedLink("c1", "a", "b", "rtt=400ms loss=independent(probability=0.1)", 3)
    assert ImpairedLink(**link.to_json()) == link
    assert link.parse_scenario().rtt == pytest.approx(0.4)
    assert link.schedule(Direction.UP).model.worst_loss == 0.0
    assert link.schedule(Direction.DOWN).model.worst_loss == 0.1


def test_lateness_is_summarised_by_order_statistics():
    assert summarise_lateness([]) == {"changes": 0, "p50_s": None, "p99_s": None, "max_s": None}
    samples = [number / 1000 for number in range(101)]
    assert summarise_lateness(samples) == {"changes": 101, "p50_s": 0.05, "p99_s": 0.099, "max_s": 0.1}


@pytest.fixture
def steering(monkeypatch, capsys):
    """The steering of two links, to be ordered as the lab does; gives it, the losses that it set, and what orders."""
    losses: dict[int, float] = {}
    links = [ImpairedLink(name, "a", "b", "rtt=0ms", 3) for name in ("c1", "c2")]
    made = Steering(links, set_loss=losses.__setitem__, count=lambda: [{}, {}, {}, {}])
    reader, writer = os.pipe()
    monkeypatch.setattr("eloquent.emulation.carriers.impairment.STDIN", reader)

    def order(**command: object) -> dict[str, object]:
        os.write(writer, json.dumps({"id": 7, **command}).encode() + b"\n")
        assert made.read_commands()
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        assert answer.pop("id") == 7
        return answer

    yield made, losses, order
    os.close(reader)
    os.close(writer)


def test_another_loss_model_is_a_stage_whose_lateness_adds_to_that_before(steering):
    """The ride of a load test: the scenario's schedule, then two other models, judged together."""
    steering, losses, order = steering
    often = "markov(stay_good=0,stay_bad=0,loss_in_bad=1,slot=10ms)"
    order(schedule=time.monotonic(), loss=None)
    assert losses == dict.fromkeys(range(4), 0.0)
    for stage in (1, 2):
        order(schedule=time.monotonic() - 0.25, loss=often)
        order(schedule=time.monotonic(), loss=often)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and order(lateness=True)["changes"] < 5 * stage:
            steering.apply_due()
            time.sleep(0.01)
        assert order(lateness=True)["changes"] >= 5 * stage
    order(schedule=time.monotonic(), loss=None)
    assert order(lateness=True)["changes"] == 0


STEERED = """
import os, sys, time
from eloquent.emulation.carriers.impairment import ImpairedLink, Steering
line = "rtt=0ms loss=markov(stay_good=0,stay_bad=0,loss_in_bad=1,slot=50ms)"
steering = Steering([ImpairedLink("c1", "a", "b", line, 3)], set_loss=lambda *_: None, count=lambda: [{}, {}])
reader, writer = os.pipe()
os.dup2(reader, 0)
def order(**command):
    os.write(writer, (__import__("json").dumps({"id": 1, **command}) + "\\n").encode())
    steering.read_commands()
order(schedule=time.monotonic())
end = time.monotonic() + 1.5
while time.monotonic() < end:
    steering.rest()
    time.sleep(max(0.0, steering.deadline - time.monotonic()))
    steering.apply_due()
    WORK
order(lateness=True)
"""
STOP = "time.sleep(0.03), os.kill(os.getppid(), 19), time.sleep(0.06), os.kill(os.getppid(), 18), os._exit(0)"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("cause", "work", "before"),
    [
        ("worked", "time.sleep(0.08)", ()),
        ("slept", f"os.fork() == 0 and ({STOP})", ()),  # as a hypervisor stops the whole machine
        ("waited", "pass", ("taskset", "--cpu-list", "0", "nice", "-n", "19")),  # beside one who takes all it can have
    ],
)
def test_what_makes_changes_late_is_told(cause: str, work: str, before: tuple[str, ...]):
    words = [*before, sys.executable, "-c", STEERED.replace("WORK", work)]
    with subprocess.Popen(["taskset", "--cpu-list", "0", sys.executable, "-c", "while True: pass"]) as hog:
        if cause != "waited":
            hog.kill()
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        hog.kill()
    lateness = json.loads(said.splitlines()[-1])
    assert lateness["instants"] >= 3
    assert lateness["late"][cause] >= 1, lateness


def test_an_outage_loses_everything_on_one_link_and_then_the_schedule_is_back(steering):
    """What the schedule changes meanwhile comes into force at the end; a new schedule does not end the outage."""
    steering, losses, order = steering

    def told() -> list[object]:
        return [direction["loss"] for direction in order(count=True)["directions"]]

    half = "independent(probability=0.5)"
    order(outage="c1", until=time.monotonic() + 0.3)
    assert losses == {0: 1.0, 1: 1.0, 2: 0.0, 3: 0.0}
    order(schedule=time.monotonic(), loss=half)
    assert losses == {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.0}
    assert told() == [1.0, 1.0, 0.5, 0.0]
    while (wait := steering.deadline - time.monotonic()) > 0:
        time.sleep(wait)
    steering.apply_due()
    assert losses == {0: 0.5, 1: 0.0, 2: 0.5, 3: 0.0}
    assert told() == [0.5, 0.0, 0.5, 0.0]
    assert steering.deadline == float("inf")
