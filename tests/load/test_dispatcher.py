"""Users who come and go at Locust's word. Locust changes the whole process, so it has one of its own."""

import subprocess
import sys

import pytest

from eloquent.load.job import JOB_VARIABLE, THREADS_VARIABLE

pytestmark = pytest.mark.processes

SCHEMES = ("grpc", "sse", "eloquent")
LOCUST = """
from functools import partial
import gevent
from locust.env import Environment
from eloquent.load.dispatcher import EvenDispatcher, RollCall
from eloquent.load.job import read_job
from eloquent.load.worker import ChatUser, user_classes

class Chat(ChatUser):
    abstract = True
    def __init__(self, environment):
        super(ChatUser, self).__init__(environment)
    def on_start(self): pass
    def on_stop(self): pass
    tasks = [lambda user: gevent.sleep(60)]

job, roll = read_job(), RollCall()
all_of_them = user_classes(job.options.schemes, job.clients)
classes = [type(name, (Chat,), {"scheme": one.scheme, "client": one.client}) for name, one in all_of_them.items()]
environment = Environment(user_classes=classes, dispatcher_class=partial(EvenDispatcher, job, roll))
runner = environment.create_local_runner()
gevent.spawn_later(0.1, roll.note, "local", {"eloquent_worker": "worker-1"})
for number in (3, 24, 6, 25, 4, 1):
    runner.start(number, spawn_rate=1000)
    with gevent.Timeout(30):
        while runner.user_count != number or runner.spawning_greenlet is None or not runner.spawning_greenlet.ready():
            gevent.sleep(0.05)
    users = [greenlet.args[0] for greenlet in runner.user_greenlets]
    print(number, *sorted(sum(user.scheme == one for user in users) for one in job.options.schemes),
          "at", *sorted(sum(user.client == one for user in users) for one in job.clients))
runner.quit()
"""
TWO_WORKERS = """
from locust.runners import WorkerNode
from eloquent.load.dispatcher import EvenDispatcher, RollCall
from eloquent.load.job import read_job

roll = RollCall()
roll.note("a", {"eloquent_worker": "worker-2"})
roll.note("b", {"eloquent_worker": "worker-1"})
dispatcher = EvenDispatcher(read_job(), roll, worker_nodes=[WorkerNode("a"), WorkerNode("b")], user_classes=[])

def show():
    dispatcher.new_dispatch(4, 100)
    for node, counts in next(dispatcher).items():
        print(node, *(f"{name}={count}" for name, count in counts.items()))

show()
dispatcher.remove_worker(WorkerNode("a"))
show()
"""


def run(script, job, folder):
    (folder / "job.json").write_text(job.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", JOB_VARIABLE: str(folder / "job.json"), THREADS_VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_worker_has_the_users_of_its_hosts_and_the_others_have_them_when_it_is_gone(make_job, tmp_path):
    assert run(TWO_WORKERS, make_job(hosts=2, workers=2, schemes=("grpc", "sse")), tmp_path) == [
        "a Chatter_grpc_c1=0 Chatter_sse_c1=0 Chatter_grpc_c2=1 Chatter_sse_c2=1",
        "b Chatter_grpc_c1=1 Chatter_sse_c1=1 Chatter_grpc_c2=0 Chatter_sse_c2=0",
        "b Chatter_grpc_c1=2 Chatter_sse_c1=2",
    ]


def test_locust_sends_away_whom_it_is_told_to(make_job, tmp_path):
    assert run(LOCUST, make_job(hosts=2, schemes=SCHEMES), tmp_path) == [
        "3 1 1 1 at 1 2",
        "24 8 8 8 at 12 12",
        "6 2 2 2 at 3 3",
        "25 8 8 9 at 12 13",
        "4 1 1 2 at 2 2",
        "1 0 0 1 at 0 1",
    ]
