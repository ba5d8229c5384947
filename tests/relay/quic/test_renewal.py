"""Certificates that are replaced while connections come and go: one's own in time, files when somebody has changed them."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from eloquent.errors import ConfigurationError
from eloquent.relay.quic.certificate import ServerCertificate, derive_identity, make_certificate
from eloquent.relay.quic.renewal import CertificateFiles, OwnCertificate

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def made(seed: int) -> ServerCertificate:
    return make_certificate(derive_identity(bytes([seed]) * 32), now=NOW)


def pem(shown: ServerCertificate) -> tuple[bytes, bytes]:
    key = shown.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return shown.certificate.public_bytes(serialization.Encoding.PEM), key


def write(shown: ServerCertificate, folder: Path) -> tuple[Path, Path]:
    files = folder / "chain.pem", folder / "key.pem"
    for file, content in zip(files, pem(shown), strict=True):
        file.write_bytes(content)
    return files


def test_ones_own_is_made_again_before_it_ends_with_the_same_key() -> None:
    now = [NOW]
    own = OwnCertificate(derive_identity(bytes(32)), clock=lambda: now[0])
    seen = {own.current.fingerprint}
    for _ in range(40):
        now[0] += dt.timedelta(days=1)
        before = own.current
        assert own.look() == (own.current is not before)
        assert own.current.certificate.not_valid_after_utc - now[0] > dt.timedelta(days=2)
        assert own.current.certificate.public_key() == before.certificate.public_key()
        seen.add(own.current.fingerprint)
    assert len(seen) == 5  # each 10 days


def test_files_that_were_replaced_are_taken_at_the_next_look(tmp_path: Path) -> None:
    files = CertificateFiles(*write(made(1), tmp_path))
    first = files.current.fingerprint
    assert not files.look()
    second = made(2)
    write(second, tmp_path)
    assert files.look()
    assert files.current.fingerprint == second.fingerprint != first
    assert not files.look()


def test_while_one_file_is_replaced_the_certificate_in_use_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = write(made(1), tmp_path)
    files = CertificateFiles(chain, key)
    first, second = files.current, made(2)
    chain.write_bytes(pem(second)[0])
    assert not files.look()
    key.unlink()
    assert not files.look()
    assert files.current is first
    assert caplog.text.count("the certificate in use stays") == 2
    key.write_bytes(pem(second)[1])
    assert files.look()
    assert files.current.fingerprint == second.fingerprint


def test_files_that_cannot_be_used_at_the_beginning_are_an_error(tmp_path: Path) -> None:
    chain, key = write(made(1), tmp_path)
    key.write_bytes(pem(made(2))[1])
    with pytest.raises(ConfigurationError, match="is not that of the certificate"):
        CertificateFiles(chain, key)
