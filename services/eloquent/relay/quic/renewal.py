"""Certificates that are replaced while the origin relay runs: one of its own before it ends, files when they have changed.

Rule of this file: new connections are shown what is `current`; those that have begun keep what they were shown.
"""

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from eloquent.errors import ConfigurationError
from eloquent.relay.quic.certificate import ServerCertificate, load_certificate, make_certificate

RENEWAL = dt.timedelta(days=3)  # before the end of a certificate of one's own

_log = logging.getLogger(__name__)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class CertificateSource(Protocol):
    """Where listeners get what they show.

    Attributes:
        current: The certificate for new connections.
    """

    current: ServerCertificate

    def look(self) -> bool:
        """Replace the certificate if it is time, and return whether it was replaced."""


class OwnCertificate:
    """A certificate that is made here, and again before it ends.

    Args:
        private_key: On P-256; the same for all that are made.
        clock: Tells the time.

    Attributes:
        current: The certificate for new connections.
    """

    def __init__(self, private_key: ec.EllipticCurvePrivateKey, *, clock: Callable[[], dt.datetime] = _now) -> None:
        self._private_key = private_key
        self._clock = clock
        self.current = make_certificate(private_key, now=clock())

    def look(self) -> bool:
        """See `CertificateSource`."""
        if self._clock() < self.current.certificate.not_valid_after_utc - RENEWAL:
            return False
        self.current = make_certificate(self._private_key, now=self._clock())
        return True


class CertificateFiles:
    """A certificate in files, as an operator, or what renews certificates for him, leaves them.

    Args:
        file: PEM; the certificate, and after it those that lead to a certification authority.
        key_file: PEM; its key.

    Attributes:
        current: The certificate for new connections.

    Raises:
        ConfigurationError: A file cannot be used.
    """

    def __init__(self, file: Path, key_file: Path) -> None:
        self._files = file, key_file
        self._seen = [_stamp(path) for path in self._files]
        self.current = load_certificate(file, key_file)

    def look(self) -> bool:
        """See `CertificateSource`; files that cannot be used change nothing."""
        seen = [_stamp(path) for path in self._files]
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            found = load_certificate(*self._files)
        except ConfigurationError as error:  # perhaps one of the two is not written yet
            _log.warning("the certificate in use stays: %s", error)
            return False
        before, self.current = self.current, found
        return found.fingerprint != before.fingerprint


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file does; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
