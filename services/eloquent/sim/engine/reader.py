"""The reader of a simulated session: what is held back for smooth reading, whether anybody looks, and what is reported.

Rules of this file

- Playout is that of `qoe.playout`, step by step: the buffer has run dry if a token comes after the one ahead of it was shown
  for its time. While the client waits for the first tokens, or for more after it ran dry, nothing is shown and the buffer
  counts as empty.
- The report is what the library in a client would make of it, after each token and whenever the reader turns away or back.
"""

import math
from dataclasses import dataclass

from eloquent.errors import ConfigurationError
from eloquent.protocol.frames import ReaderState
from eloquent.qoe.playout import Playout

AT_ONCE = Playout(token_time=0.0)  # every token is shown as it comes


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader whose client reports.

    Attributes:
        playout: How the client shows tokens.
        away: `(start, stop)` of the stretch in which the reader looks elsewhere, as shares of the time from 0 to the last
            token, 0..1; `(0, 0)` for never.
    """

    playout: Playout = AT_ONCE
    away: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        start, stop = self.away
        if not 0 <= start <= stop <= 1:
            raise ConfigurationError(f"nobody looks elsewhere from {start:g} to {stop:g} of a session")

    def __str__(self) -> str:
        playout, (start, stop) = self.playout, self.away
        shown = f"{playout.token_time * 1e3:g}ms/{playout.start_tokens}/{playout.resume_tokens}"
        return f"{shown}/away:{start:g}-{stop:g}" if start < stop else shown


class SimulatedClient:
    """What the client of one session does for its reader.

    Args:
        reader: Who reads.
        session_s: Seconds from 0 to the last token.
    """

    def __init__(self, reader: Reader, session_s: float) -> None:
        self._playout = reader.playout
        self._held = 0  # tokens that wait for more before the first of them is shown
        self._needed = reader.playout.start_tokens
        self._dry_at = -math.inf  # seconds; when the next token is wanted
        start, stop = (round(share * session_s, 9) for share in reader.away)
        self._changes = [start, stop] if start < stop else []
        self._looking = True

    def next_change(self) -> float:
        """Return when the reader turns away or back next, or infinity."""
        return self._changes[0] if self._changes else math.inf

    def turn(self) -> None:
        """Let the reader turn away or back."""
        del self._changes[0]
        self._looking = not self._looking

    def take_token(self, now: float) -> None:
        """Take the next token in order."""
        if round(now - self._dry_at, 9) > 0:
            self._held += 1
            if self._held < self._needed:
                return
            self._dry_at = now + self._held * self._playout.token_time
            self._held, self._needed = 0, self._playout.resume_tokens
        else:
            self._dry_at += self._playout.token_time

    def report(self, now: float) -> ReaderState:
        """Return what the client reports."""
        return ReaderState(max(self._dry_at - now, 0.0), self._looking)
