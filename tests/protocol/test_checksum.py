from zlib import crc32

from eloquent.protocol.checksum import extend_checksum


def test_value() -> None:
    assert extend_checksum(0, b"ab") == crc32(b"\x02ab")


def test_boundaries_count() -> None:
    assert extend_checksum(extend_checksum(0, b"ab"), b"c") != extend_checksum(extend_checksum(0, b"a"), b"bc")
