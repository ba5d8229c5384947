"""Key files: made once, readable by their owner alone, and refused with a sentence that holds no part of them."""

import base64
import resource
import stat
from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.relay.sealed.key import load_key, make_key, parse_key


def test_what_is_made_can_be_loaded_by_its_owner_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one.key", tmp_path / "other.key"
    make_key(one)
    make_key(other)
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert len(load_key(one)) == 32
    assert load_key(one) != load_key(other)
    text = one.read_text()
    assert base64.b64decode(text) == load_key(one)
    assert text.count("\n") == 1


def test_a_key_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "relay.key"
    make_key(path)
    key = load_key(path)
    with pytest.raises(ConfigurationError, match="exists already"):
        make_key(path)
    assert load_key(path) == key


def test_a_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.key cannot be read: No such file"):
        load_key(tmp_path / "absent.key")
    with pytest.raises(ConfigurationError, match=r"relay\.key cannot be written: No such file"):
        make_key(tmp_path / "absent" / "relay.key")


def test_a_key_that_does_not_fit_the_disk_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.key"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(ConfigurationError, match=r"relay\.key cannot be written: File too large"):
            make_key(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "holds 0 bytes"),
        (base64.b64encode(b"k" * 31), "holds 31 bytes"),
        (base64.b64encode(b"k" * 64), "holds 64 bytes"),
        (base64.b64encode(bytes(32)), "a key of zeros"),
        (b"k" * 32, "holds 24 bytes"),
        (b"not base64!" * 4, "holds no key"),
        (bytes(range(128, 172)), "holds no key"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(text: bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        parse_key(text, source="the key")
    assert text[:8].decode("latin-1") not in str(caught.value) or not text
    assert caught.value.__cause__ is None


def test_white_space_around_a_key_does_not_matter() -> None:
    text = b"  " + base64.b64encode(b"k" * 32) + b"\r\n\n"
    assert parse_key(text, source="the key") == b"k" * 32
