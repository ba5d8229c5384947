"""Addresses as flags write them."""

from eloquent.errors import ConfigurationError


def parse_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`; an IPv6 host may stand in brackets.

    Raises:
        ConfigurationError: There is no host or no port, or the port is not a number from 0 to 65535.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ConfigurationError(f"'{text}' is not an address: write HOST:PORT, such as 127.0.0.1:9100")
    return host.strip("[]"), int(port)
