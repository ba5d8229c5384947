from pathlib import Path

from eloquent.measure.figure4 import draw, save
from eloquent.measure.flows import directions
from eloquent.measure.losses import StreamFates, fates
from eloquent.measure.packets import read_capture

from .conftest import EPOCH, Story


def one_loss(tmp_path: Path) -> tuple[Story, StreamFates]:
    story = Story(lambda number, now: number == 5, tokens=20)
    (direction,) = directions(read_capture(story.write(tmp_path / "a.pcap", "receiver")))
    return story, fates(direction)


def test_rings_stand_where_packets_blocked_and_were_blocked(tmp_path: Path):
    story, stream = one_loss(tmp_path)
    rendered = [EPOCH + at for at, reached in story.arrivals]
    packets, tokens = draw(stream, rendered).axes
    dots, blue, red = (collection.get_offsets() for collection in packets.collections)
    assert len(dots) == 20
    assert len(blue) == sum(one.blocked for one in stream.transmissions) > 0
    assert [round(y * 10) for _, y in red] == [6]  # token 5 ends at 0.6 kB
    assert all(red[0][0] >= x for x, _ in blue)
    assert len(tokens.lines[0].get_xdata()) == len(rendered)
    assert tokens.get_ylabel() == "tokens rendered"


def test_without_a_log_the_right_half_shows_bytes_in_order(tmp_path: Path):
    _, stream = one_loss(tmp_path)
    _, delivery = draw(stream).axes
    assert list(delivery.lines[0].get_ydata())[-1] == 2.0


def test_the_files_are_the_same_each_time(tmp_path: Path):
    _, stream = one_loss(tmp_path)
    first, second = (save(draw(stream, title="x"), tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["figure4.png", "figure4.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
