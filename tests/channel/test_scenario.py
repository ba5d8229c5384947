import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.loss import IndependentLoss, MarkovLoss, NoLoss
from eloquent.channel.scenario import Scenario, from_mapping, parse_line
from eloquent.channel.schedule import Direction
from eloquent.errors import ConfigurationError

LINE = "rtt=400ms rate=10mbit queue=1000 loss=markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)"
EXAMPLE = "rtt=400ms rate=10mbit queue=1000 loss=independent(probability=0.15)"
PAPER = MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_bad=0.9, slot=0.1)

PROBABILITIES = st.floats(min_value=0, max_value=1)
STAYS = st.floats(min_value=0, max_value=1, exclude_max=True)
MODELS = st.one_of(
    st.just(NoLoss()),
    st.builds(IndependentLoss, probability=PROBABILITIES),
    st.builds(
        MarkovLoss,
        stay_good=STAYS,
        stay_bad=STAYS,
        loss_in_good=PROBABILITIES,
        loss_in_bad=PROBABILITIES,
        slot=st.integers(min_value=1_000_000, max_value=10**12).map(lambda nanoseconds: nanoseconds / 10**9),
    ),
)
SCENARIOS = st.builds(
    Scenario,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    rtt=st.integers(min_value=0, max_value=10**12).map(lambda nanoseconds: nanoseconds / 10**9),
    rate=st.floats(min_value=0.125, max_value=1e12),
    queue=st.integers(min_value=1, max_value=10**9),
    loss_down=MODELS,
    loss_up=MODELS,
)


def test_a_line_is_read_in_seconds_and_bytes():
    scenario = parse_line(LINE)
    assert (scenario.name, scenario.rtt, scenario.rate, scenario.queue) == ("custom", 0.4, 1.25e6, 1000)
    assert (scenario.loss_down, scenario.loss_up) == (PAPER, NoLoss())
    assert scenario.to_line() == LINE


@given(SCENARIOS)
def test_a_scenario_survives_writing_and_reading(scenario):
    assert parse_line(scenario.to_line()) == scenario
    assert hash(parse_line(scenario.to_line())) == hash(scenario)


def test_only_the_round_trip_time_is_needed():
    scenario = parse_line("rtt=100ms")
    assert (scenario.rate, scenario.queue, scenario.loss_down, scenario.loss_up) == (1.25e6, 1000, NoLoss(), NoLoss())


def test_loss_is_on_the_downlink_unless_the_line_says_otherwise():
    scenario = parse_line("rtt=1s loss=independent(probability=0.1) loss_up=independent(probability=0.2)")
    assert scenario.loss(Direction.DOWN) == IndependentLoss(probability=0.1)
    assert scenario.loss(Direction.UP) == IndependentLoss(probability=0.2)


def test_words_may_stand_in_any_order_and_with_spaces_inside_parentheses():
    line = "  loss=markov(stay_good=0.9, stay_bad=0.5,  loss_in_bad=0.9, slot=100ms)   queue=1000 rtt=400ms "
    assert parse_line(line) == parse_line(LINE)


def test_a_mapping_says_the_same_as_a_line():
    values = {
        "description": "words of any kind",
        "rtt": "400ms",
        "rate": "10mbit",
        "queue": 1000,
        "loss": LINE.split("loss=")[1],
    }
    scenario = from_mapping(values, name="mine")
    assert scenario == parse_line(f"name=mine {LINE}")
    assert scenario.description == "words of any kind"


def test_a_scenario_makes_the_schedules_of_its_links():
    scenario = parse_line(f"{LINE} loss_up=independent(probability=0.2)")
    down = scenario.schedule(Direction.DOWN, seed=1, link="client1")
    assert down.digest(60) == scenario.schedule(Direction.DOWN, seed=1, link="client1").digest(60)
    assert down.model == PAPER
    assert scenario.schedule(Direction.UP, seed=1, link="client1").loss_at(5) == 0.2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "",
            f"scenario custom lacks rtt: write it as in {EXAMPLE}",
        ),
        (
            "rtt=1ms slow",
            (
                "cannot read 'slow' in a scenario: "
                "write words such as rtt=400ms rate=10mbit queue=1000 loss=independent(probability=0.15)"
            ),
        ),
        (
            "rtt=1ms loss=none(",
            (
                "cannot read 'loss=none(' in a scenario: "
                "write words such as rtt=400ms rate=10mbit queue=1000 loss=independent(probability=0.15)"
            ),
        ),
        ("rtt=1ms rtt=2ms", "the scenario gives 'rtt' twice"),
        (
            "rtt=1ms jitter=3ms",
            "scenario custom: 'jitter' is not a key, write some of name, description, rtt, rate, queue, loss, loss_up",
        ),
        (
            "rtt=fast",
            "scenario custom, rtt: 'fast' is not a duration: write a number and a unit, such as 400ms or 1.5s",
        ),
        (
            "rtt=1ms rate=10",
            "scenario custom, rate: '10' is not a rate: write a number and a unit, such as 10mbit or 512kbit",
        ),
        (
            "rtt=1ms rate=0bit",
            "scenario custom, rate: a link that carries nothing is no link, write one such as 10mbit",
        ),
        ("rtt=1ms queue=0", "scenario custom, queue: '0' is not a number of packets: write 1 or more"),
        ("rtt=1ms queue=many", "scenario custom, queue: 'many' is not a number of packets: write 1 or more"),
        (
            "name=mine rtt=1ms loss=rain",
            "scenario mine, loss: 'rain' is not a known loss model: choose one of none, independent, markov, trace",
        ),
        (
            "rtt=1ms loss_up=rain",
            "scenario custom, loss_up: 'rain' is not a known loss model: choose one of none, independent, markov, trace",
        ),
        ("name=/etc rtt=1ms", "scenario name '/etc': write letters, digits, dots, dashes and underscores"),
    ],
)
def test_an_error_names_what_is_wrong_and_what_is_accepted(line, message):
    with pytest.raises(ConfigurationError) as raised:
        parse_line(line)
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [None, True, ["400ms"], {"ms": 400}])
def test_a_mapping_holds_texts_and_numbers(value):
    with pytest.raises(ConfigurationError, match=r"^scenario mine, rtt: .* is not a text or a number$"):
        from_mapping({"rtt": value}, name="mine")


@pytest.mark.parametrize(
    "values", [{"rtt": -1.0}, {"rtt": float("nan")}, {"rtt": 0.1, "rate": float("inf")}, {"rtt": 0.1, "queue": 0}]
)
def test_a_scenario_made_in_code_is_checked_too(values):
    with pytest.raises(ConfigurationError, match=r"^scenario custom, "):
        Scenario(**values)


@pytest.mark.parametrize("queue", ["0100", "1:30", "0x10", "1_000", "1e3", "+5", "-5", "", "9" * 5000, "٣"])
def test_a_queue_is_a_plain_number(queue):
    with pytest.raises(ConfigurationError, match="is not a number of packets"):
        from_mapping({"rtt": "1s", "queue": queue})


@pytest.mark.parametrize("word", ["rtt=" + "9" * 400 + "s", "rtt=1s rate=" + "9" * 400 + "mbit"])
def test_a_number_without_end_is_refused(word):
    with pytest.raises(ConfigurationError, match=r"is not a (duration|rate)"):
        parse_line(word)


def test_what_a_value_is_not_is_said_without_its_content():
    nested: list[object] = ["x"] * 10
    for _ in range(12):
        nested = [nested] * 10  # a million million words, were it written out
    with pytest.raises(ConfigurationError, match="a list is not a text or a number"):
        from_mapping({"rtt": nested})


def test_scenarios_whose_trace_begins_at_its_begin_begin_alike():
    assert parse_line("rtt=1s loss=trace(slot=1s,shares=0;1)").begins_alike
    assert parse_line("rtt=1s loss=none loss_up=trace(slot=1s,shares=0;1)").begins_alike
    assert not parse_line("rtt=1s loss=trace(slot=1s,shares=0;1,start=random)").begins_alike
    assert not parse_line("rtt=1s loss=independent(probability=0.1)").begins_alike
