"""The same testbed where the kernel has netem and Open vSwitch; runs inside the guest kernel (make test-kernel)."""

import pytest

pytestmark = pytest.mark.kernel


def test_a_lab_on_netem_and_the_kernel_datapath(testbed):
    """Four clients; the guest has one slow processor, so RTT and load are judged less strictly than on a real machine."""
    testbed.up(
        "--clients", "4", "--session", "15", "--carrier", "netem", "--datapath", "kernel", "--rtt-tolerance", "20"
    )
    manifest, summary = testbed.manifest(), testbed.summary()
    assert manifest["carrier"]["name"] == "netem"
    assert manifest["datapath"]["name"] == "kernel"
    for figures in summary["schemes"].values():
        assert (figures["sessions"], figures["failed"]) == (4, 0)
    assert summary["schemes"]["eloquent"]["stall_ratio"] < summary["schemes"]["grpc"]["stall_ratio"]
    own = sum(link["schedule"]["down"]["mean_loss"] for link in manifest["links"]) / 4
    assert summary["loss_rate"] == pytest.approx(own, abs=0.06)
