import argparse

import pytest

from eloquent import telemetry
from eloquent.nodes.common.stream_record import Spent, StreamOwner, StreamRecorder, add_flags
from eloquent.records.rows import StreamRow, read_rows

METADATA = {
    "x-eloquent-session": "c1.duplicate-2.r3",
    "x-eloquent-client": "c1",
    "x-eloquent-scheme": "duplicate-2",
    "x-other": "whatever",
}


def recorder_flags(run):
    parser = argparse.ArgumentParser()
    add_flags(parser, "origin")
    return parser.parse_args(["--run-dir", str(run)] if run else [])


def test_the_owner_of_a_stream_is_in_its_metadata():
    assert StreamOwner.of(METADATA) == StreamOwner("c1.duplicate-2.r3", "c1", "duplicate-2")
    assert StreamOwner.of({}) == StreamOwner("", "", "")


def test_only_what_is_new_is_counted(counts):
    seen, owner = counts(), StreamOwner.of(METADATA)
    recorder = StreamRecorder(telemetry.OriginMetrics(seen.registry), ["c1"])
    first, second = Spent(100, 10, 3, 300), Spent(150, 30, 5, 500)
    recorder.count(owner, Spent(), first)
    recorder.count(owner, first, second)
    labels = {"client": "c1", "scheme": "duplicate-2"}
    assert seen("original_bytes_total", **labels) == 150
    assert seen("redundant_bytes_total", **labels) == 30
    assert seen("wire_bytes_total", **labels) == 500


def test_labels_are_closed(counts):
    seen = counts()
    recorder = StreamRecorder(telemetry.OriginMetrics(seen.registry), ["c1"])
    for client, scheme in (("intruder", "eloquent"), ("c1", "pigeon"), ("c1", "duplicate-2-0.001ms")):
        recorder.count(StreamOwner("x", client, scheme), Spent(), Spent(7))
    assert seen("original_bytes_total", client="other", scheme="eloquent") == 7
    assert seen("original_bytes_total", client="c1", scheme="other") == 14


@pytest.mark.parametrize(
    ("flags", "known", "unknown"),
    [
        ((), ["grpc", "sse", "retransmit", "duplicate-2", "eloquent"], "duplicate-3"),
        (("--known-schemes", "grpc, duplicate-3"), ["grpc", "duplicate-3"], "eloquent"),
    ],
)
def test_the_scheme_labels_are_those_of_the_flag_or_one_of_each_family(counts, flags, known, unknown):
    parser = argparse.ArgumentParser()
    add_flags(parser, "origin")
    recorder = StreamRecorder.open(telemetry.OriginMetrics(counts().registry), parser.parse_args(flags), "origin")
    assert [recorder.scheme_label(name) for name in (*known, unknown)] == [*known, "other"]


def test_streams_of_a_run_are_logged_and_background_is_not(counts, tmp_path):
    metrics = telemetry.OriginMetrics(counts().registry)
    recorder = StreamRecorder.open(metrics, recorder_flags(tmp_path), "origin")
    for session in ("c1.eloquent.r0", "", "c1.eloquent.r1"):
        recorder.write(StreamOwner(session, "c1", "eloquent"), 5, Spent(100, 10, 3, 300))
    recorder.close()
    rows = list(read_rows(tmp_path / "streams" / "origin.csv", StreamRow))
    assert rows == [StreamRow("c1.eloquent.r1", "c1", "eloquent", 5, 100, 10, 3, 300)]


def test_without_a_run_nothing_is_logged(counts):
    recorder = StreamRecorder.open(telemetry.OriginMetrics(counts().registry), recorder_flags(None), "origin")
    recorder.write(StreamOwner("c1.eloquent.r1", "c1", "eloquent"), 5, Spent())
    recorder.close()
