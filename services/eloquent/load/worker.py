"""The users of one client host, inside Locust: what they ask, what they see, and whether this process keeps up.

Rules of this file: users are greenlets, as Locust has them, and each answer is read by a thread; for gRPC under gevent costs twice
as much. So gevent must not stand in for threads and sockets here. What the users see goes three ways: to the logs, from which the
summary is made, to Prometheus, and to Locust's statistics, which greenlets alone may touch.
"""

import contextlib
import gc
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gevent  # type: ignore[import-untyped]  # ships without annotations
from gevent import monkey
from gevent.event import Event  # type: ignore[import-untyped]
from locust import User, task
from locust.env import Environment

from eloquent import telemetry
from eloquent.calls.answer import AnswerFailed
from eloquent.errors import ConfigurationError
from eloquent.load.clients import CancellationToken, LoadRequest, connect
from eloquent.load.conversation import Turn, read_prompts, turns
from eloquent.load.job import THREADS_VARIABLE, LoadJob
from eloquent.load.lag import LagSampler
from eloquent.load.reading import Reading
from eloquent.records.run_directory import RunDirectory
from eloquent.screen import SchemeMetrics, Screen, ViewerLog

WARM_UP_TIME = 20.0  # seconds for each connection
FIRST_TOKEN_TIMEOUT = 10.0  # seconds
TELL_INTERVAL = 0.25  # seconds between two looks at an answer that is being read
DEADLINE_MARGIN = 60.0  # seconds beyond twice the length of an answer until it is given up


class Worker:
    """The load process of one client host.

    Args:
        job: The load test.
        client: Name of the client host.
        prompts: File of the questions, one a line.

    Raises:
        ConfigurationError: Locust has put gevent in the place of this process's threads.
    """

    def __init__(self, job: LoadJob, client: str, prompts: Path) -> None:
        if monkey.is_module_patched("threading"):
            raise ConfigurationError(
                f"a load worker reads in threads: start it with {THREADS_VARIABLE}=1 in its environment"
            )
        self.job = job
        self.client = client
        self.prompts = read_prompts(prompts)
        self.log = ViewerLog(job.folder, client)
        self.metrics = telemetry.LoadMetrics()
        self.scheme_metrics = {name: SchemeMetrics(self.metrics, client, name) for name in job.options.schemes}
        self._users_log = RunDirectory(job.folder).lag_writer(f"{client}-users")
        self._lags = {  # each is logged by itself: one that is starved is not averaged away with the other
            "users": LagSampler(client, self.metrics.lag, self._users_log),
            "readers": LagSampler(client, self.metrics.lag, self.log.lag),
        }
        self._numbers = {name: itertools.count() for name in job.options.schemes}
        self._ways = {scheme: connect(scheme, job) for scheme in job.options.schemes}

    def warm_up(self) -> None:
        """Open the connections that the users will need, and get a token by each, so that all that is done once is done.

        Nothing of it is logged or counted. What does not come is left to the users, whose sessions then fail and are seen.
        """
        options = self.job.options
        each = math.ceil(options.users / len(self.job.clients) / len(options.schemes))
        with ThreadPoolExecutor(each * len(options.schemes)) as readers:
            readers.map(self._ask_once, [scheme for scheme in options.schemes for _ in range(each)])

    def _ask_once(self, scheme: str) -> None:
        question = LoadRequest(self.prompts[0], max_tokens=1, token_gap_s=0.1, timeout_s=WARM_UP_TIME)
        with contextlib.suppress(AnswerFailed):
            session = f"{self.client}.{scheme}.r0"
            list(
                self._ways[scheme].ask(question, client=self.client, session=session, cancellation=CancellationToken())
            )

    def start(self) -> None:
        """Show the metrics and begin to measure the lag."""
        telemetry.serve(self.job.metrics[self.client])
        gevent.spawn(self._lags["users"].sample, gevent.sleep)
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again would be lag
        threading.Thread(target=self._lags["readers"].sample, args=(time.sleep,), daemon=True).start()

    def end(self) -> None:
        """Measure the lag no more: the users are about to leave."""
        for lag in self._lags.values():
            lag.end()

    def close(self) -> None:
        """Close connections and logs."""
        for way in self._ways.values():
            way.close()
        self.log.close()
        self._users_log.close()

    def next_number(self, scheme: str) -> int:
        """Number a new user of this host, by how many of his scheme there were: two tests with one seed have the same users."""
        schemes = self.job.options.schemes
        return schemes.index(scheme) + 1 + len(schemes) * next(self._numbers[scheme])

    def read(self, user: int, scheme: str, turn: Turn, *, on_end: Callable[[], object]) -> Reading:
        """Ask for a user, and begin to read the answer.

        Args:
            user: Number of the user.
            scheme: What carries the answer.
            turn: What the user does.
            on_end: Called by the reading thread when all is done.
        """
        options = self.job.options
        screen = Screen(
            f"{self.client}.{scheme}.l{self.job.number}u{user}t{turn.number}",
            client=self.client,
            scheme=scheme,
            round_number=turn.number,
            requested_s=time.monotonic(),
            metrics=self.scheme_metrics[scheme],
            log=self.log,
        )
        question = LoadRequest(
            prompt=turn.prompt,
            max_tokens=turn.tokens,
            token_gap_s=options.token_gap_s,
            timeout_s=2 * turn.tokens * options.token_gap_s + DEADLINE_MARGIN,
        )
        reading = Reading(self._ways[scheme], question, screen, leave_after=turn.leave_after, on_end=on_end)
        reading.start()
        return reading

    def turns(self, user: int) -> Iterator[Turn]:
        """Yield what a user does."""
        options = self.job.options
        return turns(
            seed=options.seed,
            client=self.client,
            user=user,
            prompts=self.prompts,
            think_s=options.think_s,
            answer_tokens=options.answer_tokens,
        )


def user_classes(schemes: Iterable[str]) -> dict[str, type["ChatUser"]]:
    """Make the user class of each scheme.

    Args:
        schemes: Names of the schemes.

    Returns:
        The classes by name.
    """
    named = {f"Chatter_{scheme}": scheme for scheme in schemes}
    return {name: type(name, (ChatUser,), {"scheme": scheme}) for name, scheme in named.items()}


class ChatUser(User):
    """One user: asks, reads, thinks, asks again.

    Attributes:
        worker: Set by the locustfile.
        scheme: What carries the answers; each scheme has a class of its own, so that Locust knows who comes and who leaves.
    """

    abstract = True
    worker: Worker
    scheme: str

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._number = self.worker.next_number(self.scheme)
        self._turns = self.worker.turns(self._number)

    def on_start(self) -> None:
        """Come."""
        self.worker.metrics.users.labels(self.worker.client, self.scheme).inc()

    def on_stop(self) -> None:
        """Go."""
        self.worker.metrics.users.labels(self.worker.client, self.scheme).dec()

    @task
    def chat(self) -> None:
        """Take one turn."""
        turn = next(self._turns)
        gevent.sleep(turn.think_s)
        over = Event()
        bell = gevent.get_hub().loop.async_()  # what the reading thread may ring
        bell.start(over.set)
        reading = self.worker.read(self._number, self.scheme, turn, on_end=bell.send)
        given_up = time.monotonic() + FIRST_TOKEN_TIMEOUT
        try:
            while not over.wait(TELL_INTERVAL):
                self._tell(reading)
                if not reading.has_begun and time.monotonic() > given_up:
                    reading.leave(AnswerFailed("deadline_exceeded", f"no token within {FIRST_TOKEN_TIMEOUT:g} s"))
        finally:
            if not over.is_set():  # the test ends in the middle of the answer
                reading.leave()
                over.wait()
            bell.close()
            self._tell(reading)
            if reading.failure is not None:
                self.worker.metrics.failures.labels(self.worker.client, self.scheme, reading.outcome).inc()

    def _tell(self, reading: Reading) -> None:
        """Enter what was read into Locust's statistics, which count milliseconds."""
        while reading.entries:
            entry = reading.entries.popleft()
            self.environment.events.request.fire(
                request_type=self.scheme,
                name=entry.name,
                response_time=entry.seconds * 1e3,
                response_length=entry.tokens,
                exception=entry.failure,
                context={},
            )
