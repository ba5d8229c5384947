"""What both carriers share: which direction of which link loses how much, when, and how the lab steers them.

A carrier is a process that impairs every access link of the lab. It reads its plan, one JSON object on one line, from standard
input, and then commands, one a line, each answered by one line on standard output. Plan and commands have an `id`, a number that
their answer repeats, so that one who gave up waiting for an answer does not take it for that of his next question:

    {"force": "best"}         every direction at its lowest loss (for the self-test and the time before the first round)
    {"force": "worst"}        every direction at its highest loss (for the self-test)
    {"schedule": EPOCH}       from now on as the schedules say; slot 0 begins at EPOCH, a second of CLOCK_MONOTONIC
    {"schedule": EPOCH, "loss": "markov(...)"}    likewise, but with another loss model towards the clients
    {"outage": LINK, "until": INSTANT}            both directions of a link lose everything until then, in the same seconds
    {"count": true}           the loss in force and the counters of each direction
    {"lateness": true}        how late the changes of state were applied since the scenario's own schedule began

State changes are due at absolute instants, so one that is late does not delay the next. End of input ends the process.

What makes an instant's changes late is told in three words: the carrier `worked`, and so did not look at the time; it `waited` for
a processor, which somebody of higher priority had; or it `slept`, woken late although a processor was free for it: then the machine
itself stood still, as a virtual one does while its hypervisor lets others run.
"""

import contextlib
import ctypes
import heapq
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eloquent.channel.loss import parse_loss
from eloquent.channel.scenario import Scenario, parse_line
from eloquent.channel.schedule import Direction, Schedule
from eloquent.errors import EmulationError

LATENESS_KEPT = 100_000  # samples; the latest of them, so that a lab that stays up for days stays small
LATE = 0.005  # seconds, from which on it is told what made a change late
STDIN = 0
PRIORITY = 2  # of real time: above the switch's 1, so that its work on one packet makes no change of state late
MCL_CURRENT, MCL_FUTURE = 1, 2  # sys/mman.h


@dataclass(frozen=True, slots=True)
class ImpairedLink:
    """One access link: its name, the two devices the carrier owns, and what befalls packets on it.

    Attributes:
        name: The client whose link it is.
        client_device: The interface on which packets towards the client leave (netem) or the client's TAP (wire).
        network_device: The same for packets towards the network.
        scenario: The scenario, in its one-line form.
        seed: Seed of the schedule.
    """

    name: str
    client_device: str
    network_device: str
    scenario: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the link as the carrier's plan holds it."""
        return asdict(self)

    def parse_scenario(self) -> Scenario:
        """Parse the link's scenario."""
        return parse_line(self.scenario)

    def schedule(self, direction: Direction, loss: str | None = None) -> Schedule:
        """Return the link's loss in one direction.

        Args:
            direction: Direction on the link.
            loss: The loss model towards the client; None for the scenario's own.
        """
        if loss is not None and direction is Direction.DOWN:
            return Schedule(parse_loss(loss), seed=self.seed, link=self.name, direction=direction)
        return self.parse_scenario().schedule(direction, seed=self.seed, link=self.name)


@dataclass(frozen=True, slots=True)
class ImpairmentPlan:
    """What a carrier is to impair.

    Attributes:
        number: The plan's `id`.
        links: The access links.
    """

    number: int
    links: list[ImpairedLink]

    @classmethod
    def read(cls) -> "ImpairmentPlan":
        """Read the first line of standard input."""
        plan = json.loads(_read_line())
        return cls(plan["id"], [ImpairedLink(**link) for link in plan["links"]])

    def say_ready(self) -> None:
        """Tell the lab that its links are impaired from now on."""
        _say(self.number, {"ready": True})


def _read_line() -> bytes:
    """Read one line, byte by byte, so that what follows stays in the descriptor for `select`."""
    line = bytearray()
    while (byte := os.read(STDIN, 1)) not in {b"", b"\n"}:
        line += byte
    return bytes(line)


class LossScript:
    """When which direction changes its loss probability, in the order of time.

    Args:
        schedules: One per direction, at first; a direction is named by its place in this list.
    """

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        self._own = self._schedules = schedules
        self._pending: Iterator[tuple[float, int, float]] = iter(())
        self._next: tuple[float, int, float] | None = None

    def force(self, *, worst: bool) -> list[float]:
        """Leave the schedule; give the loss of each direction's worst or best state."""
        self._schedules = self._own
        self._pending, self._next = iter(()), None
        return [schedule.model.worst_loss if worst else schedule.model.best_loss for schedule in self._schedules]

    def start(self, *, epoch: float, now: float, schedules: Sequence[Schedule] | None = None) -> list[float]:
        """Follow the schedules, or others; give the loss of each direction at `now`, which may lie before the epoch."""
        self._schedules = self._own if schedules is None else schedules
        offset = max(0.0, now - epoch)
        self._pending = heapq.merge(
            *(self._changes(index, epoch, offset) for index in range(len(self._schedules))),
            key=lambda change: change[0],
        )
        self._next = next(self._pending, None)
        return [schedule.loss_at(offset) for schedule in self._schedules]

    def _changes(self, index: int, epoch: float, offset: float) -> Iterator[tuple[float, int, float]]:
        for at, loss in self._schedules[index].changes(offset):
            yield epoch + at, index, loss

    @property
    def deadline(self) -> float:
        """The instant of the next change; infinity where there is none."""
        return float("inf") if self._next is None else self._next[0]

    def due(self, now: float) -> Iterator[tuple[float, int, float]]:
        """Yield the changes that are due: planned instant, direction, new loss."""
        while self._next is not None and self._next[0] <= now:
            change, self._next = self._next, next(self._pending, None)
            yield change


class Steering:
    """The carrier's side of the commands, and the application of the script.

    Args:
        links: The plan.
        set_loss: Applies a loss probability, 0..1, to a direction.
        count: Gives the counters of all directions: packets carried, lost, and dropped at a full queue.
    """

    def __init__(
        self,
        links: Sequence[ImpairedLink],
        *,
        set_loss: Callable[[int, float], None],
        count: Callable[[], list[dict[str, int]]],
    ) -> None:
        self._links = links
        self._directions = [(link.name, direction) for link in links for direction in Direction]
        self._script = LossScript([link.schedule(direction) for link in links for direction in Direction])
        self._set_loss = set_loss
        self._count = count
        self._loss = [0.0] * len(self._directions)  # but for an outage
        self._outage_ends: dict[int, float] = {}  # by direction, while one lasts
        self._lateness: deque[float] = deque(maxlen=LATENESS_KEPT)
        self._instants = 0  # with changes
        self._late = dict.fromkeys(("worked", "waited", "slept"), 0)  # instants whose changes were, by the cause
        self._rested = 0.0  # when the carrier last began to wait
        self._waited = _processor_wait()
        self._received = bytearray()
        self._apply(self._script.force(worst=False))

    @property
    def deadline(self) -> float:
        """When `apply_due` wants to be called next, in seconds of CLOCK_MONOTONIC."""
        return min((self._script.deadline, *self._outage_ends.values()))

    def rest(self) -> None:
        """Note that the carrier begins to wait: nothing keeps it from looking at the time."""
        self._rested = time.monotonic()

    def apply_due(self) -> None:
        """Apply the changes of state that are due, and note how late each was."""
        now = time.monotonic()
        earliest = self._script.deadline
        for index in [index for index, end in self._outage_ends.items() if end <= now]:
            del self._outage_ends[index]
            self._set_loss(index, self._loss[index])
        for planned, index, loss in self._script.due(now):
            self._change(index, loss)
            self._lateness.append(time.monotonic() - planned)
        if earliest <= now:
            self._note_instant(earliest, now)

    def _note_instant(self, planned: float, applied: float) -> None:
        """Note what made the changes of an instant late, if they were."""
        before, self._waited = self._waited, _processor_wait()
        self._instants += 1
        late = applied - planned
        if late < LATE:
            return
        if planned < self._rested:
            self._late["worked"] += 1
        else:
            self._late["waited" if self._waited - before > late / 2 else "slept"] += 1

    def _change(self, index: int, loss: float) -> None:
        """Give a direction another loss, in an outage from its end on."""
        self._loss[index] = loss
        if index not in self._outage_ends:
            self._set_loss(index, loss)

    def read_commands(self) -> bool:
        """Read what standard input holds and obey it.

        Returns:
            False at the end of input: the lab is gone, and the carrier must end.
        """
        received = os.read(STDIN, 65536)
        self._received += received
        while (end := self._received.find(b"\n")) >= 0:
            self._obey(json.loads(self._received[:end]))
            del self._received[: end + 1]
        return bool(received)

    def _obey(self, command: dict[str, Any]) -> None:
        answer: dict[str, Any] = {}
        match command:
            case {"force": "best" | "worst" as state}:
                self._apply(self._script.force(worst=state == "worst"))
            case {"schedule": float(epoch)}:
                loss = command.get("loss")
                schedules = [link.schedule(direction, loss) for link in self._links for direction in Direction]
                if loss is None:  # another model is a stage of what goes on
                    self._lateness.clear()
                    self._instants, self._late = 0, dict.fromkeys(self._late, 0)
                self._apply(self._script.start(epoch=epoch, now=time.monotonic(), schedules=schedules))
            case {"outage": str(name), "until": float(until)}:
                for index in (index for index, (link, _) in enumerate(self._directions) if link == name):
                    self._outage_ends[index] = until
                    self._set_loss(index, 1.0)
            case {"count": True}:
                answer = {"directions": self._describe()}
            case {"lateness": True}:  # sorts its samples, so it is asked once, when the rounds are over
                answer = summarise_lateness(self._lateness) | {"instants": self._instants, "late": self._late}
            case _:
                raise EmulationError(f"the carrier does not know the command {command}")
        _say(command["id"], answer)

    def _apply(self, losses: Iterable[float]) -> None:
        for index, loss in enumerate(losses):
            self._change(index, loss)

    def _describe(self) -> list[dict[str, Any]]:
        in_force = (1.0 if index in self._outage_ends else loss for index, loss in enumerate(self._loss))
        return [
            {"link": link, "direction": direction.value, "loss": loss, **counters}
            for (link, direction), loss, counters in zip(self._directions, in_force, self._count(), strict=True)
        ]


def _processor_wait() -> float:
    """Return the seconds that this process was ready to run and had no processor; 0 where the kernel does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_bytes().split()[1]) * 1e-9
    except FileNotFoundError:
        return 0.0


def summarise_lateness(samples: Iterable[float]) -> dict[str, float | int | None]:
    """Return count, median, 99th percentile and maximum of the lateness samples, in seconds; None where there are none."""
    ordered = sorted(samples)
    if not ordered:
        return {"changes": 0, "p50_s": None, "p99_s": None, "max_s": None}
    last = len(ordered) - 1
    return {
        "changes": len(ordered),
        "p50_s": ordered[round(0.50 * last)],
        "p99_s": ordered[round(0.99 * last)],
        "max_s": ordered[last],
    }


def _say(number: int, answer: dict[str, Any]) -> None:
    """Answer the question of this number, with one line."""
    sys.stdout.write(json.dumps({"id": number, **answer}) + "\n")
    sys.stdout.flush()


def prefer_this_process() -> None:
    """Ask the kernel to run this process before the load that it impairs, as a real link would not wait for the load either."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except PermissionError:
        print("the carrier may not have real-time priority here; changes of state may be late", file=sys.stderr)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
    if ctypes.CDLL(None).mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        print("the carrier may not lock its memory here; a page fault may make a change of state late", file=sys.stderr)
