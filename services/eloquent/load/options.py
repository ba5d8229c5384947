"""What one asks of a load test: the variables of `make load`, checked before anything is touched."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from eloquent import schemes
from eloquent.asking import Via
from eloquent.load.slo import parse_slo
from eloquent.settings import check_settings

Shape = Literal["steady", "ramp", "spike", "commuter"]


class LoadOptions(BaseModel):
    """The options of one load test.

    Attributes:
        users: Chats at the same time, at the height of the shape.
        duration_s: Length of the test in seconds.
        shape: How the number of users goes with time, and with `commuter` the links too (loadtest/shapes.py, ride.py).
        schemes: What carries the answers; the users are divided evenly among them.
        via: Where schemes over datagrams end: in the edge relay of the client's host, or in the load process itself.
        think_s: Median of a user's pause before the next question, in seconds; 0 asks at once.
        answer_tokens: Median length of an answer in tokens.
        token_rate: Tokens a second of each answer.
        slo: Bounds of the summary, such as `stall_ratio=0.2,ttft_p95=2.0`; a breach is exit status 1.
        seed: Seed of what the users do.
        allow_lag: Whether a starved load process is only warned of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: Annotated[int, Field(ge=1, le=10_000)] = 24
    duration_s: Annotated[float, Field(ge=5, le=86_400)] = 60.0
    shape: Shape = "steady"
    schemes: tuple[str, ...] = ("grpc", "eloquent")
    via: Via = "edge"
    think_s: Annotated[float, Field(ge=0, le=600)] = 4.0
    answer_tokens: Annotated[int, Field(ge=1, le=2000)] = 120
    token_rate: Annotated[float, Field(ge=0.1, le=1000)] = 10.0
    slo: str = ""
    seed: int = 1
    allow_lag: bool = False

    @property
    def token_gap_s(self) -> float:
        """Seconds between two tokens."""
        return 1.0 / self.token_rate

    @field_validator("schemes")
    @classmethod
    def _known_schemes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return schemes.check_choice(names)

    @field_validator("slo")
    @classmethod
    def _readable_slo(cls, text: str) -> str:
        parse_slo(text)
        return text


def parse_load_options(**values: object) -> LoadOptions:
    """Check the options of a load test.

    Args:
        values: The fields of `LoadOptions`.

    Raises:
        ConfigurationError: One of them is unusable; the message names it.
    """
    return check_settings(LoadOptions, values)
