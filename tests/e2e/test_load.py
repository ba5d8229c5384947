"""`make load` on a testbed of three clients: what it measures, and what it says when something goes wrong."""

import csv
import json
import os
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eloquent.qoe.session import measure
from eloquent.records.run_directory import RunDirectory
from eloquent.watch.panels import TESTBED

pytestmark = pytest.mark.lab

SCHEMES = ("grpc", "sse", "eloquent", "openai")
RIDE_S = 30.0
USERS = 9
SMALL = ("--users", "4", "--duration", "8", "--think", "0.2", "--answer-tokens", "600", "--allow-invalid")


@dataclass
class LoadUnderTest:
    """A load test that has ended, and what it printed."""

    status: int = 0
    output: str = ""
    said_at: dict[str, float] = field(default_factory=dict)  # when it printed each line

    @property
    def folder(self) -> Path:
        found = re.search(r"load directory: (\S+)", self.output)
        assert found, self.output
        return Path(found[1])

    def read(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text())

    def when(self, words: str) -> float:
        return next(at for line, at in self.said_at.items() if words in line)


def run_load(testbed, *words: str, act: Callable[[int], None] | None = None, delay_s: float = 0.0) -> LoadUnderTest:
    """Run a load test; some time after it has begun, act with its process number."""
    load = LoadUnderTest()
    with subprocess.Popen(
        testbed.command("load", *words),
        env=testbed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        assert command.stdout is not None
        for line in command.stdout:
            load.output += line
            load.said_at[line] = time.time()
            if act is not None and "while it runs" in line:
                time.sleep(delay_s)
                act(command.pid)
        load.status = command.wait()
    return load


@pytest.fixture(scope="module")
def ride(chatting) -> LoadUnderTest:
    """A commuter's ride by four schemes, with an objective that no link with losses meets."""
    return run_load(
        chatting,
        *("--users", str(USERS), "--duration", str(RIDE_S), "--shape", "commuter", "--schemes", ",".join(SCHEMES)),
        *("--think", "0.3", "--answer-tokens", "40", "--slo", "stall_ratio=0.001", "--allow-invalid"),
    )


def stalls_of(log: Path) -> dict[str, tuple[float, float]]:
    """Give stall seconds and stream seconds of each scheme, from the per-token log alone."""
    rendered: dict[str, list[float]] = defaultdict(list)
    for token in RunDirectory(log).tokens():
        rendered[token.session].append(token.rendered_s)
    sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for session, times in rendered.items():
        found = measure(times, [None] * len(times))
        scheme = session.split(".")[1]
        stall_s, stream_s = sums[scheme]
        sums[scheme] = stall_s + found.stall_s, stream_s + found.stream_s
    return sums


def locust_totals(folder: Path) -> dict[tuple[str, str], tuple[int, float]]:
    """Give count and seconds of each of Locust's entries, by scheme and name."""
    with (folder / "locust_stats.csv").open() as file:
        return {
            (row["Type"], row["Name"]): (
                int(row["Request Count"]),
                int(row["Request Count"]) * float(row["Average Response Time"]) / 1e3,
            )
            for row in csv.DictReader(file)
        }


def test_the_three_accounts_agree(chatting, ride):
    """The per-token log, Prometheus and Locust."""
    log, locust = stalls_of(ride.folder), locust_totals(ride.folder)
    summary = ride.read("summary.json")["schemes"]
    end, span = ride.when("load directory"), int(time.time() - ride.when("while it runs")) + 5

    def seen(name: str) -> dict[str, float]:
        """The workers' counters begin at 0 with the test, and stay at their last value."""
        query = f'sum by (scheme) (max_over_time({name}{{role="load_worker"}}[{span}s]))'
        return {one["metric"]["scheme"]: float(one["value"][1]) for one in chatting.prometheus(query, at=end)}

    stall_s, stream_s = seen("eloquent_stall_seconds_total"), seen("eloquent_stream_seconds_total")
    for scheme in SCHEMES:
        ratio = log[scheme][0] / log[scheme][1]
        assert ratio > 0, scheme
        assert summary[scheme]["failed"] == 0
        assert summary[scheme]["stall_ratio"] == pytest.approx(ratio, rel=0.01), scheme
        assert stall_s[scheme] / stream_s[scheme] == pytest.approx(ratio, rel=0.01), scheme
        assert locust[scheme, "stall"][1] / locust[scheme, "stream"][1] == pytest.approx(ratio, rel=0.01), scheme


def test_locust_has_the_four_entries_of_each_scheme_and_its_reports(ride):
    locust = locust_totals(ride.folder)
    assert {(scheme, name) for scheme in SCHEMES for name in ("TTFT", "gap", "stall", "stream")} <= set(locust)
    for name in ("locust.html", "locust_stats_history.csv", "locust_failures.csv", "report.html", "summary.md"):
        assert (ride.folder / name).stat().st_size > 0
    for scheme in SCHEMES:
        sessions = [row for row in RunDirectory(ride.folder).sessions() if row.scheme == scheme]
        assert locust[scheme, "stream"][0] == len(sessions)
        assert locust[scheme, "TTFT"][0] == sum(row.tokens > 0 for row in sessions)


def test_readers_who_turn_away_have_not_failed(ride):
    outcomes = {row.outcome for row in RunDirectory(ride.folder).sessions()}
    assert outcomes == {"ok", "left"}


def test_a_broken_objective_is_exit_status_1_and_a_sentence(ride):
    assert ride.status == 1
    assert "stall_ratio of grpc is" in ride.output
    assert "and should be at most 0.001" in ride.output


def test_the_load_says_how_much_went_on_at_once_and_how_late_it_was(ride):
    summary, manifest = ride.read("summary.json"), ride.read("manifest.json")
    assert manifest["partial"] is False
    assert 0 < summary["concurrency"]["mean"] <= summary["concurrency"]["peak"] <= USERS
    assert summary["load_lag_p99_s"] > 0
    assert summary["node_lag_p99_s"] > 0
    workers = [f"worker-{number + 1}" for number in range(min(3, os.cpu_count()))]
    of_each = {f"{worker}{thread}" for worker in workers for thread in ("", "-users")}  # those who read, and the users
    assert {path.stem for path in (ride.folder / "lag").glob("*.csv")} == of_each | {"master"}
    assert manifest["lateness"]["changes"] > 10  # of all stages, the last of which changes nothing
    begin, end = manifest["measured_s"]
    assert end - begin == pytest.approx(RIDE_S, abs=8)  # less the arrival of the users
    assert summary["schemes"]["grpc"]["accounted"] > 0


def test_a_ride_is_seen_in_prometheus_within_five_seconds(chatting, ride):
    """The carrier loses nothing at the platforms; TCP stalls soon after the train has left the first one."""
    begin, suburb = ride.when("while it runs"), ride.when("reaches the suburb")
    terminus = ride.when("reaches the terminus")

    def stalled(begin_at: float, end_at: float) -> float:
        """Seconds of stalls of the users over TCP that Prometheus has seen in between."""
        window = f"{end_at - begin_at:.0f}s"
        query = f'sum(increase(eloquent_stall_seconds_total{{role="load_worker",scheme=~"grpc|sse"}}[{window}]))'
        return sum(float(one["value"][1]) for one in chatting.prometheus(query, at=end_at))

    def loss(at: float, query: str = "max(eloquent_link_loss_probability{direction='down'})") -> float:
        return max(float(one["value"][1]) for one in chatting.prometheus(query, at=at))

    assert loss(suburb - 0.5) == loss(terminus + 6) == 0
    assert loss(terminus - 1, "max(max_over_time(eloquent_link_loss_probability{direction='down'}[4s]))") > 0.5
    at_worst = stalled(terminus - 4, terminus)
    assert stalled(begin, suburb) < 0.1 * at_worst
    assert stalled(suburb - 1, suburb + 5) > 0
    assert stalled(terminus + 4, terminus + 8) < 0.5 * at_worst  # TCP may have backed off for seconds


@pytest.mark.parametrize("dashboard", TESTBED, ids=lambda dashboard: dashboard.title)
def test_every_query_of_every_panel_has_data_that_makes_sense_under_load(chatting, ride, check_panels, dashboard):
    check_panels(chatting, dashboard, at=ride.when("reaches the terminus") + 4)


def test_the_background_load_pauses_while_the_load_runs(chatting, ride):
    """It has sessions of 10 s and pauses of 20 s, so that without the order some are seen in any 30 s."""
    query = f'sum(max_over_time(eloquent_active_streams{{role="viewer"}}[{RIDE_S - 4:.0f}s]))'
    assert [float(one["value"][1]) for one in chatting.prometheus(query, at=ride.when("reaches the terminus") + 8)] == [
        0
    ]


def test_no_alert_calls_a_load_worker_dead_that_comes_or_goes(chatting, ride):
    query = 'max_over_time(ALERTS{alertname="TargetDown",alertstate="firing",role=~"load.*"}[5m])'
    assert chatting.prometheus(query, at=ride.when("load directory") + 10) == []


def test_users_stream_over_quic_by_every_scheme_of_it(chatting):
    """The users of a host share one connection a scheme: what a stream of it sent is not told, which is not 0."""
    schemes = ("quic-stream", "quic-stream-cubic", "quic-datagram-stock", "eloquent-quic")
    words = ("--users", "12", "--duration", "10", "--think", "0.2", "--answer-tokens", "20", "--allow-invalid")
    load = run_load(chatting, *words, "--schemes", ",".join(schemes))
    assert load.status == 0, load.output
    summary = load.read("summary.json")["schemes"]
    assert set(summary) == set(schemes)
    for figures in summary.values():
        assert figures["failed"] == 0
        assert figures["tokens"] > 0
    assert summary["eloquent-quic"]["wire_bytes_per_token"] > 28


def test_after_a_spike_every_scheme_still_has_its_users(chatting):
    """12 users, of whom a quarter stay: more users than schemes, but fewer than hosts times schemes."""
    words = ("--users", "12", "--duration", "15", "--think", "0.2", "--answer-tokens", "10", "--allow-invalid")
    load = run_load(chatting, *words, "--shape", "spike", "--schemes", ",".join(SCHEMES))
    assert load.status == 0, load.output
    _, end = load.read("manifest.json")["measured_s"]
    last = [row for row in RunDirectory(load.folder).sessions() if row.requested_s < end and row.ended_s > end - 2]
    assert {row.scheme for row in last} == set(SCHEMES)
    assert (
        len({row.session.rpartition("t")[0] for row in last}) <= 6
    )  # the four who stay, and whose last answer was under way


def test_a_killed_worker_leaves_partial_results(chatting):
    load = run_load(chatting, *SMALL, "--schemes", "eloquent", act=lambda _: chatting.kill_one("--worker"), delay_s=4.0)
    assert load.status == 1
    assert re.search(r"warning: load worker \d ended with exit status -9 before the test was over", load.output)
    assert "the test ended early, and its results are partial" in load.output
    assert load.read("manifest.json")["partial"] is True
    assert load.read("summary.json")["schemes"]["eloquent"]["tokens"] > 0
    assert "Partial results" in (load.folder / "report.html").read_text()


def test_neither_a_dead_controller_nor_a_second_test_disturbs_a_load_without_edge_relays(chatting):
    """The users' own driver speaks to the origin relay; the switches go on with the flows they have."""
    second: list[subprocess.CompletedProcess[str]] = []

    def disturb(_: int) -> None:
        chatting.kill_one("topologies/controller.py")
        second.append(chatting.call("load", *SMALL))

    load = run_load(chatting, *SMALL, "--schemes", "duplicate-2,eloquent", "--via", "library", act=disturb)
    assert second[0].returncode == 1
    assert "a load test is running already" in second[0].stderr
    assert load.status == 0, load.output
    assert "warning: the controller ended with exit status -9 during the test" in load.output
    assert load.read("manifest.json")["partial"] is False
    for figures in load.read("summary.json")["schemes"].values():
        assert figures["failed"] == 0
        assert figures["tokens"] > 50


def test_an_interrupted_load_keeps_what_it_has(chatting):
    load = run_load(chatting, *SMALL, "--schemes", "sse", act=lambda pid: os.kill(pid, signal.SIGINT), delay_s=4.0)
    assert load.status == 1
    assert "the test was interrupted" in load.output
    assert load.read("manifest.json")["partial"] is True
    assert load.read("summary.json")["schemes"]["sse"]["tokens"] > 0
    assert json.loads(chatting.call("status").stdout)["load"] is None


def test_the_capacity_is_searched_in_load_tests_of_which_a_table_is_left(chatting):
    found = chatting.call("load-capacity", "--schemes", "sse", "--first", "2", "--most", "2", "--duration", "5")
    assert found.returncode == 0, found.stderr
    table = (chatting.run / "capacity.md").read_text()
    row = next(line.split(" | ") for line in table.splitlines() if line.startswith("| sse | 2 |"))
    assert float(row[3]) > 5  # tokens a second
    assert row[6] == "0"  # failed
    assert table in found.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--users", "0"), "USERS=0 is not possible"),
        (("--schemes", "pigeon"), "'pigeon' is not a scheme"),
        (("--shape", "wave"), "SHAPE=wave is not possible"),
        (("--slo", "speed=1"), "'speed' is not measured"),
        (("--users", "4"), "no testbed is up"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(testbed, words, sentence):
    refused = testbed.call("load", *words)
    assert refused.returncode == 1
    assert sentence in refused.stderr
