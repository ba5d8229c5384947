"""The key that both relays share: 32 random bytes, in a file, as one line of base64.

Rule of this file: no message and no representation holds any part of a key.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path

from eloquent.errors import ConfigurationError
from eloquent.relay.sealed.noise import KEY_SIZE

_MAX_FILE = 4096  # bytes; a longer file is not a key
_FORM = f"a key is {KEY_SIZE} bytes in base64, 44 characters on one line"


def make_key(path: Path) -> None:
    """Draw a key and write it to a new file that only its owner may read (mode 0600).

    Raises:
        ConfigurationError: There is such a file already, or it cannot be written.
    """
    text = base64.b64encode(secrets.token_bytes(KEY_SIZE)) + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already, and a key that is in use is not overwritten") from None
    except OSError as error:
        raise _cannot_be_written(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _cannot_be_written(path, error) from None


def _cannot_be_written(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the key file {path} cannot be written: {error.strerror}")


def load_key(path: Path) -> bytes:
    """Return the key in a file, 32 bytes.

    Raises:
        ConfigurationError: It cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE)
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from None
    return parse_key(content, source=f"the key file {path}")


def parse_key(text: bytes, *, source: str) -> bytes:
    """Return the key that a text says, 32 bytes.

    Args:
        text: Base64; white space around it does not matter.
        source: Where the text is from, for messages.

    Raises:
        ConfigurationError: It is no key.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise ConfigurationError(f"{source} holds no key: {_FORM}") from None
    if len(key) != KEY_SIZE:
        raise ConfigurationError(f"{source} holds {len(key)} bytes: {_FORM}")
    if key == bytes(KEY_SIZE):
        raise ConfigurationError(f"{source} holds a key of zeros, which anybody would guess")
    return key
