import pytest

from eloquent.channel.trace_files import expand_traces
from eloquent.errors import ConfigurationError

LOSSES = "eloquent loss trace 1\n0 arrived\n0.1 lost\n0.21 lost\n0.29 arrived\n0.5 end\n"


def test_files_become_losses_in_the_line():
    files = {"a.txt": LOSSES, "b.down": "0\n1000\n2000\n"}
    line = "rtt=1s loss=trace(file=a.txt) loss_up=trace(file=b.down, slot=500ms, outage=900ms, start=random)"
    assert expand_traces(line, files.__getitem__) == (
        "rtt=1s loss=trace(slot=100ms,shares=0;1;0.5;0*2) loss_up=trace(slot=500ms,shares=1*4,start=random)"
    )
    assert expand_traces("rtt=1s loss=none", files.__getitem__) == "rtt=1s loss=none"
    with pytest.raises(ConfigurationError, match="speed"):
        expand_traces("trace(file=a.txt,speed=2)", files.__getitem__)
