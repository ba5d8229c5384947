import pytest

from eloquent import scenarios
from eloquent.channel.loss import NoLoss
from eloquent.channel.scenario import parse_line
from eloquent.errors import ConfigurationError

SHIPPED = {
    "clean": (0.4, 0.0),
    "paper-default": (0.4, 0.15),
    "paper-default-rtt100": (0.1, 0.15),
    "paper-frequent": (0.4, 0.45),
    "paper-frequent-rtt100": (0.1, 0.45),
    "paper-long": (0.4, 0.30),
    "paper-long-rtt100": (0.1, 0.30),
    "trace-lift": (0.4, 0.232),
    "trace-walk": (0.4, 0.203),
    "trace-wifi": (0.4, 0.127),
}


def test_the_shipped_scenarios_are_those_of_the_paper_a_clean_one_and_traces():
    assert scenarios.names() == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_has_its_rtt_and_its_stationary_loss(name):
    scenario = scenarios.load(name)
    rtt, loss = SHIPPED[name]
    assert (scenario.name, scenario.rtt, scenario.rate, scenario.queue) == (name, rtt, 1.25e6, 1000)
    assert scenario.loss_down.stationary_loss == pytest.approx(loss, abs=5e-4)
    assert scenario.loss_up == NoLoss()
    assert scenario.description
    assert parse_line(scenario.to_line()) == scenario


def test_a_line_and_a_file_are_loaded_too(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("rtt: 50ms\nloss: independent(probability=1%)\n")
    from_line = scenarios.load("name=mine rtt=50ms loss=independent(probability=0.01)")
    assert scenarios.load(file) == scenarios.load(str(file)) == from_line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the scenario {file}: No such file or directory"),
        ("- rtt", "the scenario {file} is not a YAML mapping with keys such as rtt and loss"),
        ("rtt: [", "the scenario {file} is not YAML: "),
        ("rtt: 1", "scenario broken, rtt: '1' is not a duration"),
        ("1: 2", "scenario broken: '1' is not a key"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    file = tmp_path / "broken.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError) as raised:
        scenarios.load(file)
    assert str(raised.value).startswith(message.format(file=file))
    assert "\n" not in str(raised.value)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(
        ConfigurationError, match=r"^'paper' is not a scenario: choose one of clean, paper-default, .*rtt=400ms$"
    ):
        scenarios.load("paper")


def test_a_scenario_names_the_file_of_a_trace(tmp_path):
    (tmp_path / "walk.txt").write_text("eloquent loss trace 1\n0.0 arrived\n0.1 lost\n0.2 end\n")
    (tmp_path / "walk.yaml").write_text("description: after trace(file=none)\nrtt: 1s\nloss: trace(file=walk.txt)\n")
    expected = "rtt=1s loss=trace(slot=100ms,shares=0;1)"
    assert scenarios.load(tmp_path / "walk.yaml").loss_down == parse_line(expected).loss_down
    assert scenarios.load(f"rtt=1s loss=trace(file={tmp_path / 'walk.txt'})") == parse_line(expected)
    with pytest.raises(ConfigurationError, match="cannot read the trace"):
        scenarios.load(f"rtt=1s loss=trace(file={tmp_path / 'gone.txt'})")
