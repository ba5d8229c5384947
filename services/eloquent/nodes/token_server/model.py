"""The model of the testbed: it answers questions from a token source at a steady pace, by whichever frontend they come.

Rules of this file: token i is due at start + first-token delay + i × gap, on the clock and not after the token before,
so that lateness never adds up. As in an engine that batches, all answers advance in common steps: what is due between two steps
comes at the second. A stream that its client leaves produces nothing more.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from eloquent import schemes, telemetry
from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.errors import ConfigurationError
from eloquent.nodes.common.stream_record import Spent, StreamOwner, StreamRecorder
from eloquent.nodes.sources import Library, SourceToken
from eloquent.nodes.token_server.stop_text import until_stop
from eloquent.nodes.token_server.tcp_account import TcpAccountant, content_spent

DEFAULT_GAP = 0.1  # seconds (Eloquent §4.1: ten tokens a second)
STEP = 0.005  # seconds; a real engine's step is longer, but then all the streams of a test would burst at once
MAX_GAP = 10.0  # seconds
MAX_FIRST_TOKEN_DELAY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server accepts.

    Attributes:
        streams: Streams at once.
        tokens: Tokens of one answer.
        prompt_bytes: Length of a prompt in UTF-8.
        request_time: Seconds in which a request over HTTP has to arrive.
    """

    streams: int = 1000
    tokens: int = 100_000
    prompt_bytes: int = 1_000_000
    request_time: float = 60.0  # a request that was lost on a bad link again and again still arrives by then


@dataclass(frozen=True, slots=True)
class GenerationParameters:
    """What a client asks.

    Attributes:
        prompt: The words.
        max_tokens: Tokens of the answer at most; 0 leaves it to the server's own limit.
        usual_tokens: Length of the answer where neither `max_tokens` nor its source sets one; 0 sets none either.
        stops: Texts at the first of which the answer ends.
        source: Name of the token source; when empty, the prompt decides.
        token_gap: Seconds between two tokens, `None` for the default.
        first_token_delay: Seconds from the question to the first token, `None` for none.
    """

    prompt: str
    max_tokens: int = 0
    usual_tokens: int = 0
    stops: tuple[str, ...] = ()
    source: str = ""
    token_gap: float | None = None
    first_token_delay: float | None = None


class InvalidParameter(ConfigurationError):
    """A question that this server does not take.

    Args:
        field: Which field of the question is to blame.
        complaint: What is wrong with it, as a sentence that has the field's name for its subject.
    """

    def __init__(self, field: str, complaint: str) -> None:
        super().__init__(f"{field} {complaint}")
        self.field = field
        self.complaint = complaint


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        metadata: What the call says of itself.
        descriptor: Of the socket that it came by; None where its connection is not the kernel's.
        account: Has what such a connection sends accounted: takes what to call with the account in bytes of the connection, and
            what to call with the reason where there will be none.
    """

    metadata: Mapping[str, str]
    descriptor: int | None
    account: Callable[[Callable[[Spent], None], Callable[[str], None]], None] | None = None


@dataclass(slots=True)
class Generation:
    """An answer on its way.

    Attributes:
        source: The tokens that the source has yet to give.
        limit: How many of them are wanted at most.
        gap: Seconds between two tokens.
        delay: Seconds to the first.
        stops: Texts at the first of which it ends.
        tokens: Tokens sent.
        content_bytes: Length of their messages, as a relay counts them.
    """

    source: Iterator[SourceToken]
    limit: int
    gap: float
    delay: float
    stops: tuple[str, ...] = ()
    tokens: int = 0
    content_bytes: int = 0
    _stopped: bool = False

    def wanted(self) -> Iterator[SourceToken]:
        """Yield the tokens that are wanted."""
        self._stopped = yield from until_stop(islice(self.source, self.limit), self.stops)

    def was_cut(self) -> bool:
        """Return whether the source had more to say than the limit allows; to be asked when the answer is over."""
        return not self._stopped and next(self.source, None) is not None


class Model:
    """Answers questions.

    Args:
        library: Where answers come from.
        limits: What is accepted.
        metrics: What is counted.
        recorder: Told what each direct stream cost the kernel's TCP.
    """

    def __init__(
        self, library: Library, limits: Limits, metrics: telemetry.ServerMetrics, recorder: StreamRecorder
    ) -> None:
        self._library = library
        self._limits = limits
        self._metrics = metrics
        self._recorder = recorder
        self._steps: dict[int, asyncio.Event] = {}  # those that somebody waits for, by number
        self._tcp = TcpAccountant(self._note_unaccounted)

    def answer(self, parameters: GenerationParameters) -> Generation:
        """Begin an answer; nothing runs yet.

        Raises:
            InvalidParameter: The question is not one that this server takes.
        """
        length, limits = len(parameters.prompt.encode()), self._limits
        if length > limits.prompt_bytes:
            raise InvalidParameter("prompt", f"has {length} bytes; this server takes {limits.prompt_bytes}")
        if parameters.max_tokens > limits.tokens:
            raise InvalidParameter(
                "max_tokens", f"is {parameters.max_tokens}; this server gives at most {limits.tokens}"
            )
        try:
            source = self._library.get(parameters.source, parameters.prompt)
        except ConfigurationError as error:
            raise InvalidParameter("source", f"cannot be used: {error}") from error
        tokens = source.tokens(parameters.prompt)
        if source.is_endless and parameters.usual_tokens and not parameters.max_tokens:
            tokens = islice(tokens, parameters.usual_tokens)
        return Generation(
            source=tokens,
            limit=parameters.max_tokens or limits.tokens,
            gap=_within("token_gap", parameters.token_gap, DEFAULT_GAP, MAX_GAP),
            delay=_within("first_token_delay", parameters.first_token_delay, 0.0, MAX_FIRST_TOKEN_DELAY),
            stops=parameters.stops,
        )

    @contextmanager
    def stream(self, answer: Generation, caller: Caller) -> Iterator[None]:
        """Record what an answer costs, from before its first byte is sent.

        Args:
            answer: What `answer` gave.
            caller: Whose it is.
        """
        ended = self._account(answer, caller)
        try:
            with self._metrics.active_generations.track_inprogress():
                yield
        except asyncio.CancelledError:
            self._metrics.cancelled_streams.inc()
            raise
        finally:
            ended()

    async def settle(self, grace: float) -> None:
        """Wait until the streams that have ended are accounted, at most so many seconds."""
        await self._tcp.settle(grace)

    async def produce(self, answer: Generation, write: Callable[[GenerateResponse], Awaitable[None]]) -> None:
        """Make the tokens of an answer, and have each written when it is due."""
        start = asyncio.get_running_loop().time() + answer.delay
        for index, token in enumerate(answer.wanted()):
            due = start + (index * answer.gap if token.at is None else token.at)
            await self._reach(due)
            self._metrics.generated_tokens.inc()
            message = GenerateResponse(index=index, text=token.text, generated_at_ns=time.monotonic_ns())
            answer.tokens += 1
            answer.content_bytes += message.ByteSize()
            await write(message)

    async def _reach(self, due: float) -> None:
        """Wait for the first step that is not before an instant of the loop's clock."""
        loop, step = asyncio.get_running_loop(), math.ceil(due / STEP)
        if step * STEP <= loop.time():
            await asyncio.sleep(0)  # late as it is, it must not keep the others waiting
            return
        if step not in self._steps:
            self._steps[step] = asyncio.Event()
            loop.call_at(step * STEP, self._take, step)
        await self._steps[step].wait()

    def _take(self, step: int) -> None:
        self._steps.pop(step).set()

    def _account(self, answer: Generation, caller: Caller) -> Callable[[], None]:
        """Have what the kernel or QUIC sends counted for a stream that goes straight to its client.

        Returns:
            To be called when the stream has ended.
        """
        owner = StreamOwner.of(caller.metadata)
        if not _is_direct(owner.scheme):
            return lambda: None

        def on_spent(connection_spent: Spent) -> None:
            spent = content_spent(connection_spent, answer.content_bytes)
            self._recorder.count(owner, Spent(), spent)
            self._recorder.write(owner, answer.tokens, spent)

        if caller.descriptor is not None:
            return self._tcp.begin(caller.descriptor, on_spent)
        if caller.account is not None:
            caller.account(on_spent, self._note_unaccounted)
        return lambda: None

    def _note_unaccounted(self, reason: str) -> None:
        self._metrics.unaccounted_streams.labels(reason).inc()


def _is_direct(scheme: str) -> bool:
    """Return whether streams of this scheme go straight to their client, by the kernel's TCP or by QUIC."""
    try:
        return schemes.get(scheme).kind in {"kernel", "quic"}
    except ConfigurationError:
        return False


def _within(field: str, value: float | None, default: float, most: float) -> float:
    """Return a duration of a question in seconds.

    Raises:
        InvalidParameter: It is negative or longer than this server takes.
    """
    if value is None:
        return default
    if not 0 <= value <= most:
        raise InvalidParameter(field, f"is {value:g} s; this server takes 0 s to {most:g} s")
    return value
