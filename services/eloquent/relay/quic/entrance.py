"""QUIC as an operator sets it: the origin relay's sockets and certificate, and whom an edge takes for the origin relay.

Rule of this file: edges and pages that are awaited at one address share a socket; what they speak tells them apart.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from eloquent import schemes
from eloquent.addresses import format_address, reason_of
from eloquent.errors import ConfigurationError
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import Tally
from eloquent.relay.origin import Origin
from eloquent.relay.quic import edges, udp, webtransport
from eloquent.relay.quic.application import ApplicationFactory
from eloquent.relay.quic.certificate import (
    Identity,
    PinnedKey,
    TrustedAuthorities,
    derive_bearer,
    derive_identity,
    load_certificates,
)
from eloquent.relay.quic.edges import Edges
from eloquent.relay.quic.pages import ANY_ORIGIN, Pages, load_page_secret
from eloquent.relay.quic.renewal import CertificateFiles, CertificateSource, OwnCertificate
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.quic.webtransport import WebTransport
from eloquent.relay.settings import OriginSettings

if TYPE_CHECKING:
    from eloquent.drivers.udp import UdpServer

FAREWELL_TIME = 0.5  # seconds in which browsers hear it before their connections are closed
LOOK = 60.0  # seconds between two looks whether the certificate is to be replaced

_log = logging.getLogger(__name__)


class QuicEntrance:
    """Where edges come in over QUIC, and pages over WebTransport.

    Args:
        settings: The origin relay's.
        key: 32 bytes, shared with the edges; None where there are none over QUIC.

    Attributes:
        pages: The pages, if they are let in.

    Raises:
        ConfigurationError: The certificate or the pages' secret cannot be used.
    """

    def __init__(self, settings: OriginSettings, key: bytes | None) -> None:
        self._settings = settings
        self._key = key
        self._source = _source_of(settings, key)
        self._edges = None if key is None or settings.quic is None else Edges(self._bearer(key))
        self.pages = None if settings.webtransport is None else WebTransport(pages_of(settings))
        self._servers: list[tuple[UdpServer, QuicServer]] = []
        self._looking: asyncio.TimerHandle | None = None

    async def open(self, origin: Origin, *, limits: EndpointLimits, tally: Tally) -> None:
        """Let them in.

        Args:
            origin: Answers them.
            limits: What they may take up.
            tally: Where datagrams are counted.

        Raises:
            ConfigurationError: An address cannot be listened on, or the file for the hash cannot be written.
        """
        if self.pages is not None:
            self._publish()
            _warn_of_open_doors(self._settings)
        by_address: dict[str, dict[str, ApplicationFactory]] = {}
        if self._settings.quic is not None and self._edges is not None:
            by_address.setdefault(self._settings.quic, {})[edges.ALPN] = self._edges
        if self._settings.webtransport is not None and self.pages is not None:
            by_address.setdefault(self._settings.webtransport, {})[webtransport.ALPN] = self.pages
        for listen, applications in by_address.items():
            await self._listen(origin, listen, applications, limits, tally)
        self._look_later()

    async def leave(self) -> None:
        """Tell pages that it is over, and replace no more certificates; the origin relay closes the sockets after that."""
        if self._looking is not None:
            self._looking.cancel()
        if self.pages is not None and self.pages.account.sessions:
            for server, endpoint in self._servers:
                endpoint.leave()
                server.turn()
            await asyncio.sleep(FAREWELL_TIME)

    async def _listen(
        self,
        origin: Origin,
        listen: str,
        applications: Mapping[str, ApplicationFactory],
        limits: EndpointLimits,
        tally: Tally,
    ) -> None:
        bind = partial(
            udp.bind,
            scheme_of=schemes.only(self._settings.schemes),
            applications=applications,
            certificate=self._source.current,
            limits=limits,
            tally=tally,
        )
        server = await origin.admit(listen, bind, guard=self.pages if webtransport.ALPN in applications else None)
        assert isinstance(server.endpoint, QuicServer), "as it was made"
        self._servers.append((server, server.endpoint))
        who = " and ".join({edges.ALPN: "edges", webtransport.ALPN: "pages"}[alpn] for alpn in applications)
        _log.info("%s over QUIC are awaited at %s", who, format_address(server.address))

    def _bearer(self, key: bytes) -> bytes:
        return derive_bearer(key, self._source.current.certificate)

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        if self._source.look():
            for _, server in self._servers:
                server.renew(self._source.current)
            if self._edges is not None and self._key is not None:
                self._edges.renew(self._bearer(self._key))
            if self.pages is not None:
                try:
                    self._publish()
                except ConfigurationError as error:
                    _log.error("%s", error)
        self._look_later()

    def _publish(self) -> None:
        """Tell the hash by which a page may know the certificate.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        fingerprint = self._source.current.fingerprint.hex()
        ends = self._source.current.certificate.not_valid_after_utc
        _log.info("the certificate's SHA-256 is %s, until %s", fingerprint, ends.isoformat(timespec="minutes"))
        if (file := self._settings.certificate_hash) is not None:
            try:
                file.write_text(fingerprint + "\n", encoding="ascii")
            except OSError as error:
                raise ConfigurationError(f"cannot write {file}: {reason_of(error)}") from None


def _source_of(settings: OriginSettings, key: bytes | None) -> CertificateSource:
    if settings.certificate is not None and settings.certificate_key is not None:
        return CertificateFiles(settings.certificate, settings.certificate_key)
    return OwnCertificate(ec.generate_private_key(ec.SECP256R1()) if key is None else derive_identity(key))


def pages_of(settings: OriginSettings) -> Pages:
    """Return which pages may ask, and what.

    Raises:
        ConfigurationError: The secret cannot be used.
    """
    secret = None if settings.page_secret is None else load_page_secret(settings.page_secret)
    return Pages(settings.page_origins, secret, settings.page_targets)


def _warn_of_open_doors(settings: OriginSettings) -> None:
    if settings.page_secret is None:
        whose = "of every origin" if ANY_ORIGIN in settings.page_origins else f"of {', '.join(settings.page_origins)}"
        _log.warning("every page %s may ask, and every program that says it is one: there is no page secret", whose)


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
