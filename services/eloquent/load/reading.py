"""One answer, read in the reading loop: rendered, logged, and told to Locust.

Rules of this file: a reader who turns away, or whose test is over, has not failed. Whatever else goes wrong is a failure
everywhere: in the log, in Prometheus and in Locust's statistics.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from eloquent.asking import AsyncClient, Metadata
from eloquent.calls.answer import AnswerFailed
from eloquent.load.waits import Waits
from eloquent.records.rows import LEFT, SUCCESS
from eloquent.screen import Screen

FIRST_TOKEN_TIMEOUT = 10.0  # seconds

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadQuestion:
    """What a user asks for.

    Attributes:
        prompt: The words.
        max_tokens: Tokens of the answer at most.
        token_gap: Seconds between two tokens.
        deadline: Seconds after which the session is given up.
    """

    prompt: str
    max_tokens: int
    token_gap: float
    deadline: float

    @property
    def tokens(self) -> int:
        """Tokens of the answer at most, of whatever server."""
        return self.max_tokens


class Reading:
    """One answer on its way to its reader.

    Args:
        client: The way to it.
        question: What is asked.
        metadata: Whose session it is.
        screen: Where it is rendered.
        waits: Where its waits are noted for Locust.
        leave_after: Tokens after which the reader turns away; `None` reads on to the end.
        on_end: Called in the loop's thread when all is done.

    Attributes:
        outcome: How it ended.
        failure: What went wrong.
        stream_s: Seconds from the first token to the latest.
        tokens: How many were rendered.
    """

    def __init__(
        self,
        client: AsyncClient,
        question: LoadQuestion,
        metadata: Metadata,
        screen: Screen,
        waits: Waits,
        *,
        leave_after: int | None,
        on_end: Callable[[], object],
    ) -> None:
        self.outcome = LEFT
        self.failure: BaseException | None = None
        self.stream_s = 0.0
        self._client = client
        self._question = question
        self._metadata = metadata
        self._screen = screen
        self._waits = waits
        self._leave_after = leave_after
        self._on_end = on_end
        self._task: asyncio.Task[str] | None = None

    @property
    def tokens(self) -> int:
        """How many tokens were rendered."""
        return self._screen.tokens

    def start(self) -> None:
        """Ask, and read; to be called in the loop's thread."""
        self._task = asyncio.get_running_loop().create_task(self._read(time.monotonic()))
        self._task.add_done_callback(self._end)

    def leave(self) -> None:
        """Leave the answer at once, which is no failure; to be called in the loop's thread, after `start`."""
        assert self._task is not None
        self._task.cancel()

    async def _read(self, started: float) -> str:
        """Read to the end, whichever that is; return the outcome."""
        screen, waits = self._screen, self._waits
        try:
            async with (
                asyncio.timeout(FIRST_TOKEN_TIMEOUT) as patience,
                aclosing(self._client.answer(self._question, self._metadata)) as answer,
            ):
                async for token in answer:
                    now = time.monotonic()
                    rendering = screen.render(generated_s=token.generated_s, rendered_s=now)
                    if rendering.gap_s is None:
                        patience.reschedule(None)
                        waits.first_tokens.append(now - started)
                    else:
                        self.stream_s += rendering.gap_s
                        waits.gaps.append(rendering.gap_s)
                        if rendering.stall_s:
                            waits.stalls.append(rendering.stall_s)
                    if screen.tokens == self._leave_after:
                        return LEFT
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no token within {FIRST_TOKEN_TIMEOUT:g} s") from error
        return SUCCESS

    def _end(self, task: asyncio.Task[str]) -> None:
        """Close the session, and tell of its end whatever becomes of its log: its user waits for that."""
        screen = self._screen
        try:
            if not task.cancelled():
                self._judge(task)
            screen.end(self.outcome, ended_s=time.monotonic())
        except OSError as error:  # such as a full disk: the session is not in the log, so it has not ended well
            self.outcome, self.failure = "internal", error
            _logger.exception("the end of %s could not be logged", screen.session)
        finally:
            self._on_end()

    def _judge(self, task: asyncio.Task[str]) -> None:
        """Take the outcome of an answer that was not left by force."""
        self.failure = task.exception()
        match self.failure:
            case None:
                self.outcome = task.result()
            case AnswerFailed():
                self.outcome = self.failure.outcome
            case _:  # a failed session is an outcome; its traceback is logged
                self.outcome = "internal"
                _logger.error("%s failed", self._screen.session, exc_info=self.failure)
