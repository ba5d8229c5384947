"""Sessions in virtual time."""

from itertools import islice

import pytest

from eloquent import content, schemes
from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.errors import ConfigurationError
from eloquent.protocol.rtt import RttEstimator
from eloquent.sim.engine.choices import Choices, First
from eloquent.sim.engine.session import constant_rate, run_session
from eloquent.sim.engine.trace import PacketLog

CLEAN = parse_line("rtt=400ms")
LOSSY = parse_line("rtt=400ms loss=markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)")
NAMES = ["retransmit", "duplicate-2", "eloquent"]


@pytest.mark.parametrize("name", NAMES)
def test_on_a_clean_link_tokens_are_rendered_half_a_round_trip_after_they_were_generated(name: str):
    trace = run_session(schemes.get(name), CLEAN, seed=1, generated_s=constant_rate(3.0))
    assert trace.outcome == "ok"
    assert trace.rendered_s == pytest.approx([when + 0.2 for when in trace.generated_s], abs=1e-9)
    assert trace.measure().stalls == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ack_loss", [False, True])
def test_every_token_is_rendered_whatever_is_lost(name: str, ack_loss: bool):
    trace = run_session(
        schemes.get(name), LOSSY, seed=3, generated_s=constant_rate(30.0), choices=Choices(ack_loss=ack_loss)
    )
    assert trace.outcome == "ok"
    assert len(trace.rendered_s) == len(trace.generated_s) == 300
    assert list(trace.rendered_s) == sorted(trace.rendered_s)
    assert all(seen > made + 0.2 - 1e-9 for seen, made in zip(trace.rendered_s, trace.generated_s, strict=True))


def test_a_session_is_a_function_of_its_arguments():
    runs = [
        run_session(schemes.get("eloquent"), LOSSY, seed=seed, generated_s=constant_rate(10.0)) for seed in (5, 5, 6)
    ]
    assert runs[0] == runs[1]
    assert runs[0].rendered_s != runs[2].rendered_s


def test_a_dead_link_loses_the_session():
    dead = parse_line("rtt=100ms loss=independent(probability=1)")
    trace = run_session(schemes.get("eloquent"), dead, seed=1, generated_s=constant_rate(1.0))
    assert (trace.outcome, trace.rendered_s) == ("lost", ())
    assert trace.ended_s < 60


def test_the_packets_are_recorded():
    log = PacketLog()
    trace = run_session(schemes.get("retransmit"), LOSSY, seed=3, generated_s=constant_rate(10.0), record=log)
    down = [row for row in trace.packets if row.direction is Direction.DOWN]
    assert len(down) == trace.account.packets
    assert sum(row.size_bytes for row in down) == trace.account.wire_bytes
    assert {index for row in down for index in row.tokens} == set(range(100))
    again = [row for row in down if row.is_retransmission]
    assert sum(len(row.tokens) for row in again) * 18 == trace.account.redundant_bytes > 0
    assert all(row.arrived_s is None or row.arrived_s == pytest.approx(row.sent_s + 0.2) for row in trace.packets)
    up = [row for row in trace.packets if row.direction is Direction.UP]
    assert up
    assert all(row.arrived_s is not None and row.tokens == () for row in up)  # acknowledgements are not lost by default


@pytest.mark.parametrize("name", ["tcp", "tcp-bbr", "ssp", "fec-8-1", "eloquent", "duplicate-2"])
@pytest.mark.parametrize("token_bytes", [0, 18, 100, 700])
def test_the_tokens_of_each_packet_are_known_whatever_the_scheme(name: str, token_bytes: int):
    """Tokens of one instant fill several packets; those sent for the first time share no token."""
    log = PacketLog()
    choices = Choices(token_bytes=token_bytes)
    generated = tuple(round(0.1 * (index // 7), 9) for index in range(140))
    trace = run_session(schemes.get(name), LOSSY, seed=3, generated_s=generated, choices=choices, record=log)
    down = [row for row in log.rows if row.direction is Direction.DOWN and row.tokens]
    assert trace.outcome == "ok"
    assert {index for row in down for index in row.tokens} == set(range(140))
    assert sum(len(row.tokens) for row in down) > 140  # some were sent again, alone or beside new ones
    seen: set[int] = set()
    for row in down:
        assert row.is_retransmission == seen.issuperset(row.tokens)
        assert all(row.sent_s >= generated[index] for index in row.tokens)
        seen.update(row.tokens)


@pytest.mark.parametrize("name", ["tcp", "duplicate-2"])
def test_what_is_sent_again_adds_up_to_the_account(name: str):
    log = PacketLog()
    trace = run_session(schemes.get(name), LOSSY, seed=3, generated_s=constant_rate(10.0), record=log)
    again = sum(len(row.tokens) for row in log.rows if row.is_retransmission)
    assert again * Choices().token_bytes == trace.account.redundant_bytes > 0


def test_the_slots_decide_what_is_lost_and_a_random_phase_shifts_them():
    alternating = parse_line("rtt=100ms loss=markov(stay_good=0,stay_bad=0,loss_in_bad=1,slot=100ms)")

    def lost(choices: Choices) -> list[bool]:
        log = PacketLog()
        run_session(
            schemes.get("eloquent"),
            alternating,
            seed=1,
            generated_s=constant_rate(2.0, 0.01),
            choices=choices,
            record=log,
        )
        first = [row for row in log.rows if row.direction is Direction.DOWN and not row.is_retransmission]
        return [row.arrived_s is None for row in first]

    good, bad = [False] * 10, [True] * 10
    assert lost(Choices()) in ((good + bad) * 10, (bad + good) * 10)
    assert lost(Choices(phase="random")) != lost(Choices())


def test_a_rate_takes_time_where_it_is_asked_for():
    slow = parse_line("rtt=100ms rate=80kbit")
    times = [
        run_session(schemes.get("eloquent"), slow, seed=1, generated_s=(0.0,), choices=choices).rendered_s[0]
        for choices in (Choices(), Choices(rate_limited=True))
    ]
    assert times[0] == pytest.approx(0.05)
    assert 0.055 < times[1] < 0.060  # 18 bytes of token, 28 of headers and some of ours at 10 bytes a millisecond


@pytest.mark.parametrize(("first", "tokens"), [("token", 5), ("acknowledgement", 4)])
def test_an_acknowledgement_in_the_instant_of_a_token_is_not_known_to_its_packet_unless_it_goes_first(
    first: First, tokens: int
):
    """At RTT 400 ms the acknowledgement of a token arrives as the fourth after it is made."""
    log = PacketLog()
    run_session(
        schemes.get("eloquent"),
        CLEAN,
        seed=1,
        generated_s=constant_rate(3.0),
        choices=Choices(first=first),
        record=log,
    )
    down = [row for row in log.rows if row.direction is Direction.DOWN and row.sent_s < 2.95]
    assert {len(row.tokens) for row in down[4:]} == {tokens}


@pytest.mark.parametrize("name", ["tcp-simple", "duplicate-3"])
def test_the_baselines_know_the_round_trip_time_where_the_simulation_says_so(name: str):
    """The timeout is RTT and 200 ms from the first packet on, doubled; otherwise 1 s, and then 2."""
    dead = parse_line("rtt=100ms loss=trace(slot=1s,shares=1*60)")

    def sent(choices: Choices) -> list[float]:
        log = PacketLog()
        run_session(schemes.get(name), dead, seed=1, generated_s=[0.0], choices=choices, record=log)
        return [row.sent_s for row in log.rows if row.direction is Direction.DOWN][:: 3 if "3" in name else 1]

    assert sent(Choices(known_timeouts=True))[:4] == pytest.approx([0.0, 0.3, 0.9, 2.1])
    assert sent(Choices())[:3] == pytest.approx([0.0, 1.0, 3.0])


@pytest.mark.parametrize("name", ["tcp-simple", "duplicate-2"])
def test_every_later_acknowledgement_finds_losses_sooner(name: str):
    generated = constant_rate(30.0)
    seen = [
        sum(
            run_session(
                schemes.get(name), LOSSY, seed=seed, generated_s=generated, choices=Choices(every_ack=every_ack)
            )
            .measure()
            .stall_s
            for seed in range(20)
        )
        for every_ack in (False, True)
    ]
    assert seen[1] < seen[0]


@pytest.mark.parametrize("name", ["eloquent", "red-2", "tcp"])
def test_what_the_paper_does_not_compare_with_is_the_same_with_every_choice_of_the_baselines(name: str):
    plain = Choices(known_timeouts=True, every_ack=True)
    traces = [
        run_session(schemes.get(name), LOSSY, seed=3, generated_s=constant_rate(10.0), choices=choices)
        for choices in (Choices(), plain)
    ]
    assert traces[0] == traces[1]


def test_tokens_come_at_even_intervals():
    assert constant_rate(0.3) == (0.0, 0.1, 0.2)
    assert len(constant_rate(30.0)) == 300


def test_what_makes_no_session_is_refused():
    with pytest.raises(ConfigurationError):
        run_session(schemes.get("eloquent"), CLEAN, seed=1, generated_s=())
    with pytest.raises(ConfigurationError):
        run_session(schemes.get("eloquent"), CLEAN, seed=1, generated_s=(1.0, 0.5))
    with pytest.raises(ConfigurationError):
        run_session(schemes.get("grpc"), CLEAN, seed=1, generated_s=(0.0,))
    with pytest.raises(ConfigurationError):
        constant_rate(0.0)


def test_given_schedules_are_met_on_the_time_axis_of_the_tokens():
    """A session that begins 35 s into a schedule meets what that has in store from 35 s on."""
    alternating = parse_line("rtt=100ms loss=markov(stay_good=0,stay_bad=0,loss_in_bad=1,slot=1s)")
    schedules = {way: alternating.schedule(way, seed=9, link="c1") for way in Direction}
    log = PacketLog()
    trace = run_session(
        schemes.get("eloquent"),
        alternating,
        seed=1,
        generated_s=[35 + when for when in constant_rate(4.0)],
        schedules=schedules,
        record=log,
    )
    assert trace.outcome == "ok"
    down = schedules[Direction.DOWN]
    sent = [row for row in log.rows if row.direction is Direction.DOWN]
    assert {row.arrived_s is None for row in sent} == {True, False}
    assert all((row.arrived_s is None) == (down.loss_at(row.sent_s) == 1) for row in sent)


def test_a_sender_that_knows_the_path_repeats_sooner():
    """The timeout is 1 s at first, and RTT and 200 ms once the path is known (RFC 6298 with Linux's floor)."""
    lossy_at_first = parse_line("rtt=100ms loss=markov(stay_good=0.999,stay_bad=0,loss_in_bad=1,slot=500ms)")
    seed = next(
        seed
        for seed in range(10_000)
        if lossy_at_first.schedule(Direction.DOWN, seed=seed, link="client").loss_at(0.0) == 1
    )
    known = RttEstimator()
    for _ in range(100):
        known.sample(0.1)
    first_seen = [
        run_session(schemes.get("retransmit"), lossy_at_first, seed=seed, generated_s=[0.0], rtt=rtt).rendered_s[0]
        for rtt in (None, known)
    ]
    assert first_seen == pytest.approx([1.05, 0.95])


@pytest.mark.parametrize("name", ["eloquent", "tcp-simple"])
def test_real_content_is_streamed_and_each_session_has_another_piece_of_it(name: str):
    spent = set()
    for seed in (1, 2, 3):
        choices = Choices(content="text")
        trace = run_session(schemes.get(name), LOSSY, seed=seed, generated_s=constant_rate(20.0, 0.02), choices=choices)
        assert trace.outcome == "ok"  # the checksum of the whole content agreed
        wanted = sum(map(len, islice(content.stream("text", seed), 1000)))
        assert trace.account.original_bytes == wanted
        spent.add(wanted)
    assert len(spent) == 3


def test_the_fates_of_packets_do_not_depend_on_what_is_in_them():
    runs = [
        run_session(schemes.get("bound"), LOSSY, seed=4, generated_s=constant_rate(20.0), choices=Choices(content=kind))
        for kind in ("filler", "text", "openai")
    ]
    assert len({run.rendered_s for run in runs}) == 1
    assert len({run.account.wire_bytes for run in runs}) == 3


def test_a_sender_that_cannot_keep_up_is_given_no_more_than_a_relay_would_give():
    """Ten tokens in a packet each 400 ms, and 6,000 of them in 6 s: all arrive, later."""
    generated = constant_rate(6.0, 0.001)
    trace = run_session(schemes.get("eloquent"), LOSSY, seed=1, generated_s=generated)
    assert trace.outcome == "ok"
    assert len(trace.rendered_s) == len(generated)
    assert trace.ended_s > generated[-1] + 1.0
