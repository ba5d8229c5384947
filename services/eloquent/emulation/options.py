"""What one asks of a run: the variables of `make up`, checked before anything is touched."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from eloquent import congestion, scenarios, schemes
from eloquent.addresses import parse_address
from eloquent.channel.scenario import Scenario
from eloquent.emulation.inbound_forwards import LOCUST, METRICS, PROMETHEUS, InboundForward
from eloquent.errors import ConfigurationError
from eloquent.settings import check_settings

REPOSITORY = Path(__file__).parents[3]
PROMPT = "Why do trains run late, and what can be done about it? Answer in about 300 words."
_URL = re.compile(r"http://([^/?#@]+)(?:/v1)?/?")


def _check_address(text: str) -> str:
    parse_address(text)
    return text


Address = Annotated[str, AfterValidator(_check_address)]


def _check_url(text: str) -> str:
    found = _URL.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"UPSTREAM={text} is not possible: say http://HOST:PORT")
    parse_address(found[1])
    return text


def _usual_schemes(data: dict[str, object]) -> tuple[str, ...]:
    if data.get("upstream") is None:
        return ("grpc", "duplicate-2", "eloquent", "eloquent-packed")
    return (*(f"sse-{control}" for control in congestion.offered()), "openai")


def require_askable(names: Iterable[str], *, upstream: str | None) -> None:
    """Check that a model server outside, where there is one, can be asked by these schemes.

    Args:
        names: Of the schemes.
        upstream: Its URL.

    Raises:
        ConfigurationError: It cannot by one of them.
    """
    for name in names if upstream is not None else ():
        scheme = schemes.get(name)
        if scheme.transport != "sse" and scheme.kind != "pair":
            raise ConfigurationError(
                f"'{name}' does not carry HTTP, by which a server of yours is asked: "
                "choose from sse, sse-cubic, sse-bbr, openai, eloquent-quic"
            )


def _read_once(given: object) -> object:
    return scenarios.load(given) if isinstance(given, str) else given


ReadOnce = Annotated[
    InstanceOf[Scenario], BeforeValidator(_read_once), PlainSerializer(lambda scenario: scenario.to_line())
]


class Options(BaseModel):
    """The options of one run.

    Attributes:
        upstream: URL of a model server on this machine, or that it reaches, which the HTTP requests of the lab go to; None for the
            lab's own token server.
        model: Which of its models is asked.
        prompt: What it is asked.
        clients: Client hosts, each behind its own impaired link.
        first_client: Number of the first of them: labs that share clients among them give each a name, and losses, of its own.
        schemes: What carries the token streams; each client runs all of them at the same time over the same link. With `upstream`
            they are those of HTTP.
        scenario: The links'; given as a shipped scenario, a YAML file, or a line such as
            `rtt=400ms loss=independent(probability=0.1)`. It is read once, here, and goes on as a line: what becomes of the file
            meanwhile changes nothing.
        rounds: How often each client asks once by each scheme.
        seed: Seed of the links' schedules.
        session_s: Length of one answer in seconds.
        token_rate: Tokens a second of each answer.
        carrier: What impairs the links; `auto` takes the best that the kernel has.
        datapath: Open vSwitch's datapath; `auto` takes the kernel's where there is one.
        background: Whether a light load goes on after the rounds, for the dashboards.
        prometheus_port: Port of Prometheus on 127.0.0.1; 0 takes a free one.
        board_port: Port of the board, likewise.
        locust_port: Port of Locust's web page while a load runs, likewise.
        controller: HOST:PORT of an OpenFlow controller outside the lab, which then starts none of its own.
        prometheus: HOST:PORT of a Prometheus outside the lab, likewise; `prometheus_port` is then where its user finds it.
        rtt_tolerance_s: How far a link's RTT may be from the scenario's, in seconds.
        topology: The topology file.
        runs: Folder of the run directories.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstream: Annotated[str, AfterValidator(_check_url)] | None = None
    model: Annotated[str | None, Field(min_length=1, validate_default=True)] = None
    prompt: Annotated[str, Field(min_length=1)] = PROMPT
    clients: Annotated[int, Field(ge=1, le=500)] = 8
    first_client: Annotated[int, Field(ge=1, le=65_000)] = 1  # which is part of a MAC address
    schemes: Annotated[tuple[str, ...], Field(default_factory=_usual_schemes)]
    scenario: ReadOnce = Field(default_factory=lambda: scenarios.load("paper-default"))
    rounds: Annotated[int, Field(ge=1, le=1000)] = 1
    seed: int = 1
    session_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    token_rate: Annotated[float, Field(ge=0.1, le=1000)] = 10.0
    carrier: Literal["auto", "netem", "wire"] = "auto"
    datapath: Literal["auto", "kernel", "user"] = "auto"
    background: bool = True
    prometheus_port: Annotated[int, Field(ge=0, le=65535)] = 9090
    board_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    locust_port: Annotated[int, Field(ge=0, le=65535)] = 8089
    controller: Address | None = None
    prometheus: Address | None = None
    rtt_tolerance_s: Annotated[float, Field(gt=0, le=1)] = 0.002
    topology: Path = REPOSITORY / "topologies" / "access_network.py"
    runs: Path = REPOSITORY / "runs"

    @field_validator("model")
    @classmethod
    def _of_a_server(cls, name: str | None, info: ValidationInfo) -> str | None:
        if (name is None) != (info.data.get("upstream") is None):
            raise ConfigurationError("UPSTREAM and MODEL go together: a server, and which of its models to ask")
        return name

    @field_validator("schemes")
    @classmethod
    def _known_schemes(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        require_askable(schemes.check_choice(names), upstream=info.data.get("upstream"))
        return names

    @property
    def upstream_address(self) -> str | None:
        """HOST:PORT of the model server outside."""
        return None if self.upstream is None else _URL.fullmatch(self.upstream)[1]  # type: ignore[index]  # it was checked

    @property
    def token_gap_s(self) -> float:
        """Seconds between two tokens."""
        return 1.0 / self.token_rate

    @property
    def forwarded_ports(self) -> dict[InboundForward, int]:
        """The port outside of each inbound forward but the board's."""
        watched = {PROMETHEUS: self.prometheus_port} if self.prometheus is None else {METRICS: METRICS.inner_port}
        return {**watched, LOCUST: self.locust_port}


def parse_options(**values: object) -> Options:
    """Check the options.

    Args:
        values: The fields of `Options`.

    Raises:
        ConfigurationError: One of them is unusable; the message names it.
    """
    return check_settings(Options, values)
