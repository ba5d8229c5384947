"""Users who come and go at Locust's word. Locust changes the whole process, so it has one of its own."""

import subprocess
import sys

from eloquent.load.job import THREADS_VARIABLE

LOCUST = """
import gevent
from locust.env import Environment
from eloquent.load.dispatcher import EvenDispatcher
from eloquent.load.worker import ChatUser, user_classes

class Chat(ChatUser):
    abstract = True
    def __init__(self, environment):
        super(ChatUser, self).__init__(environment)
    def on_start(self): pass
    def on_stop(self): pass
    tasks = [lambda user: gevent.sleep(60)]

classes = [type(name, (Chat,), {"scheme": one.scheme}) for name, one in user_classes(["grpc", "sse", "eloquent"]).items()]
environment = Environment(user_classes=classes, dispatcher_class=EvenDispatcher)
runner = environment.create_local_runner()
for number in (3, 24, 6, 25, 4, 1):
    runner.start(number, spawn_rate=1000)
    with gevent.Timeout(30):
        while runner.user_count != number or runner.spawning_greenlet is None or not runner.spawning_greenlet.ready():
            gevent.sleep(0.05)
    print(number, *sorted(runner.user_classes_count.values()))
runner.quit()
"""


def test_locust_sends_away_whom_it_is_told_to():
    done = subprocess.run(
        [sys.executable, "-c", LOCUST],
        env={"PATH": "/usr/bin:/bin", THREADS_VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3 1 1 1", "24 8 8 8", "6 2 2 2", "25 8 8 9", "4 1 1 2", "1 0 0 1"]
