"""The users of many client hosts, inside Locust: what they ask, what they see, and whether this process keeps up.

Rules of this file: users are greenlets, as Locust has them, and all answers are read in one asyncio loop, in a thread of its own,
by clients whose connections leave from the network of the user's host. So gevent must not stand in for threads and sockets here.
What the users see goes three ways: to the logs, from which the summary is made, to Prometheus, and to Locust's statistics, which
greenlets alone may touch. What comes by the token is gathered for logs and statistics, and handed on many at once.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gevent  # type: ignore[import-untyped]  # ships without annotations
from gevent import monkey
from gevent.event import Event  # type: ignore[import-untyped]
from locust import User, task
from locust.env import Environment

from eloquent import asking, telemetry
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed
from eloquent.errors import ConfigurationError
from eloquent.load.conversation import Turn, read_prompts, turns
from eloquent.load.dispatcher import class_name
from eloquent.load.job import THREADS_VARIABLE, LoadJob
from eloquent.load.lag import LagSampler
from eloquent.load.reading import LoadQuestion, Reading
from eloquent.load.reading_loop import ReadingLoop
from eloquent.load.waits import Waits
from eloquent.records.run_directory import RunDirectory
from eloquent.screen import SchemeMetrics, Screen, SessionLog

WARM_UP_TIME = 20.0  # seconds for each connection
FLUSH_INTERVAL = 0.25  # seconds between two times that logs are written and Locust is told
DEADLINE_MARGIN = 60.0  # seconds beyond twice the length of an answer until it is given up
GIL_INTERVAL = 0.0005  # seconds that one of the two threads may hold the other up

_logger = logging.getLogger(__name__)


class ClientHost:
    """A client host and its users.

    Args:
        job: The load test.
        name: Its name.
        network: The file of the network that its users ask from; None for the process's own.
        metrics: The worker's.
    """

    def __init__(self, job: LoadJob, name: str, network: Path | None, metrics: telemetry.LoadMetrics) -> None:
        options = job.options
        self.name = name
        self.log = SessionLog(job.folder, name, is_buffered=True)
        self.metrics = {scheme: SchemeMetrics(metrics, name, scheme) for scheme in options.schemes}
        self.ways = {
            scheme: asking.connect(
                scheme, job.addresses, network=network, via=options.via, model=job.model, shares=True
            )
            for scheme in options.schemes
        }
        self._schemes = options.schemes
        self._numbers = {scheme: itertools.count() for scheme in options.schemes}

    def next_number(self, scheme: str) -> int:
        """Number a new user of this host, by how many of his scheme there were: two tests with one seed have the same users."""
        return self._schemes.index(scheme) + 1 + len(self._schemes) * next(self._numbers[scheme])

    async def warm_up(self, scheme: str, prompt: str) -> None:
        """Get one token by a scheme, so that a connection is open and all that is done once is done.

        What does not come is left to the users, whose sessions then fail and are seen.
        """
        question = LoadQuestion(prompt, max_tokens=1, token_gap=0.1, deadline=WARM_UP_TIME)
        metadata = names.owner_metadata(client=self.name, scheme=scheme, session=f"{self.name}.{scheme}.r0")
        with contextlib.suppress(AnswerFailed):
            async for _ in self.ways[scheme].answer(question, metadata):
                pass

    async def close(self) -> None:
        """Close connections and logs."""
        for way in self.ways.values():
            await way.close()
        self.log.close()


class Worker:
    """One load worker.

    Args:
        job: The load test.
        name: Its name in the job.
        prompts: File of the questions, one a line.

    Raises:
        ConfigurationError: The job has no such worker, or Locust has put gevent in the place of this process's threads.
    """

    def __init__(self, job: LoadJob, name: str, prompts: Path) -> None:
        if monkey.is_module_patched("threading"):
            raise ConfigurationError(
                f"a load worker reads in a thread: start it with {THREADS_VARIABLE}=1 in its environment"
            )
        if name not in job.workers:
            raise ConfigurationError(f"the load test has no worker '{name}': it has {', '.join(job.workers)}")
        sys.setswitchinterval(GIL_INTERVAL)
        self.job = job
        self.name = name
        self.prompts = read_prompts(prompts)
        self.metrics = telemetry.LoadMetrics()
        self.hosts = {
            client: ClientHost(job, client, network, self.metrics)
            for client, network in job.workers[name].clients.items()
        }
        # Each is logged by itself: one that is starved is not averaged away with the other.
        self._lag_logs = [RunDirectory(job.folder).lag_writer(f"{name}{of}") for of in ("", "-users")]
        self._readers_lag, self._users_lag = (LagSampler(name, self.metrics.lag, log) for log in self._lag_logs)
        self._waits = {scheme: Waits() for scheme in job.options.schemes}
        self._loop = ReadingLoop()
        self._ended: deque[Callable[[], object]] = deque()  # to be called by a greenlet
        self._bell = gevent.get_hub().loop.async_()  # which the reading loop rings
        self._bell.start(self._wake)

    def warm_up(self) -> None:
        """Open the connections that the users will need, and get a token by each; nothing of it is logged or counted."""
        options = self.job.options
        each = math.ceil(options.users / len(self.job.clients) / len(options.schemes))

        async def warm_all() -> None:
            await asyncio.gather(
                *(
                    host.warm_up(scheme, self.prompts[0])
                    for host in self.hosts.values()
                    for scheme in options.schemes
                    for _ in range(each)
                )
            )

        self._loop.run(warm_all())

    def start(self, environment: Environment) -> None:
        """Show the metrics, begin to measure the lag, and tell Locust from now on what is read.

        Args:
            environment: Locust's.
        """
        telemetry.serve(self.job.workers[self.name].metrics)
        gevent.spawn(self._users_lag.sample, gevent.sleep)
        gevent.spawn(self._flush_again_and_again, environment)
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again would be lag
        self._loop.begin(self._readers_lag.sample_loop())

    def end(self) -> None:
        """Measure the lag no more: the users are about to leave."""
        for lag in (self._readers_lag, self._users_lag):
            lag.end()

    def close(self) -> None:
        """Close connections and logs."""

        async def close_all() -> None:
            for host in self.hosts.values():
                await host.close()

        self._loop.run(close_all())
        self._loop.close()
        self._bell.close()
        for log in self._lag_logs:
            log.close()

    def read(self, host: ClientHost, user: int, scheme: str, turn: Turn, *, on_end: Callable[[], object]) -> Reading:
        """Ask for a user, and begin to read the answer.

        Args:
            host: Where the user is.
            user: Number of the user there.
            scheme: What carries the answer.
            turn: What the user does.
            on_end: Called by a greenlet when all is done.
        """
        options = self.job.options
        session = f"{host.name}.{scheme}.l{self.job.number}u{user}t{turn.number}"
        screen = Screen(
            session,
            client=host.name,
            scheme=scheme,
            round_number=turn.number,
            requested_s=time.monotonic(),
            metrics=host.metrics[scheme],
            log=host.log,
        )
        question = LoadQuestion(
            prompt=turn.prompt,
            max_tokens=turn.tokens,
            token_gap=options.token_gap_s,
            deadline=2 * turn.tokens * options.token_gap_s + DEADLINE_MARGIN,
        )

        def end() -> None:
            self._ended.append(on_end)
            self._bell.send()

        reading = Reading(
            host.ways[scheme],
            question,
            names.owner_metadata(client=host.name, scheme=scheme, session=session),
            screen,
            self._waits[scheme],
            leave_after=turn.leave_after,
            on_end=end,
        )
        self._loop.call(reading.start)
        return reading

    def leave(self, reading: Reading) -> None:
        """Have an answer left at once; does nothing after its end."""
        self._loop.call(reading.leave)

    def tell(self, environment: Environment) -> None:
        """Tell Locust what was read."""
        for scheme, waits in self._waits.items():
            waits.tell(environment.stats, scheme)

    def _flush_logs(self) -> None:
        for host in self.hosts.values():
            try:
                host.log.flush()
            except OSError:  # sessions whose tokens cannot be logged fail when they end
                _logger.exception("the tokens of %s could not be logged", host.name)

    def turns(self, host: ClientHost, user: int) -> Iterator[Turn]:
        """Yield what a user does."""
        options = self.job.options
        return turns(
            seed=options.seed,
            client=host.name,
            user=user,
            prompts=self.prompts,
            think_s=options.think_s,
            answer_tokens=options.answer_tokens,
        )

    def _flush_again_and_again(self, environment: Environment) -> None:
        while True:
            gevent.sleep(FLUSH_INTERVAL)
            self.tell(environment)
            self._flush_logs()

    def _wake(self) -> None:
        """Let the users go on whose answers have ended."""
        while self._ended:
            self._ended.popleft()()


def user_classes(schemes: Sequence[str], clients: Sequence[str]) -> dict[str, type["ChatUser"]]:
    """Make the user class of each scheme at each client host.

    Args:
        schemes: Names of the schemes.
        clients: Names of the client hosts.

    Returns:
        The classes by name.
    """
    named = {class_name(scheme, client): (scheme, client) for client in clients for scheme in schemes}
    return {
        name: type(name, (ChatUser,), {"scheme": scheme, "client": client}) for name, (scheme, client) in named.items()
    }


class ChatUser(User):
    """One user: asks, reads, thinks, asks again.

    Attributes:
        worker: Set by the locustfile.
        scheme: What carries the answers.
        client: Name of the client host; each scheme has a class of its own there, so that Locust knows who comes and who leaves.
    """

    abstract = True
    worker: Worker
    scheme: str
    client: str

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._host = self.worker.hosts[self.client]
        self._number = self._host.next_number(self.scheme)
        self._turns = self.worker.turns(self._host, self._number)

    def on_start(self) -> None:
        """Come."""
        self.worker.metrics.users.labels(self.client, self.scheme).inc()

    def on_stop(self) -> None:
        """Go."""
        self.worker.metrics.users.labels(self.client, self.scheme).dec()

    @task
    def chat(self) -> None:
        """Take one turn."""
        turn = next(self._turns)
        gevent.sleep(turn.think_s)
        over = Event()
        reading = self.worker.read(self._host, self._number, self.scheme, turn, on_end=over.set)
        try:
            over.wait()
        finally:
            if not over.is_set():  # the test ends in the middle of the answer
                self.worker.leave(reading)
                over.wait()
            self._tell(reading)

    def _tell(self, reading: Reading) -> None:
        """Count an answer that has ended; Locust's statistics are in milliseconds."""
        self.worker.tell(self.environment)
        self.environment.events.request.fire(
            request_type=self.scheme,
            name="stream",
            response_time=reading.stream_s * 1e3,
            response_length=reading.tokens,
            exception=reading.failure,
            context={},
        )
        if reading.failure is not None:
            self.worker.metrics.failures.labels(self.client, self.scheme, reading.outcome).inc()
