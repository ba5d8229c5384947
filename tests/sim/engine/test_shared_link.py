"""Several machines on one link."""

import random
from functools import partial

import pytest

from eloquent import schemes
from eloquent.channel.loss import IndependentLoss
from eloquent.channel.schedule import Direction, Schedule
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.sim.engine.shared_link import TICK, SharedLink
from eloquent.sim.engine.workload import Workload


class Clock:
    """A machine that says one word whenever its timer is due, and sets that a hair too early."""

    def __init__(self, gap: float) -> None:
        self.gap, self.due, self.looked = gap, 0.0, 0
        self.heard: list[float] = []

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        self.heard.append(now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        if self.gap and now >= self.due + 1e-9:
            self.due += self.gap
            return [bytes(72)]
        return []

    def next_event(self) -> None:
        return None

    def get_timer(self) -> float | None:
        return self.due if self.gap else None

    def handle_timer(self, *, now: float) -> None:
        self.looked += 1


def test_what_shares_a_link_waits_for_each_other():
    """Two machines that say 100 bytes each 0.1 s, at the same time, on a link that takes 0.05 s for that."""
    link = SharedLink(rtt=1.0, rate=2000.0)
    ears = []
    for name in ("a", "b"):
        end, ear = link.join(Clock(0.1), Clock(0.0), name)
        end.flush()
        ears.append(ear.machine)
        link.at(0.0, end.flush)
    link.run(2.0)
    (first, *_), (second, *_) = (ear.heard for ear in ears)
    assert first == pytest.approx(0.55, abs=1e-3)
    assert second == pytest.approx(0.60, abs=1e-3)
    assert link.wait(0.0, 1.0) == pytest.approx(0.1, abs=1e-3)
    assert link.rate("a", 1.0) == pytest.approx(1000.0, rel=0.1)
    assert link.sent["a", Direction.DOWN] == [20, 2000]
    assert link.sent["a", Direction.UP] == [0, 0]


def test_a_timer_that_is_due_a_hair_too_early_is_looked_at_again_soon():
    link = SharedLink(rtt=1.0)
    clock = Clock(0.1)
    end, _ = link.join(clock, Clock(0.0), "a")
    end.flush()
    link.run(10.0)
    assert link.sent["a", Direction.DOWN][0] == pytest.approx(100, abs=1)
    assert clock.looked <= 2 * 101
    assert end.due > 10.0 - TICK


def answered(*, lossy_from: float) -> tuple[SharedLink, Workload]:
    loss = IndependentLoss(probability=1.0)
    schedules = {Direction.DOWN: Schedule(loss, seed=1, link="c", direction=Direction.DOWN)}
    link = SharedLink(rtt=0.1, schedules=schedules, lossy_from=lossy_from)
    workload = Workload(link, ServerEndpoint(schemes.get, secret=bytes(32)), rate=20.0)
    clients = [ClientEndpoint(schemes.get, new_id=partial(random.Random(number).randbytes, 8)) for number in range(3)]
    workload.ask_in_turn(clients, answers=2, seconds=5.0)
    link.run(8.0)
    return link, workload


def test_each_client_gets_its_own_answers():
    _, workload = answered(lossy_from=100.0)
    assert set(workload.arrived) == workload.ended == {(client, number) for client in range(3) for number in range(2)}
    assert workload.arrived_share() == 1.0
    assert workload.arrived[2, 1][0] == pytest.approx(0.4 + 4 * 0.05)
    assert workload.delay() < workload.delay(1.0) < 0.15


def test_schedules_begin_when_they_are_told_to():
    link, workload = answered(lossy_from=3.0)
    assert workload.arrived_share() < 1.0
    assert not workload.ended
    last = max(instants[-1] for instants in workload.arrived.values())
    assert last == pytest.approx(3.05, abs=0.051)
    assert max(when for when, _ in link.carried["chat 0"]) < 3.0
