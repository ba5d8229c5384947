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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rtt: 1s\nloss: none\nrate: 10mbit\nloss: none\n", "'loss' stands there twice"),
        ("rtt: 1s\nqueue: 0100\n", "queue: '0100' is not a number of packets"),
        ("rtt: 1s\nqueue: 1:30\n", "queue: '1:30' is not a number of packets"),
        ("rtt: 1s\nqueue: 0x10\n", "queue: '0x10' is not a number of packets"),
        ("rtt: 1s\nqueue: yes\n", "queue: 'yes' is not a number of packets"),
        ("rtt: 2024-13-45\n", "rtt: '2024-13-45' is not a duration"),
        ("rtt: 1s\nqueue: {a: 1, a: 2}\n", "'a' stands there twice"),
        ("rtt:\n", "rtt: '' is not a duration"),
        ("rtt: [1s]\n", "rtt: a list is not a text"),
        ("rtt: &a [*a]\n", "is not YAML"),
        ("rtt: " + "[" * 2_000, "is nested too deeply"),
        ("rtt: " + "{a: " * 5_000, "is nested too deeply"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nrtt: [*b, *b]\n", "'a' is not a key"),
        ("rtt: 1s\n---\nrtt: 2s\n", "is not YAML"),
        ("? [a]\n: b\n", "is not YAML"),
        ("rtt: 1s\nloss: \x07\n", "is not YAML"),
    ],
)
def test_what_a_file_may_not_say_is_one_sentence(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as raised:
        scenarios.load(file)
    assert message in str(raised.value)
    assert "mine" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_value_is_the_text_that_stands_there(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: 010\r\nrtt: 0\r\nqueue: 100\r\ndescription: 1:30\r\n")
    scenario = scenarios.load(file)
    assert (scenario.name, scenario.rtt, scenario.queue, scenario.description) == ("010", 0.0, 100, "1:30")


def test_a_file_without_end_is_not_read_to_it(tmp_path):
    with pytest.raises(ConfigurationError, match="more than 64 MiB"):
        scenarios.load("rtt=1s loss=trace(file=/dev/zero)")
    with pytest.raises(ConfigurationError, match="cannot read the trace"):
        scenarios.load("rtt=1s loss=trace(file=a\0b)")


def test_a_trace_of_any_name_makes_a_scenario(tmp_path):
    for name in ("a, b (1).txt", "half (.txt", 'it\'s "so".txt'):
        (tmp_path / name).write_text("eloquent loss trace 1\n0.0 arrived\n0.1 lost\n0.2 end\n")
        scenario = scenarios.load_trace(tmp_path / name, rtt=0.4, slot=0.1)
        assert scenario.loss_down == parse_line("rtt=1s loss=trace(slot=100ms,shares=0;1,start=random)").loss_down
    (tmp_path / "bad.txt").write_text("eloquent loss trace 1\n0.0 gone\n")
    with pytest.raises(ConfigurationError, match=r"bad\.txt, line 2"):
        scenarios.load_trace(tmp_path / "bad.txt", rtt=0.4, slot=0.1)
