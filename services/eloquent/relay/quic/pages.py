"""Which pages may ask, and what: their origin, the token that they show, and the targets that are open to them.

Rules of this file
- Everything here comes from strangers. What is not allowed by name is refused, with a sentence that an author of pages can read.
- A token is a JSON Web Token (RFC 7519) of HS256, which ends. It lets a page begin a session; when it has ended, what runs
  goes on, and nothing more may be asked.
- A page may say the header fields that `fetch` would let it say, but for those by which proxies tell who asks: what the model
  server believes of those comes from proxies of the operator's only.
- No message holds any part of a token or of the secret.
"""

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt

from eloquent.addresses import reason_of
from eloquent.api.v1.exchange_pb2 import Ask, HttpRequest
from eloquent.errors import ConfigurationError, RemoteProtocolError
from eloquent.relay.exchange import passed_on

PATH = "/eloquent"  # of the URL that pages connect to
ANY_ORIGIN = "*"
DEFAULT_TARGETS = ("POST /v1/chat/completions", "POST /v1/completions", "POST /v1/responses")
AUDIENCE = "eloquent"  # of a token that names any
LEEWAY = 30.0  # seconds by which the clock of who makes tokens may differ
MIN_SECRET = 32  # bytes (RFC 7518 §3.2)
MAX_HEAD = 16 * 1024  # bytes of a request's target and header fields
_MAX_TOKEN = 4096  # bytes
_MAX_SECRET = 4096  # bytes of its file
_ALGORITHM = "HS256"
_TARGET = re.compile(r"[\x21-\x7e]+")
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# WHATWG Fetch, "forbidden request-header"; those of one connection are left out anyhow.
_FORBIDDEN = frozenset(
    b"accept-charset accept-encoding access-control-request-headers access-control-request-method content-length cookie cookie2 "
    b"date dnt expect host origin referer set-cookie via forwarded x-real-ip true-client-ip cf-connecting-ip".split()
)
_FORBIDDEN_BEGINNINGS = (b"proxy-", b"sec-", b"access-control-", b"x-forwarded-", b"x-http-method")


class PageRefused(RemoteProtocolError):
    """A page is not let in, or may not ask what it asks.

    Args:
        cause: For metrics: path, origin, token, target or request.
        message: For the page's author.
        status: Of HTTP.
    """

    def __init__(self, cause: str, message: str, *, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(message)
        self.cause = cause
        self.status = status


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages that an operator lets in.

    Args:
        origins: Such as `https://chat.example`, exactly; `*` for all.
        secret: With which tokens are made; None lets every page of those origins in.
        targets: Method and path, such as `POST /v1/chat/completions`.
        clock: Tells the seconds since 1970.
    """

    origins: Collection[str]
    secret: bytes | None = None
    targets: Collection[str] = DEFAULT_TARGETS
    clock: Callable[[], float] = time.time

    def admit(self, target: str, origin: str | None) -> float:
        """Return until when a page may ask, in seconds since 1970.

        Args:
            target: Path and query that it connects to.
            origin: Of the page, as its browser says.

        Raises:
            PageRefused: It may not.
        """
        try:
            path, query = urlsplit(target).path, parse_qs(urlsplit(target).query, max_num_fields=16)
        except ValueError:
            raise PageRefused("path", "the address is malformed", status=HTTPStatus.BAD_REQUEST) from None
        if path != PATH:
            raise PageRefused("path", f"there is nothing but {PATH}", status=HTTPStatus.NOT_FOUND)
        if ANY_ORIGIN not in self.origins and origin not in self.origins:
            raise PageRefused("origin", "pages of this origin may not ask (--page-origins)")
        return self._end_of(query.get("token", [""])[0])

    def restrict(self, ask: Ask, until: float) -> None:
        """Leave of a page's request what may go to the model server.

        Args:
            ask: The request, which is changed.
            until: When the page's right ends, in seconds since 1970.

        Raises:
            PageRefused: It may not ask that.
        """
        if self.clock() > until:
            raise PageRefused("token", "the token of this session has expired: begin another session with a new one")
        if ask.HasField("http"):
            self._check_target(ask.http)
            _restrict_fields(ask.http)
        elif not ask.HasField("resume"):
            raise PageRefused("request", "a page asks by HTTP only")

    def _end_of(self, token: str) -> float:
        """Return when a token ends.

        Raises:
            PageRefused: It is not good.
        """
        if self.secret is None:
            return float("inf")
        if not token:
            raise _refused_token("the URL has no token: append ?token=")
        if len(token) > _MAX_TOKEN:
            raise _refused_token("the token is too long")
        try:
            claims = jwt.decode(
                token,
                self.secret,
                algorithms=[_ALGORITHM],
                leeway=LEEWAY,
                options={"require": ["exp"], "verify_aud": False},
            )
            end = float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise _refused_token("the token has expired") from None
        except jwt.MissingRequiredClaimError:
            raise _refused_token("the token has no end (exp)") from None
        except (jwt.InvalidTokenError, OverflowError):
            raise _refused_token("the token was not made with the secret of this relay, or is not good yet") from None
        audience = claims.get("aud", AUDIENCE)
        if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
            raise _refused_token(f"the token is for others (aud is not {AUDIENCE})")
        return end + LEEWAY

    def _check_target(self, request: HttpRequest) -> None:
        path, _, _ = request.target.partition("?")
        if not _TARGET.fullmatch(request.target) or f"{request.method} {path}" not in self.targets:
            raise PageRefused("target", "pages may not ask for this (--page-targets)")


def _refused_token(message: str) -> PageRefused:
    return PageRefused("token", message, status=HTTPStatus.UNAUTHORIZED)


def _restrict_fields(request: HttpRequest) -> None:
    fields = [(field.name.encode(), field.value) for field in request.fields]
    if not all(_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value) for name, value in fields):
        raise PageRefused("request", "a header field is malformed", status=HTTPStatus.BAD_REQUEST)
    if len(request.target) + sum(len(name) + len(value) for name, value in fields) > MAX_HEAD:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise PageRefused("request", f"target and header fields have more than {MAX_HEAD} bytes", status=status)
    kept = [
        field
        for field in passed_on(fields, without=_FORBIDDEN)
        if not field.name.lower().encode().startswith(_FORBIDDEN_BEGINNINGS)
    ]
    del request.fields[:]
    request.fields.extend(kept)


def make_page_token(secret: bytes, *, lifetime: float, now: float) -> str:
    """Return a token that lets a page in.

    Args:
        secret: That the origin relay has too.
        lifetime: Seconds for which it is good.
        now: Seconds since 1970.
    """
    return jwt.encode({"aud": AUDIENCE, "iat": int(now), "exp": int(now + lifetime)}, secret, algorithm=_ALGORITHM)


def load_page_secret(path: Path) -> bytes:
    """Return the secret in a file: its text, without white space around it.

    Raises:
        ConfigurationError: It cannot be read, or is too short to be one.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(_MAX_SECRET).strip()
    except OSError as error:
        raise ConfigurationError(f"the secret {path} cannot be read: {reason_of(error)}") from None
    if len(secret) < MIN_SECRET:
        raise ConfigurationError(
            f"the secret in {path} has {len(secret)} bytes, and {MIN_SECRET} are the least: eloquent key makes one that will do"
        )
    return secret
