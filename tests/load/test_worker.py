"""What becomes of a user's question that goes wrong. Locust changes the whole process, so each case has one of its own."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from eloquent.asking import Addresses
from eloquent.load.job import JOB_VARIABLE, THREADS_VARIABLE
from eloquent.records.run_directory import RunDirectory

pytestmark = pytest.mark.processes

SCRIPT = r"""
import asyncio
import resource
import sys
from pathlib import Path

import gevent
from locust.env import Environment

from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.load import reading
from eloquent.load import worker as module
from eloquent.load.job import read_job

kind, folder = sys.argv[1], Path(sys.argv[2])
(folder / "prompts.txt").write_text("why?\n")
worker = module.Worker(read_job(), "worker-1", folder / "prompts.txt")
reading.FIRST_TOKEN_TIMEOUT = 0.2

class Broken:
    async def answer(self, question, metadata):
        if kind == "bug":
            raise KeyError("a mistake of ours")
        if kind == "failed":
            raise AnswerFailed("unavailable", "no way")
        if kind in ("silent", "stopped"):
            await asyncio.Event().wait()
        for index in range(0 if kind == "full_at_the_end" else question.max_tokens):
            yield AnswerToken(index, "x", 0.0)

    async def close(self):
        pass

worker.hosts["c1"].ways["grpc"] = Broken()
module.ChatUser.worker = worker
told = []
environment = Environment(user_classes=[])
environment.events.request.add_listener(lambda **words: told.append((words["name"], words["exception"])))
user = module.user_classes(["grpc"], ["c1"])["Chatter_grpc_c1"](environment)
if kind.startswith("full"):  # a file that may not grow is refused as one on a full disk is
    length = (folder / "sessions" / "c1.csv").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))
if kind == "stopped":
    chat = gevent.spawn(user.chat)
    gevent.sleep(0.1)
    chat.kill()
else:
    user.chat()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
worker.close()
failures = [sample for metric in worker.metrics.failures.collect() for sample in metric.samples if sample.value]
print(told[-1][0], type(told[-1][1]).__name__, [sample.labels["outcome"] for sample in failures])
"""


@pytest.mark.parametrize(
    ("kind", "outcome", "told"),
    [
        ("bug", "internal", "stream KeyError ['internal']"),
        ("failed", "unavailable", "stream AnswerFailed ['unavailable']"),
        ("silent", "deadline_exceeded", "stream AnswerFailed ['deadline_exceeded']"),
        ("well", "ok", "stream NoneType []"),
        ("stopped", "left", "stream NoneType []"),
        ("full", "internal", "stream OSError ['internal']"),
        ("full_at_the_end", "internal", "stream OSError ['internal']"),
    ],
)
def test_what_goes_wrong_is_a_failure_everywhere(make_job, tmp_path, kind, outcome, told):
    """In the log, in Prometheus's counters and in Locust's statistics."""
    job = make_job(hosts=1, schemes=("grpc",), think_s=0.0)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", JOB_VARIABLE: str(tmp_path / "job.json"), THREADS_VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == told
    logged = [row.outcome for row in RunDirectory(tmp_path).sessions()]
    assert logged == ([] if kind.startswith("full") else [outcome])  # tokens without an end are a failed session


TWO_HOSTS = r"""
from pathlib import Path
import sys
import gevent
from locust.env import Environment
from eloquent.load import worker as module
from eloquent.load.job import read_job

(Path(sys.argv[1]) / "prompts.txt").write_text("why?\n")
job = read_job()
worker = module.Worker(job, "worker-1", Path(sys.argv[1]) / "prompts.txt")
worker.warm_up()
module.ChatUser.worker = worker
environment = Environment(user_classes=[])
classes = module.user_classes(job.options.schemes, job.clients).values()
gevent.joinall([gevent.spawn(one(environment).chat) for one in classes], raise_error=True)
worker.close()
"""


@pytest.mark.namespaces
def test_the_users_of_each_host_ask_from_its_network(make_job, tmp_path, namespace):
    """The same addresses are another server in each: whom it served, its log tells."""
    job = make_job(hosts=2, schemes=("grpc", "sse", "quic-stream"), think_s=0.0, answer_tokens=3, token_rate=100)
    networks = {client: Path(f"/proc/{namespace()}/ns/net") for client in job.clients}
    here = Addresses(token_server="127.0.0.1:50051", http_server="127.0.0.1:8000", quic_server="127.0.0.1:8443")
    of_both = job.workers["worker-1"].model_copy(update={"clients": networks})
    job = job.model_copy(update={"addresses": here, "workers": {"worker-1": of_both}})
    (tmp_path / "job.json").write_text(job.model_dump_json())
    listeners = ("--listen", here.token_server, "--http", here.http_server, "--quic", here.quic_server)
    with ExitStack() as servers:
        for client, network in networks.items():
            words = ("nsenter", f"--net={network}", sys.executable, "-m", "eloquent.nodes.token_server", *listeners)
            logs = ("--run-dir", str(tmp_path / client), "--known-clients", ",".join(networks))
            server = servers.enter_context(subprocess.Popen([*words, *logs], stdout=subprocess.PIPE))
            servers.callback(server.terminate)
            assert server.stdout.readline() == b"ready\n"
        done = subprocess.run(
            [sys.executable, "-c", TWO_HOSTS, str(tmp_path)],
            env={"PATH": "/usr/bin:/bin", JOB_VARIABLE: str(tmp_path / "job.json"), THREADS_VARIABLE: "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    for client in networks:
        sessions = [row for row in RunDirectory(tmp_path).sessions() if row.client == client]
        assert [row.outcome for row in sessions] == ["ok"] * 3
        served = {row.session for row in RunDirectory(tmp_path / client).streams()}
        assert served == {row.session for row in sessions}
