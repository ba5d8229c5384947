"""The link probe's two ends in virtual time, on a link that loses what the script says."""

from random import Random

import pytest

from eloquent.nodes.link_probe.probes import LOST_AFTER, Link, Reflector

INTERVAL, ONE_WAY = 0.05, 0.2  # seconds


def run(count, lost_down, lost_up):
    """Send `count` probes; the sets name the sequence numbers whose probe or echo is lost. Return the settled probes."""
    link, reflector = Link(7), Reflector()
    echoes, settled = [], []
    for tick in range(count + int((2 * ONE_WAY + LOST_AFTER) / INTERVAL) + 2):
        now = 100 + tick * INTERVAL
        if tick < count:
            probe = link.probe(now=now)
            if tick not in lost_down:
                echo = reflector.echo(probe, now_ns=round((now + ONE_WAY) * 1e9))
                if tick not in lost_up:
                    echoes.append((now + 2 * ONE_WAY, echo))
        while echoes and echoes[0][0] <= now + 1e-9:
            link.take_echo(echoes.pop(0)[1], now=now)
        settled += link.settled(now=now)
    assert link.open == 0
    return settled


def test_on_a_clean_link_every_probe_comes_back_with_its_times():
    for sequence, probe in enumerate(run(20, set(), set())):
        assert probe.sequence == sequence
        assert probe.received_s == pytest.approx(probe.sent_s + ONE_WAY, abs=1e-6)
        assert probe.rtt_s == pytest.approx(2 * ONE_WAY, abs=1e-6)


def test_lost_probes_and_lost_echoes_are_told_apart():
    probes = run(40, lost_down={3, 4, 20}, lost_up={3, 7, 8, 9, 30})
    assert {probe.sequence for probe in probes if probe.received_s is None} == {3, 4, 20}
    assert {probe.sequence for probe in probes if probe.rtt_s is None} == {3, 4, 20, 7, 8, 9, 30}


def test_it_holds_for_any_pattern_that_an_echo_survives_within_its_memory():
    random = Random(5)
    for _ in range(20):
        down = {n for n in range(200) if random.random() < 0.3}
        up = {n for n in range(150) if random.random() < 0.5}
        probes = run(200, down, up)
        assert {probe.sequence for probe in probes if probe.received_s is None} == down
        assert {probe.sequence for probe in probes if probe.received_s is not None and probe.rtt_s is None} == up - down


def test_every_probe_is_settled_when_it_may_be_called_lost_whatever_became_of_those_before():
    """The oldest one that is open holds back those after it, but never beyond the time that each of them has."""
    random = Random(7)
    link, reflector = Link(1), Reflector()
    settled, echoes = [], []
    for turn in range(400):
        now = turn * INTERVAL
        data = link.probe(now=now)
        if random.random() < 0.5:
            echoes.append((now + 2 * ONE_WAY, reflector.echo(data, now_ns=round((now + ONE_WAY) * 1e9))))
        while echoes and echoes[0][0] <= now:
            at, echo = echoes.pop(0)
            if random.random() < 0.5:
                link.take_echo(echo, now=at)
        settled += link.settled(now=now)
        due = sum((earlier + 0.5) * INTERVAL + LOST_AFTER < now for earlier in range(turn + 1))
        assert [probe.sequence for probe in settled[:due]] == list(range(due))


def test_an_echo_fits_into_a_datagram_however_long_the_way_back_is_cut():
    link, reflector = Link(1), Reflector()
    echoes = [reflector.echo(link.probe(now=n * INTERVAL), now_ns=n) for n in range(500)]
    assert max(map(len, echoes)) < 1200


def test_a_new_sender_is_not_confused_with_an_old_one():
    old, new, reflector = Link(1), Link(2), Reflector()
    echo = reflector.echo(old.probe(now=0.0), now_ns=1)
    new.probe(now=0.0)
    new.take_echo(echo, now=1.0)
    assert new.settled(now=1.0) == []


@pytest.mark.parametrize("data", [b"", b"x" * 24, b"ELP1", b"ELE1" + bytes(21), bytes(2000)])
def test_what_is_no_probe_and_no_echo_is_ignored(data):
    link = Link(1)
    link.probe(now=0.0)
    link.take_echo(data, now=1.0)
    assert link.settled(now=1.0) == []
    assert Reflector().echo(data, now_ns=0) is None


def test_a_reflector_forgets_old_senders():
    reflector = Reflector()
    for run_number in range(1000):
        reflector.echo(Link(run_number).probe(now=0.0), now_ns=0)
    assert len(reflector._senders) <= 16
