"""What an operator sets, from flags, the environment and a file: one schema for each relay."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from eloquent import schemes
from eloquent.addresses import parse_address
from eloquent.errors import ConfigurationError
from eloquent.relay.quic.pages import ANY_ORIGIN, DEFAULT_TARGETS

PORT = 4433  # of an origin relay
MAX_REQUEST = 32_000_000  # bytes of a request's content: a prompt with several pictures
SEND_GRID = 0.020  # seconds: as long as a token of a fast model takes, a third of the longest pace of `eloquent-packed`
DEFAULT_SCHEME = schemes.BETWEEN_RELAYS
_PAGE_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_PAGE_TARGET = re.compile(r"[A-Z]+ /[\x21-\x22\x24-\x2b\x2d-\x3e\x40-\x7e]*")  # without comma, query and fragment
OFFERED_SCHEMES = ("eloquent-packed", "eloquent", "eloquent-adaptive", "retransmit")


def _everywhere(text: object) -> object:
    """Read `:PORT` as all IPv4 addresses of this machine."""
    return f"0.0.0.0{text}" if isinstance(text, str) and text.startswith(":") else text  # noqa: S104 - as asked for


def _check_listen(text: str) -> str:
    try:
        parse_address(text, listen=True)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


def _check_address(text: str) -> str:
    try:
        parse_address(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


def _check_scheme(name: str) -> str:
    try:
        kind = schemes.get(name).kind
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    if kind != "datagram":
        raise ValueError(f"the scheme '{name}' is not carried by relays")
    return name


def _split(text: object) -> object:
    return [name.strip() for name in text.split(",") if name.strip()] if isinstance(text, str) else text


def _check_page_origin(text: str) -> str:
    if text != ANY_ORIGIN and not _PAGE_ORIGIN.fullmatch(text):
        raise ValueError(
            f"'{text}' is no origin of pages: write it as browsers do, such as https://chat.example, or * for all"
        )
    return text


def _check_page_target(text: str) -> str:
    if not _PAGE_TARGET.fullmatch(text):
        raise ValueError(
            f"'{text}' is not what pages may ask: write a method and a path, such as POST /v1/chat/completions"
        )
    return text


Listen = Annotated[str, BeforeValidator(_everywhere), AfterValidator(_check_listen)]
Where = Annotated[str, AfterValidator(_check_address)]
SchemeName = Annotated[str, AfterValidator(_check_scheme)]
PageOrigin = Annotated[str, AfterValidator(_check_page_origin)]
PageTarget = Annotated[str, AfterValidator(_check_page_target)]


class RelaySettings(BaseModel):
    """What both relays are told.

    Attributes:
        key_file: Holds the key that both relays share.
        plaintext: Neither encrypt nor authenticate: for closed networks only, such as a lab's.
        max_request: Bytes of a request.
        metrics: HOST:PORT that Prometheus asks; None for no metrics.
        grace: Seconds that answers get to end after SIGTERM.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_file: Path | None = None
    plaintext: bool = False
    max_request: Annotated[int, Field(ge=1, le=1_000_000_000)] = MAX_REQUEST
    metrics: Listen | None = None
    grace: Annotated[float, Field(ge=0, le=3600)] = 30.0

    @model_validator(mode="after")
    def _check_key(self) -> "RelaySettings":
        if (self.key_file is None) == (not self.plaintext):
            raise ValueError(
                "name the key file that both relays share (eloquent key makes one), or plaintext for a closed network"
            )
        return self


class OriginSettings(RelaySettings):
    """What an origin relay is told.

    Attributes:
        upstream: URL of the model server.
        listen: HOST:PORT for edges, over UDP, and over TCP unless in plaintext.
        tcp: Whether to let edges in over TCP.
        quic: HOST:PORT for edges, over QUIC; None lets nobody in over it.
        certificate: PEM file of the chain that edges over TCP and QUIC are shown; None speaks no TLS over TCP, and shows what is
            made of the key over QUIC.
        certificate_key: PEM file of its key.
        certificate_hash: File that gets the SHA-256 of the certificate that pages are shown, in hexadecimal; None for none.
        webtransport: HOST:PORT for pages, over WebTransport; None lets none in.
        page_origins: Origins of the pages that may ask, such as https://chat.example; * for all.
        page_secret: File of the secret with which the tokens are made that pages show; None lets them in without.
        page_targets: Method and path of what pages may ask.
        max_page_answers: Answers of pages at once.
        schemes: That edges may ask for.
        keep: Seconds that an answer without a reader is kept.
        silence: Seconds of the model's silence after which an answer is given up; None for never.
        max_answers: Answers at once.
        send_grid: Seconds between the instants at which sealed answers go on, whenever the model wrote; 0 lets them go at once.
        journal: File that gets a line of JSON of each answer that is over; None for none.
    """

    upstream: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")]
    listen: Listen = f"0.0.0.0:{PORT}"
    schemes: Annotated[tuple[SchemeName, ...], BeforeValidator(_split), Field(min_length=1)] = OFFERED_SCHEMES
    keep: Annotated[float, Field(ge=0, le=3600)] = 60.0
    silence: Annotated[float, Field(gt=0)] | None = None
    max_answers: Annotated[int, Field(ge=1)] = 1000
    send_grid: Annotated[float, Field(ge=0, le=0.1)] = SEND_GRID
    journal: Path | None = None
    tcp: bool = True
    quic: Listen | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    certificate_hash: Path | None = None
    webtransport: Listen | None = None
    page_origins: Annotated[tuple[PageOrigin, ...], BeforeValidator(_split)] = ()
    page_secret: Path | None = None
    page_targets: Annotated[tuple[PageTarget, ...], BeforeValidator(_split), Field(min_length=1)] = DEFAULT_TARGETS
    max_page_answers: Annotated[int, Field(ge=1)] = 500

    @model_validator(mode="after")
    def _check_certificate(self) -> "OriginSettings":
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("a certificate and its key are named together")
        return self

    @model_validator(mode="after")
    def _check_quic(self) -> "OriginSettings":
        if self.plaintext and self.quic is not None:
            raise ValueError("nothing is carried over QUIC in plaintext: name a key file")
        return self

    @model_validator(mode="after")
    def _check_pages(self) -> "OriginSettings":
        if self.webtransport is None and (self.page_origins or self.page_secret or self.certificate_hash):
            raise ValueError(
                "page-origins, page-secret and certificate-hash are of webtransport: say where pages come in"
            )
        if self.webtransport is not None and not self.page_origins:
            raise ValueError(
                "say with page-origins whose pages may ask over webtransport, such as https://chat.example, or * for all"
            )
        if self.listen in (self.quic, self.webtransport):
            raise ValueError(f"edges over sealed UDP have {self.listen}: QUIC and WebTransport need another port")
        return self


class EdgeSettings(RelaySettings):
    """What an edge relay is told.

    Attributes:
        origin: HOST:PORT of the origin relay.
        listen: HOST:PORT for clients, over HTTP.
        scheme: That carries answers.
        keep_alive: Seconds of silence after which an event stream gets a comment; 0 for never.
        carrier: What brings datagrams to the origin relay: udp, tcp, quic, or auto for UDP, and TCP where UDP is blocked.
        fallback: URL of the origin relay over TCP, ws or wss; None for ws and its HOST:PORT.
        quic_certificate: PEM file of who vouches for the origin relay's certificate over QUIC, or of that itself; `system` for
            whom the system trusts; None takes one that is made of the key.
    """

    origin: Where
    carrier: Literal["auto", "udp", "tcp", "quic"] = "auto"
    fallback: Annotated[str, Field(pattern=r"^wss?://[^\s/?#]+[^\s#]*$")] | None = None
    quic_certificate: Literal["system"] | Path | None = None
    listen: Listen = "127.0.0.1:8080"
    scheme: SchemeName = DEFAULT_SCHEME
    keep_alive: Annotated[float, Field(ge=0)] = 15.0

    @model_validator(mode="after")
    def _check_carrier(self) -> "EdgeSettings":
        if self.plaintext and self.carrier in ("tcp", "quic"):
            raise ValueError(f"nothing is carried over {self.carrier.upper()} in plaintext: name a key file")
        if self.quic_certificate is not None and self.carrier != "quic":
            raise ValueError("quic-certificate is for the carrier quic alone")
        return self

    @property
    def url(self) -> str:
        """The origin relay's, over TCP."""
        return self.fallback or f"ws://{self.origin}/"


Model = TypeVar("Model", bound=RelaySettings)


def read_settings(
    model: type[Model],
    role: Literal["origin", "edge"],
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Model:
    """Put together what an operator sets: a flag wins over the environment, and that over the file.

    Args:
        model: The relay's settings.
        role: The table of the file, and the middle of the variables: ELOQUENT_EDGE_LISTEN.
        flags: By name; None where one is not given.
        file: In TOML; one may serve both relays.
        environment: Variables.

    Raises:
        ConfigurationError: Something cannot be used; the message says which key, and where it was set.
    """
    prefix = f"ELOQUENT_{role.upper()}_"
    variables = {
        key.removeprefix(prefix).lower(): value for key, value in environment.items() if key.startswith(prefix)
    }
    sources: list[tuple[str, Mapping[str, Any]]] = [
        (f"{file}, [{role}] ", {} if file is None else _read_file(file, role)),
        (prefix, variables),
        ("--", {key: value for key, value in flags.items() if value is not None}),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for where, found in sources:
        values |= found
        origins |= {key: _say(where, key) for key in found}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise ConfigurationError(f"say --{key.replace('_', '-')}, or {prefix}{key.upper()}") from None
        raise ConfigurationError(f"{origins[key]}: {message}" if key in origins else message) from None


def _say(where: str, key: str) -> str:
    """Return what the user calls a key."""
    spelt = {"--": key.replace("_", "-")}.get(where, key.upper() if where.startswith("ELOQUENT_") else key)
    return where + spelt


def _read_file(file: Path, role: str) -> Mapping[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from None
    table = found.get(role, {})
    if unknown := found.keys() - {"origin", "edge"}:
        raise ConfigurationError(f"{file}: '{min(unknown)}' is neither [origin] nor [edge]")
    if not isinstance(table, dict):
        raise ConfigurationError(f"{file}: [{role}] is not a table")
    return table
