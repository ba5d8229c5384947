"""Who the origin relay is: its certificate, and what edges take for it; and how edges show that they have the key.

Rules of this file
- What is made of the key that both relays share is made by HKDF-SHA-256 (RFC 5869), each thing under a name of its own.
- The bearer token holds for one public key of the server alone, so that whoever gets one by pretending to be the server has nothing
  to show to the real one.
"""

import datetime as dt
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import certifi
from aioquic import tls
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from eloquent.errors import ConfigurationError, RemoteProtocolError

BEARER_SIZE = 32  # bytes
SELF_MADE_TIME = dt.timedelta(days=13)  # browsers take at most 14 days where a hash is all that they check
_EARLIER = dt.timedelta(hours=1)  # for clocks that are slow
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SCALAR_SIZE = (
    48  # bytes: 128 bits more than the order has, so that the remainder is all but uniform (FIPS 186-5, A.2.1)
)


class NotTheServer(RemoteProtocolError):
    """Whoever answers at the server's address is not the server."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server shows.

    Attributes:
        certificate: Its own.
        chain: Those that lead to a certification authority.
        private_key: Its key.
    """

    certificate: x509.Certificate
    private_key: Any
    chain: Sequence[x509.Certificate] = field(default=())

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over the certificate, which a page may name to a browser."""
        return self.certificate.fingerprint(SHA256())


def _derive(key: bytes, name: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt=None, info=b"eloquent quic " + name).derive(key)


def derive_identity(key: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key pair on P-256 that an origin relay without a certificate has.

    Args:
        key: 32 bytes, shared by both relays.
    """
    drawn = int.from_bytes(_derive(key, b"identity", _SCALAR_SIZE))
    return ec.derive_private_key(drawn % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def derive_bearer(key: bytes, server: x509.Certificate) -> bytes:
    """Return what an edge shows to a server, 32 bytes.

    Args:
        key: 32 bytes, shared by both relays.
        server: The server's certificate.
    """
    return _derive(key, b"bearer " + sha256(_public_bytes(server)).digest(), BEARER_SIZE)


def make_certificate(
    private_key: ec.EllipticCurvePrivateKey, *, now: dt.datetime, names: Sequence[str] = ("eloquent",)
) -> ServerCertificate:
    """Return a certificate that nobody vouches for, good for 13 days.

    Args:
        private_key: On P-256, as browsers want it.
        now: The time of day.
        names: Of hosts.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now - _EARLIER + SELF_MADE_TIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(private_key, SHA256())
    )
    return ServerCertificate(certificate, private_key)


def load_certificate(file: Path, key_file: Path) -> ServerCertificate:
    """Return a certificate from files.

    Args:
        file: PEM; the server's certificate, and after it those that lead to a certification authority.
        key_file: PEM; its key.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    own, *chain = load_certificates(file)
    try:
        private_key = load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(f"the certificate's key {key_file} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{key_file} holds no key in PEM without a password: {error}") from None
    if _spki(private_key.public_key()) != _public_bytes(own):
        raise ConfigurationError(f"the key in {key_file} is not that of the certificate in {file}")
    return ServerCertificate(own, private_key, chain)


def load_certificates(file: Path) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, one at least.

    Raises:
        ConfigurationError: It cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the certificate {file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{file} holds no certificate in PEM") from None


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """Takes for the server whoever has one of some keys, whatever its certificate says.

    Attributes:
        public: The keys, as `SubjectPublicKeyInfo`.
    """

    public: frozenset[bytes]

    @classmethod
    def of_key_file(cls, key: bytes) -> "PinnedKey":
        """Return what an edge expects that has nothing but the shared key."""
        return cls(frozenset({_spki(derive_identity(key).public_key())}))

    def check(self, certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> None:  # noqa: ARG002 - as others
        """Check the server's certificate.

        Raises:
            NotTheServer: It is another one.
        """
        if _public_bytes(certificate) not in self.public:
            raise NotTheServer(
                "the origin relay's certificate is not made of the key in the key file: if it has one of its own, name it, "
                "or who vouches for it, with --quic-certificate"
            )


@dataclass(frozen=True, slots=True)
class TrustedAuthorities:
    """Takes for the server whose certificate is for its name, and vouched for.

    Attributes:
        name: Host name or IP address of the server.
        file: PEM of who may vouch, or of the server's own certificate, which then counts whatever it says; None: the system's.
    """

    name: str
    file: Path | None = None

    def check(self, certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> None:
        """Check the server's certificate.

        Raises:
            NotTheServer: It is another one, for another name, or nobody vouches for it.
        """
        if self.file is not None and certificate in load_certificates(self.file):
            return
        try:
            tls.verify_certificate(certificate, list(chain), self.name, cafile=str(self.file or _system_authorities()))
        except tls.Alert as alert:
            raise NotTheServer(f"the origin relay's certificate is not accepted: {alert}") from alert


Identity = PinnedKey | TrustedAuthorities
"""Whom a client takes for the server."""


def _system_authorities() -> str:
    return ssl.get_default_verify_paths().cafile or certifi.where()


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return _spki(certificate.public_key())


def _spki(public_key: Any) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]
