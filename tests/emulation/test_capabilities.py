"""The choice of carrier and datapath from what the machine can do."""

import pytest

from eloquent.emulation import capabilities
from eloquent.emulation.capabilities import Choice, choose
from eloquent.emulation.options import parse_options
from eloquent.errors import EmulationError


@pytest.fixture
def machine(monkeypatch):
    """Pretend what the probes found; the probes themselves are tried by the lab."""

    def pretend(*, netem: str | None, wire: str | None, kernel: str | None) -> None:
        monkeypatch.setattr(capabilities.CARRIERS["netem"], "probe", staticmethod(lambda: netem))
        monkeypatch.setattr(capabilities.CARRIERS["wire"], "probe", staticmethod(lambda: wire))
        monkeypatch.setattr(capabilities, "probe_kernel_datapath", lambda: kernel)

    return pretend


def test_the_kernel_is_preferred(machine):
    machine(netem=None, wire=None, kernel=None)
    assert choose(parse_options()) == Choice("netem", "the kernel has it", "kernel", "the kernel has it")


def test_what_is_missing_is_the_reason_for_what_is_taken(machine):
    machine(netem="no sch_netem", wire=None, kernel="no module")
    assert choose(parse_options()) == Choice("wire", "no netem: no sch_netem", "user", "no kernel: no module")


def test_what_is_asked_for_is_taken_although_there_is_better(machine):
    machine(netem=None, wire=None, kernel=None)
    assert choose(parse_options(carrier="wire", datapath="user")) == Choice("wire", "asked for", "user", "asked for")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"carrier": "netem"}, "CARRIER=netem is not possible here: no netem: no sch_netem"),
        ({"datapath": "kernel"}, "DATAPATH=kernel is not possible here: no kernel: no module"),
    ],
)
def test_what_is_asked_for_and_missing_is_refused(machine, wanted, sentence):
    machine(netem="no sch_netem", wire=None, kernel="no module")
    with pytest.raises(EmulationError) as refusal:
        choose(parse_options(**wanted))
    assert str(refusal.value) == sentence


def test_without_any_carrier_there_is_no_run(machine):
    machine(netem="no sch_netem", wire="no TAP", kernel=None)
    with pytest.raises(EmulationError, match="no netem: no sch_netem; no wire: no TAP"):
        choose(parse_options())


def test_a_missing_need_is_named_with_its_remedy(monkeypatch):
    lacking = capabilities.Capability("mininet", "hosts", lambda: "no command mnexec", "make testbed", needed=True)
    monkeypatch.setattr(capabilities, "CAPABILITIES", (lacking,))
    with pytest.raises(EmulationError) as refusal:
        capabilities.require_needed(parse_options())
    assert str(refusal.value) == "the testbed needs mininet: no command mnexec; make testbed"
