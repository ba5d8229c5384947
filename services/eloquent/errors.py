"""The errors of the project, by whose fault they are.

`LocalProtocolError` is a bug of the caller, `RemoteProtocolError` is bad input from the peer: a driver counts the second kind,
drops the datagram and lives on. The others carry one sentence for the person at the keyboard.
"""


class EloquentError(Exception):
    """Base of every error that this project raises on purpose."""


class LocalProtocolError(EloquentError):
    """The caller used an endpoint in a way that its contract forbids."""


class RemoteProtocolError(EloquentError):
    """The peer sent something that the protocol forbids."""


class MalformedPacket(RemoteProtocolError):
    """A datagram that cannot be decoded: truncated, corrupted, of another version, or not ours at all."""


class ConfigurationError(EloquentError):
    """A value given by the user is unusable; the message names it and says what would be accepted."""


class EmulationError(EloquentError):
    """The emulated network could not be built, or would not be the one that was asked for."""


class NotInstalled(EloquentError):
    """A command needs what is not installed; the message says how to install it."""
