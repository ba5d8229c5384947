"""What Locust loads: the users, the shape that was asked for, and what master and workers tell.

`make load` runs it in the lab: the master, and a worker for each processor, whose users ask from the networks of the client hosts.
docs/load.md tells how to run it on more machines.
"""

import functools
import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import argument_parser, events, runners
from locust.env import Environment
from locust.runners import MasterRunner
from shapes import SHAPES

from eloquent import telemetry
from eloquent.load.dispatcher import EvenDispatcher, RollCall
from eloquent.load.job import WORKER_VARIABLE, read_job
from eloquent.load.lag import LagSampler
from eloquent.load.web_guard import guard
from eloquent.load.worker import ChatUser, Worker, user_classes
from eloquent.records.run_directory import RunDirectory

# Locust gives a silent worker up after 3 s, which a machine under full load may take to schedule it; the lab itself watches for
# workers that end, and the lag of one that is starved is measured.
runners.HEARTBEAT_LIVENESS = 30

# Locust's workers make its whole argument parser anew for each of its 80 options, at each change of the number of users: 0.4 s
# of processor time, for which all their users would stand still.
argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
argument_parser.default_args_dict()

PROMPTS = Path(__file__).with_name("prompts.txt")
MASTER = "master"  # what logs and metrics call it
SIGN_OF_LIFE = 1.0  # seconds between two lines of the master

JOB = read_job()
ROLL = RollCall()


class Shape(SHAPES[JOB.options.shape]):  # type: ignore[misc]  # chosen at run time
    """The shape of this test."""

    options = JOB.options


if WORKER_VARIABLE in os.environ:
    ChatUser.worker = Worker(JOB, os.environ[WORKER_VARIABLE], PROMPTS)
    ChatUser.worker.warm_up()


globals().update(user_classes(JOB.options.schemes, JOB.clients))  # where Locust looks for them


@events.report_to_master.add_listener
def introduce(data: dict[str, Any], **_: Any) -> None:
    """Say which worker this is, with each report, of which the first may come before the master can do anything with it."""
    data[RollCall.KEY] = ChatUser.worker.name


@events.worker_report.add_listener
def note(client_id: str, data: dict[str, Any]) -> None:
    """Note which worker reports."""
    ROLL.note(client_id, data)


@events.init.add_listener
def start(environment: Environment, **_: Any) -> None:
    """Begin what this process does beside its users."""
    if isinstance(environment.runner, MasterRunner):
        environment.dispatcher_class = functools.partial(EvenDispatcher, JOB, ROLL)
        if environment.web_ui is not None:
            guard(environment.web_ui.app)
        telemetry.serve(JOB.master_metrics)
        lag = LagSampler(MASTER, telemetry.LoadMasterMetrics().lag, RunDirectory(JOB.folder).lag_writer(MASTER))
        environment.events.test_start.add_listener(lambda **_: gevent.spawn(_tell_users, environment))
        environment.events.test_start.add_listener(lambda **_: gevent.spawn(lag.sample, gevent.sleep))
        environment.events.spawning_complete.add_listener(lambda **_: _say({"event": "all_there"}))
        environment.events.test_stopping.add_listener(lambda **_: _tell_end(environment))
        environment.events.test_stopping.add_listener(lambda **_: lag.end())
    else:
        ChatUser.worker.start(environment)
        environment.events.test_stopping.add_listener(lambda **_: ChatUser.worker.end())
        environment.events.quit.add_listener(lambda **_: ChatUser.worker.close())


def _tell_users(environment: Environment) -> None:
    """Tell the lab, on standard output, that the test has begun and how many users there are."""
    began = time.monotonic()
    _say({"event": "test_start"})
    while True:
        count = environment.runner.user_count if environment.runner else 0
        _say({"event": "users", "elapsed": time.monotonic() - began, "users": count})
        gevent.sleep(SIGN_OF_LIFE)


def _tell_end(environment: Environment) -> None:
    """Tell the lab, before the users go, whether the test has come to its end, or is stopped before, as its web page allows."""
    shape = environment.shape_class
    _say({"event": "test_stop", "complete": shape is not None and shape.tick() is None})


def _say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)
