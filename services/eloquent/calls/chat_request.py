"""A request for a chat completion, as OpenAI words it: what the testbed understands, and what it refuses.

Rules of this file: a field whose neglect would make the answer wrong is refused by name; one that at most changes the words of an
answer (temperature, seed, user, …) is accepted, for the words here mean nothing. What OpenAI has no word for stands in the object
`eloquent`, where no other field is accepted.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from eloquent.errors import EloquentError

MAX_STOPS = 4  # as OpenAI takes
MAX_STOP_LENGTH = 256  # characters


class InvalidRequest(EloquentError):
    """A request that is not answered.

    Args:
        message: Why, naming the field.
        param: Path of the field to blame, such as `messages[0].role`; `None` where it is no single one.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def _as_parts(content: object) -> object:
    """Write a content in the one way: a list of parts."""
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_list(stop: object) -> object:
    if stop is None:
        return []
    return [stop] if isinstance(stop, str) else stop


class Part(BaseModel):
    """A part of a message's content; only text is understood."""

    type: Literal["text", "refusal"]
    text: str = ""


class Message(BaseModel):
    """A message of a conversation."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: Annotated[list[Part], BeforeValidator(_as_parts)] = []

    @property
    def text(self) -> str:
        """The text, of all parts together."""
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What else the stream is to tell."""

    include_usage: bool = False


class Extension(BaseModel):
    """The testbed's own fields, the same as those of gRPC's `GenerateRequest`.

    Attributes:
        token_gap_s: Seconds between two tokens.
        first_token_delay_s: Seconds from the request to the first token.
        source: Name of the token source; when empty, the prompt decides.
    """

    model_config = ConfigDict(extra="forbid")

    token_gap_s: float | None = None
    first_token_delay_s: float | None = None
    source: str = ""


Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_LENGTH)]


class ChatRequest(BaseModel):
    """What a client may ask; `parse` reads one."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: Annotated[list[Stop], Field(max_length=MAX_STOPS), BeforeValidator(_as_list)] = []
    eloquent: Extension | None = None

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def words(self) -> int:
        """Words of all messages, which stand for tokens: the testbed's model has no tokenizer."""
        return sum(len(message.text.split()) for message in self.messages)


def parse(body: bytes) -> ChatRequest:
    """Read a request.

    Args:
        body: JSON.

    Raises:
        InvalidRequest: It is not one, or asks for what this server does not do.
    """
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from error
    for field, (is_harmless, why) in _NOT_DONE.items():
        value = (request.model_extra or {}).get(field)
        if value and not is_harmless(value):
            raise InvalidRequest(f"{field}: {why}", field)
    return request


def _invalid(error: ValidationError) -> InvalidRequest:
    """Word the first mistake that was found."""
    first = error.errors(include_url=False)[0]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    if not param:
        return InvalidRequest(first["msg"])
    if first["type"] == "extra_forbidden":
        return InvalidRequest(f"{param}: no such field; 'eloquent' has {', '.join(Extension.model_fields)}", param)
    return InvalidRequest(f"{param}: {first['msg']}", param)


def _never(_: Any) -> bool:
    return False


def _is_free_choice(choice: Any) -> bool:
    """Return whether the model may answer without calling a tool."""
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        choice = allowed.get("mode") if isinstance(allowed, dict) else None
    return choice in ("none", "auto")


# Field by field: which of its values, other than null, false, 0 and nothing, may be neglected, and why no other.
_NOT_DONE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "tool_choice": (_is_free_choice, "this model calls no tools and cannot be made to; write auto or none"),
    "function_call": (_is_free_choice, "this model calls no functions and cannot be made to; write auto or none"),
    "response_format": (
        lambda wanted: isinstance(wanted, dict) and wanted.get("type") == "text",
        'this model writes plain text, no JSON; write {"type": "text"}',
    ),
    "n": (lambda number: number == 1, "this server gives one answer to a request; write 1"),
    "best_of": (lambda number: number == 1, "this server gives one answer to a request; write 1"),
    "modalities": (lambda wanted: wanted == ["text"], 'this model writes text only; write ["text"]'),
    "audio": (_never, "this model does not speak"),
    "web_search_options": (_never, "this model does not search"),
    **dict.fromkeys(("logprobs", "top_logprobs", "prompt_logprobs"), (_never, "this model knows no probabilities")),
    "logit_bias": (_never, "this model knows no probabilities"),
    "echo": (_never, "this server does not repeat the prompt"),
    # vLLM's
    **dict.fromkeys(
        ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
        (_never, "this model's words cannot be constrained"),
    ),
}
