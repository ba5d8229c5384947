"""What one asks of a run, from the command line to the lab."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from eloquent import congestion, scenarios
from eloquent.emulation.options import Options, parse_options
from eloquent.errors import ConfigurationError

TEXT = "rtt: 123ms\nloss: independent(probability=0.25)\n"


def test_a_scenario_file_is_read_once(tmp_path: Path):
    """A pipe can be read only once; and what becomes of a file afterwards changes nothing."""
    path = tmp_path / "train.yaml"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(TEXT,))
    writer.start()
    options = parse_options(scenario=str(path))
    writer.join()
    path.unlink()
    in_the_lab = Options.model_validate_json(options.model_dump_json())
    assert in_the_lab == options
    assert (in_the_lab.scenario.name, in_the_lab.scenario.rtt) == ("train", 0.123)
    assert in_the_lab.scenario.loss_down.worst_loss == 0.25


def test_a_trace_that_is_gone_is_still_the_one_that_was_read(tmp_path: Path):
    trace = tmp_path / "lift.txt"
    trace.write_text("1\n40\n90\n")  # Mahimahi's: a packet at each of these milliseconds
    options = parse_options(scenario=f"rtt=10ms loss=trace(file={trace},slot=20ms)")
    trace.unlink()
    in_the_lab = Options.model_validate_json(options.model_dump_json())
    assert in_the_lab.scenario.loss_down == options.scenario.loss_down


@pytest.mark.parametrize("name", scenarios.names())
def test_every_shipped_scenario_reaches_the_lab_as_it_is(name: str):
    options = parse_options(scenario=name)
    arrived = Options.model_validate_json(options.model_dump_json()).scenario
    assert replace(arrived, description="") == replace(options.scenario, description="")


def test_without_a_word_it_is_the_papers():
    assert parse_options().scenario.name == "paper-default"


@pytest.mark.parametrize("scenario", ["nowhere", "nowhere.yaml", "rtt=soon"])
def test_one_that_cannot_be_read_is_refused_in_a_sentence(scenario: str):
    with pytest.raises(ConfigurationError):
        parse_options(scenario=scenario)


OWN = {"upstream": "http://127.0.0.1:8000", "model": "tiny"}


def test_a_server_of_ones_own_is_asked_over_http():
    options = parse_options(**OWN)
    assert options.schemes == (*(f"sse-{control}" for control in congestion.offered()), "openai")
    assert options.upstream_address == "127.0.0.1:8000"
    assert Options.model_validate_json(options.model_dump_json()) == options
    assert parse_options(**OWN, schemes=("sse", "openai-duplicate-2")).schemes == ("sse", "openai-duplicate-2")
    assert parse_options(upstream="http://gpu.example:8000/v1/", model="tiny").upstream_address == "gpu.example:8000"


@pytest.mark.parametrize("scheme", ["grpc", "grpc-cubic", "eloquent", "duplicate-2"])
def test_a_scheme_that_carries_no_http_cannot_ask_it(scheme: str):
    with pytest.raises(ConfigurationError, match=f"'{scheme}' does not carry HTTP"):
        parse_options(**OWN, schemes=("sse", scheme))


@pytest.mark.parametrize("given", [{"upstream": OWN["upstream"]}, {"model": "tiny"}])
def test_a_server_and_its_model_go_together(given: dict[str, str]):
    with pytest.raises(ConfigurationError, match="UPSTREAM and MODEL go together"):
        parse_options(**given)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "https://127.0.0.1:8000", "http://127.0.0.1:8000/v2", "http://me@it:1"]
)
def test_a_url_that_the_lab_cannot_lead_to_is_refused(url: str):
    with pytest.raises(ConfigurationError, match="say http://HOST:PORT"):
        parse_options(upstream=url, model="tiny")


def test_a_url_without_a_port_is_refused():
    with pytest.raises(ConfigurationError):
        parse_options(upstream="http://127.0.0.1", model="tiny")
