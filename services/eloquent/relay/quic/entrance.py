"""QUIC as an operator sets it: the origin relay's socket and certificate, and whom an edge takes for the origin relay.

Rule of this file: a certificate that the origin relay has made itself is replaced well before it ends; one from a file never is.
"""

import asyncio
import datetime as dt
import logging
from functools import partial
from pathlib import Path
from typing import Literal

from eloquent import schemes
from eloquent.addresses import format_address
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import Tally
from eloquent.relay.origin import Origin
from eloquent.relay.quic import udp
from eloquent.relay.quic.certificate import (
    Identity,
    PinnedKey,
    ServerCertificate,
    TrustedAuthorities,
    derive_bearer,
    derive_identity,
    load_certificate,
    load_certificates,
    make_certificate,
)
from eloquent.relay.quic.edges import ALPN, Edges
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.settings import OriginSettings

RENEWAL = 24 * 3600.0  # seconds after which a self-made certificate, good for 13 days, is replaced

_log = logging.getLogger(__name__)


class QuicEntrance:
    """Where edges come in over QUIC.

    Args:
        settings: The origin relay's.
        key: 32 bytes, shared with the edges.

    Raises:
        ConfigurationError: The certificate cannot be used.
    """

    def __init__(self, settings: OriginSettings, key: bytes) -> None:
        self._settings = settings
        self._key = key
        self._own = derive_identity(key)
        self._certificate = self._load()
        self._renewal: asyncio.TimerHandle | None = None
        self._endpoint: QuicServer | None = None

    async def open(self, origin: Origin, listen: str, *, limits: EndpointLimits, tally: Tally) -> None:
        """Let edges in.

        Args:
            origin: Answers them.
            listen: HOST:PORT; port 0 takes a free one.
            limits: What edges may take up.
            tally: Where datagrams are counted.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        bind = partial(
            udp.bind,
            scheme_of=schemes.only(self._settings.schemes),
            applications={ALPN: Edges(derive_bearer(self._key, self._certificate.certificate))},
            certificate=self._certificate,
            limits=limits,
            tally=tally,
        )
        server = await origin.admit(listen, bind)
        assert isinstance(server.endpoint, QuicServer), "as it was made"
        self._endpoint = server.endpoint
        _log.info("edges over QUIC are awaited at %s", format_address(server.address))
        if self._settings.certificate is None:
            self._renew_later()

    def close(self) -> None:
        """Make no more certificates; the origin relay closes the socket."""
        if self._renewal is not None:
            self._renewal.cancel()

    def _load(self) -> ServerCertificate:
        file, key_file = self._settings.certificate, self._settings.certificate_key
        if file is None or key_file is None:
            return make_certificate(self._own, now=dt.datetime.now(dt.UTC))
        return load_certificate(file, key_file)

    def _renew_later(self) -> None:
        self._renewal = asyncio.get_running_loop().call_later(RENEWAL, self._renew)

    def _renew(self) -> None:
        self._certificate = self._load()
        if self._endpoint is not None:
            self._endpoint.renew(self._certificate)
        self._renew_later()


def identity_of(certificate: Path | Literal["system"] | None, key: bytes, *, host: str) -> Identity:
    """Return whom an edge takes for the origin relay.

    Args:
        certificate: As it was set.
        key: 32 bytes, shared with the origin relay.
        host: Of the origin relay.

    Raises:
        ConfigurationError: The file holds no certificate.
    """
    if certificate is None:
        return PinnedKey.of_key_file(key)
    if certificate == "system":
        return TrustedAuthorities(host)
    load_certificates(Path(certificate))
    return TrustedAuthorities(host, Path(certificate))
