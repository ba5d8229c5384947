from zlib import crc32

from eloquent.protocol.digest import extend_digest


def test_value() -> None:
    assert extend_digest(0, b"ab") == crc32(b"\x02ab")


def test_boundaries_count() -> None:
    assert extend_digest(extend_digest(0, b"ab"), b"c") != extend_digest(extend_digest(0, b"a"), b"bc")
