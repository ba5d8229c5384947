"""One answer, read by a thread of its own: rendered, logged, and told to Locust.

Rules of this file: a reader who turns away, or whose test is over, has not failed. Whatever else goes wrong is a failure
everywhere: in the log, in Prometheus and in Locust's statistics.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from eloquent.calls.answer import AnswerFailed
from eloquent.load.clients import CancellationToken, LoadClient, LoadRequest
from eloquent.records.rows import LEFT, SUCCESS
from eloquent.screen import Screen

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry for Locust's statistics.

    Attributes:
        name: `TTFT`, `gap`, `stall` or `stream`.
        seconds: How long it took.
        tokens: Tokens of it.
        failure: What went wrong.
    """

    name: str
    seconds: float
    tokens: int = 1
    failure: Exception | None = None


class Reading:
    """One answer on its way to its reader.

    Args:
        client: The way to it.
        question: What is asked.
        screen: Where it is rendered.
        leave_after: Tokens after which the reader turns away; `None` reads on to the end.
        on_end: Called by the reading thread when all is done.

    Attributes:
        entries: What Locust is to be told, the oldest first; whoever tells it takes them out.
        outcome: How it ended.
        failure: What went wrong.
    """

    def __init__(
        self,
        client: LoadClient,
        question: LoadRequest,
        screen: Screen,
        *,
        leave_after: int | None,
        on_end: Callable[[], object],
    ) -> None:
        self.entries: deque[Entry] = deque()
        self.outcome = LEFT
        self.failure: Exception | None = None
        self._client = client
        self._question = question
        self._screen = screen
        self._leave_after = leave_after
        self._on_end = on_end
        self._cancellation = CancellationToken()

    @property
    def has_begun(self) -> bool:
        """Whether a token was rendered."""
        return self._screen.tokens > 0

    def start(self) -> None:
        """Ask, and read in a thread."""
        threading.Thread(target=self._run, daemon=True).start()

    def leave(self, failure: AnswerFailed | None = None) -> None:
        """Have the thread leave the answer, at once; does nothing after the end.

        Args:
            failure: Why that is a failure; `None` where it is none.
        """
        self.failure = failure
        self._cancellation.cancel()

    def _run(self) -> None:
        stream_s = 0.0
        try:
            stream_s = self._read(time.monotonic())
        finally:
            self._end(stream_s)

    def _end(self, stream_s: float) -> None:
        """Close the session, and tell of its end whatever becomes of its log: its user waits for that."""
        screen = self._screen
        try:
            screen.end(self.outcome, ended_s=time.monotonic())
        except OSError as error:  # such as a full disk: the session is not in the log, so it has not ended well
            self.outcome, self.failure = "internal", error
            _logger.exception("the end of %s could not be logged", screen.session)
        finally:
            self.entries.append(Entry("stream", stream_s, screen.tokens, self.failure))
            self._on_end()

    def _read(self, started: float) -> float:
        """Read to the end, whichever that is, and note it; return the length of the stream in seconds."""
        screen, stream_s = self._screen, 0.0
        tokens = self._client.ask(
            self._question, client=screen.client, session=screen.session, cancellation=self._cancellation
        )
        try:
            with closing(tokens):
                for token in tokens:
                    now = time.monotonic()
                    rendering = screen.render(generated_s=token.generated_s, rendered_s=now)
                    if rendering.gap_s is None:
                        self.entries.append(Entry("TTFT", now - started))
                    else:
                        stream_s += rendering.gap_s
                        self.entries.append(Entry("gap", rendering.gap_s))
                    if rendering.stall_s:
                        self.entries.append(Entry("stall", rendering.stall_s))
                    if screen.tokens == self._leave_after:
                        return stream_s
            self.outcome = SUCCESS
        except AnswerFailed as error:
            if not self._cancellation.cancelled:
                self.failure = error
            if isinstance(self.failure, AnswerFailed):
                self.outcome = self.failure.outcome
        except Exception as error:  # a failed session is an outcome; its traceback is logged
            self.outcome, self.failure = "internal", error
            _logger.exception("%s failed", screen.session)
        return stream_s
