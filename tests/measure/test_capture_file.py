"""Capture files of every form, cut anywhere and damaged anywhere."""

import gzip
import struct
from io import BytesIO

import pytest

from eloquent.measure.capture_file import NoCapture, Record, read_records

FRAMES = [b"first frame", b"2nd", b"and the last"]


def read(raw: bytes) -> tuple[list[Record], list[str]]:
    warnings: list[str] = []
    return list(read_records(BytesIO(raw), warnings.append)), warnings


def pcap(order: str = "<", *, magic: int = 0xA1B2C3D4, ticks: int = 10**6, beyond: bytes = b"") -> bytes:
    raw = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 0x14000001)  # the upper bits tell of check sums
    for number, frame in enumerate(FRAMES):
        raw += (
            struct.pack(order + "IIII", 1_700_000_000 + number, ticks // 4, len(frame), len(frame) + 7) + beyond + frame
        )
    return raw


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link_type: int, *options: bytes) -> bytes:
    return block(
        order, 1, struct.pack(order + "HHI", link_type, 0, 0) + b"".join(options) + (bytes(4) if options else b"")
    )


def packet(order: str, which: int, ticks: int, frame: bytes) -> bytes:
    return block(
        order,
        6,
        struct.pack(order + "IIIII", which, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame) + 7) + frame,
    )


def pcapng(order: str = "<") -> bytes:
    """Three interfaces: microseconds; nanoseconds and raw IP; 2^-10 s, 100 s ahead; and a section of its own."""
    return b"".join(
        [
            section(order),
            interface(order, 1),
            interface(order, 101, option(order, 9, b"\x09")),
            interface(
                order,
                1,
                option(order, 2, b"eth0"),
                option(order, 9, b"\x8a"),
                option(order, 14, struct.pack(order + "q", 100)),
            ),
            block(order, 4, b"names"),
            packet(order, 0, 1_700_000_000_250_000, FRAMES[0]),
            packet(order, 1, 1_700_000_001_250_000_000, FRAMES[1]),
            packet(order, 2, (1_700_000_002 - 100) * 1024 + 256, FRAMES[2]),
            section(order),
            interface(order, 0),
            packet(order, 0, 5_000_000, b"x"),
        ]
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "ticks", "beyond"), [(0xA1B2C3D4, 10**6, b""), (0xA1B23C4D, 10**9, b""), (0xA1B2CD34, 10**6, bytes(8))]
)
def test_pcap(order: str, magic: int, ticks: int, beyond: bytes):
    records, warnings = read(pcap(order, magic=magic, ticks=ticks, beyond=beyond))
    assert [one.frame for one in records] == FRAMES
    assert [one.length for one in records] == [len(frame) + 7 for frame in FRAMES]
    assert [one.at_s for one in records] == [1_700_000_000.25, 1_700_000_001.25, 1_700_000_002.25]
    assert {(one.link_type, one.interface) for one in records} == {(1, 0)}
    assert warnings == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_each_interface_of_pcapng_has_its_own_clock_and_framing(order: str):
    records, warnings = read(pcapng(order))
    assert [one.frame for one in records] == [*FRAMES, b"x"]
    assert [one.at_s for one in records] == [1_700_000_000.25, 1_700_000_001.25, 1_700_000_002.25, 5.0]
    assert [(one.link_type, one.interface) for one in records] == [(1, 0), (101, 1), (1, 2), (0, 3)]
    assert warnings == []


@pytest.mark.parametrize("raw", [pcap(), pcapng()], ids=["pcap", "pcapng"])
def test_a_file_cut_at_any_byte_gives_its_whole_records_and_a_warning(raw: bytes):
    whole = read(raw)[0]
    for size in range(4 if raw[0] == 0x0A else 24, len(raw)):
        records, warnings = read(raw[:size])
        assert records == whole[: len(records)]
        at_border = read(raw[:size] + b"\0")[0] == records and not warnings
        assert at_border or f"{len(records)} packets" in warnings[-1]
    for size in range(1, 4 if raw[0] == 0x0A else 24):
        with pytest.raises(NoCapture):
            read(raw[:size])


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<IIII", 0, 0, 1 << 31, 9),
        struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 9),
    ],
)
def test_a_claimed_length_takes_no_memory(damage: bytes):
    records, (warning,) = read(pcap() + damage + b"x" * 100)
    assert len(records) == 3
    assert "damaged" in warning


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<III", 6, 0xFFFFFFFC, 0),  # a length of 4 GB
        struct.pack("<III", 6, 13, 0),  # not a multiple of 4
        struct.pack("<III", 6, 8, 0),  # shorter than itself
        struct.pack("<II", 6, 16) + bytes(4) + struct.pack("<I", 20),  # two lengths that differ
        block("<", 6, bytes(8)),
        block("<", 6, struct.pack("<IIIII", 0, 0, 0, 999, 999)),
        block("<", 1, b""),
        struct.pack("<II", 0x0A0D0D0A, 28) + b"what",
    ],
)
def test_a_damaged_pcapng_is_read_up_to_the_damage(damage: bytes):
    records, (warning,) = read(pcapng() + damage + packet("<", 0, 1, b"after"))
    assert len(records) == 4
    assert "damaged" in warning


def test_what_has_no_time_or_no_interface_is_left_out_and_counted():
    raw = section("<") + interface("<", 1) + block("<", 3, struct.pack("<I", 4) + b"abcd") + packet("<", 7, 1, b"x")
    records, warnings = read(raw + packet("<", 0, 1_000_000, b"y"))
    assert [(one.at_s, one.frame) for one in records] == [(1.0, b"y")]
    assert [warning.split(" were")[0] for warning in warnings] == [
        "1 packets without a time (simple packet blocks)",
        "1 packets of an interface that the file does not describe",
    ]


def test_what_the_capturing_program_missed_is_said():
    statistics = block("<", 5, struct.pack("<III", 0, 0, 0) + option("<", 5, struct.pack("<Q", 12)) + bytes(4))
    _, (warning,) = read(section("<") + interface("<", 1) + statistics)
    assert "missed 12 packets" in warning


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "empty"), (b"some text", "neither"), (gzip.compress(pcap(), mtime=0), "gzip"), (pcap()[:20], "24 bytes")],
)
def test_what_is_no_capture_is_refused(raw: bytes, reason: str):
    with pytest.raises(NoCapture, match=reason):
        read(raw)
