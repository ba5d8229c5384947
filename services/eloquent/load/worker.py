"""The users of one client host, inside Locust: what they ask, what they see, and whether this process keeps up.

Rules of this file: it runs under gevent, which Locust has put in the place of threads and sockets. What the users see goes three
ways: to the logs, from which the summary is made, to Prometheus, and to Locust's statistics. A user who turns away has not failed.
"""

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import gevent  # type: ignore[import-untyped]  # ships without annotations
from locust import User, task
from locust.env import Environment

from eloquent import telemetry
from eloquent.load.clients import AskFailed, Client, Question, connect
from eloquent.load.conversation import Turn, turns
from eloquent.load.job import LoadJob
from eloquent.load.lag import LagSampler
from eloquent.nodes.screen import SchemeMetrics, Screen, ViewerLog
from eloquent.report.figures import LEFT, SUCCESS

WARM_UP_TIME = 20.0  # seconds for all of it
PATIENCE = 10.0  # seconds for the first token; who waits longer was not answered
DEADLINE_MARGIN = 60.0  # seconds beyond twice the length of an answer until it is given up

_logger = logging.getLogger(__name__)


class Worker:
    """The load process of one client host.

    Args:
        job: The load test.
        client: Name of the client host.
        prompts: File of the questions, one a line.
    """

    def __init__(self, job: LoadJob, client: str, prompts: Path) -> None:
        self.job = job
        self.client = client
        self.prompts = tuple(line for line in prompts.read_text(encoding="utf-8").splitlines() if line)
        self.log = ViewerLog(job.folder, client)
        self.metrics = telemetry.LoadMetrics()
        self.scheme_metrics = {name: SchemeMetrics(self.metrics, client, name) for name in job.options.schemes}
        self._lag = LagSampler(client, self.metrics.lag, self.log.lag)
        self._numbers = itertools.count(1)
        self._clients: dict[str, Client] = {}

    def warm_up(self) -> None:
        """Open the connections that the users will need, and get a token by each, so that all that is done once is done.

        Nothing of it is logged or counted. What does not come is left to the users, whose sessions then fail and are seen.
        """
        options = self.job.options
        each = math.ceil(options.users / len(self.job.clients) / len(options.schemes))
        asking = [gevent.spawn(self._ask_once, scheme) for scheme in options.schemes for _ in range(each)]
        gevent.joinall(asking, timeout=WARM_UP_TIME)
        gevent.killall(asking)

    def _ask_once(self, scheme: str) -> None:
        question = Question(self.prompts[0], max_tokens=1, token_gap_s=0.1, timeout_s=WARM_UP_TIME)
        with contextlib.suppress(AskFailed):
            for _ in self.connection(scheme).ask(question, client=self.client, session=f"{self.client}.{scheme}.r0"):
                pass

    def start(self) -> None:
        """Show the metrics and begin to measure the lag."""
        telemetry.serve(self.job.metrics[self.client])
        self._lag.start()

    def close(self) -> None:
        """Close connections and logs."""
        for client in self._clients.values():
            client.close()
        self.log.close()

    def next_number(self) -> int:
        """Number a new user of this host."""
        return next(self._numbers)

    def connection(self, scheme: str) -> Client:
        """Give the way to the answers by a scheme, which its users share."""
        if scheme not in self._clients:
            self._clients[scheme] = connect(scheme, self.job)
        return self._clients[scheme]

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


class ChatUser(User):
    """One user: asks, reads, thinks, asks again.

    Attributes:
        worker: Set by the locustfile.
        scheme: What carries the answers.
    """

    abstract = True
    worker: Worker

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._number = self.worker.next_number()
        self._turns = self.worker.turns(self._number)
        self.scheme = self.worker.job.scheme_of(self.worker.client, self._number)

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
        self._read(turn)

    def _read(self, turn: Turn) -> None:
        worker, options = self.worker, self.worker.job.options
        session = f"{worker.client}.{self.scheme}.l{worker.job.number}u{self._number}t{turn.number}"
        screen = Screen(
            session,
            client=worker.client,
            scheme=self.scheme,
            round_number=turn.number,
            requested_s=time.monotonic(),
            metrics=worker.scheme_metrics[self.scheme],
            log=worker.log,
        )
        question = Question(
            prompt=turn.prompt,
            max_tokens=turn.tokens,
            token_gap_s=options.token_gap_s,
            timeout_s=2 * turn.tokens * options.token_gap_s + DEADLINE_MARGIN,
        )
        outcome, started, stream_s = LEFT, time.monotonic(), 0.0
        failure: Exception | None = None
        silence = AskFailed("deadline_exceeded", f"no token within {PATIENCE:g} s")
        patience = gevent.Timeout.start_new(PATIENCE, silence)
        try:
            for token in worker.connection(self.scheme).ask(question, client=worker.client, session=session):
                rendering = screen.render(generated_s=token.generated_s, rendered_s=time.monotonic())
                if rendering.gap_s is None:
                    patience.cancel()
                    self._tell("TTFT", time.monotonic() - started)
                else:
                    stream_s += rendering.gap_s
                    self._tell("gap", rendering.gap_s)
                if rendering.stall_s:
                    self._tell("stall", rendering.stall_s)
                if screen.tokens == turn.leave_after:
                    return
            outcome = SUCCESS
        except AskFailed as error:
            outcome, failure = error.outcome, error
        except Exception as error:  # a failed session is an outcome; its traceback is logged
            outcome, failure = "internal", error
            _logger.exception("%s failed", session)
        finally:  # also where the test ends in the middle of the answer
            patience.close()
            if failure is not None:
                worker.metrics.failures.labels(worker.client, self.scheme, outcome).inc()
            screen.end(outcome, ended_s=time.monotonic())
            self._tell("stream", stream_s, failure=failure, tokens=screen.tokens)

    def _tell(self, name: str, seconds: float, *, failure: Exception | None = None, tokens: int = 1) -> None:
        """Enter something into Locust's statistics, which count milliseconds."""
        self.environment.events.request.fire(
            request_type=self.scheme,
            name=name,
            response_time=seconds * 1e3,
            response_length=tokens,
            exception=failure,
            context={},
        )
