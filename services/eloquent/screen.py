"""What becomes of the tokens that reach a viewer: measures in Prometheus, rows in the run's logs.

Rules of this file: a token is rendered when it arrives. Rounds from 1 on are logged; round 0 is background load and
only counted. Every series of a client and its schemes exists from the start, so that "no stall" is 0 and not nothing.
"""

import time
from pathlib import Path

from eloquent import telemetry
from eloquent.qoe.session import Rendering, SessionMeasures, SessionMeter
from eloquent.records.rows import LagRow, RowWriter, SessionRow, TokenRow
from eloquent.records.run_directory import RunDirectory


class SessionLog:
    """The logs of what somebody reads.

    Args:
        run: The run's directory.
        client: Name of the client.
        is_buffered: Whether tokens wait for `flush`, or for the end of their session.
    """

    def __init__(self, run: Path, client: str, *, is_buffered: bool = False) -> None:
        directory = RunDirectory(run)
        self.sessions: RowWriter[SessionRow] = directory.session_writer(client)
        self.tokens: RowWriter[TokenRow] = directory.token_writer(client, is_buffered=is_buffered)

    def flush(self) -> None:
        """Write the tokens that wait.

        Raises:
            OSError: They could not be written, and still wait.
        """
        self.tokens.flush()

    def close(self) -> None:
        """Close the files."""
        self.sessions.close()
        self.tokens.close()


class ViewerLog(SessionLog):
    """The logs that a viewer writes.

    Args:
        run: The run's directory.
        client: Name of the client.
    """

    def __init__(self, run: Path, client: str) -> None:
        super().__init__(run, client)
        self.lag: RowWriter[LagRow] = RunDirectory(run).lag_writer(client)

    def close(self) -> None:
        """Close the files."""
        super().close()
        self.lag.close()


class SchemeMetrics:
    """One client's and one scheme's part of the viewer's metrics.

    Args:
        metrics: The viewer's.
        client: Name of the client.
        scheme: Name of the scheme.
    """

    def __init__(self, metrics: telemetry.ViewerMetrics, client: str, scheme: str) -> None:
        labels = client, scheme
        self.rendered = metrics.rendered.tally(*labels)
        self.late_tokens = metrics.late_tokens.labels(*labels)
        self.stalls = metrics.stalls.labels(*labels)
        self.stall_seconds = metrics.stall_seconds.labels(*labels)
        self.stall_excess_seconds = metrics.stall_excess_seconds.labels(*labels)
        self.stall_length = metrics.stall_length.labels(*labels)
        self.time_to_first_token = metrics.time_to_first_token.labels(*labels)
        self.active_streams = metrics.active_streams.labels(*labels)
        self._streams, self._labels = metrics.streams, labels
        self._streams.labels(*labels, "ok")
        self._waiting: dict[str, float] = {}
        metrics.longest_wait.labels(*labels).set_function(self._longest_wait)

    def waits(self, session: str, since_s: float) -> None:
        """Note since when an open stream waits for its next token, in seconds of CLOCK_MONOTONIC."""
        self._waiting[session] = since_s

    def ended(self, session: str, outcome: str) -> None:
        """Count a stream that has ended."""
        self._waiting.pop(session, None)
        self._streams.labels(*self._labels, outcome).inc()

    def _longest_wait(self) -> float:
        """Return the seconds that the most patient reader has waited; called by the thread that shows the metrics."""
        since_s = tuple(self._waiting.values())  # at once: the streams go on
        return max(0.0, time.monotonic() - min(since_s)) if since_s else 0.0


class Screen:
    """One answer being rendered.

    Args:
        session: Name of the session, `<client>.<scheme>.r<round>`.
        client: Name of the client.
        scheme: Name of the scheme.
        round_number: Round; 0 is background load.
        requested_s: When the question was sent, in seconds of CLOCK_MONOTONIC.
        metrics: Where it is counted.
        log: Where it is logged; `None` logs nothing.
    """

    def __init__(
        self,
        session: str,
        *,
        client: str,
        scheme: str,
        round_number: int,
        requested_s: float,
        metrics: SchemeMetrics,
        log: SessionLog | None,
    ) -> None:
        self.session, self.client = session, client
        self._scheme, self._round = scheme, round_number
        self._requested_s = requested_s
        self._metrics = metrics
        self._log = log if round_number > 0 else None
        self._meter = SessionMeter()
        self.tokens = 0
        metrics.active_streams.inc()
        metrics.waits(session, requested_s)

    @property
    def measures(self) -> SessionMeasures:
        """What this answer felt like so far."""
        return self._meter.measures()

    def render(self, *, generated_s: float | None, rendered_s: float) -> Rendering:
        """Render the next token, both instants in seconds of CLOCK_MONOTONIC; give what it means for the reader."""
        metrics = self._metrics
        rendering = self._meter.add(rendered_s=rendered_s, generated_s=generated_s)
        metrics.waits(self.session, rendered_s)
        metrics.rendered.tokens += 1
        if rendering.gap_s is None:
            metrics.time_to_first_token.observe(rendered_s - self._requested_s)
        else:
            metrics.rendered.add(rendering.gap_s)
        if rendering.stall_s:
            metrics.stalls.inc()
            metrics.stall_seconds.inc(rendering.stall_s)
            metrics.stall_length.observe(rendering.stall_s)
            metrics.stall_excess_seconds.inc(rendering.excess_s)
        if rendering.late:
            metrics.late_tokens.inc()
        if self._log is not None:
            self._log.tokens.write(TokenRow(self.session, self.tokens, generated_s, rendered_s))
        self.tokens += 1
        return rendering

    def end(self, outcome: str, *, ended_s: float) -> None:
        """Close the session.

        Args:
            outcome: `ok`, `left` if the reader turned away, or a gRPC status in lower case.
            ended_s: When it ended, in seconds of CLOCK_MONOTONIC.

        Raises:
            OSError: It could not be logged.
        """
        self._metrics.active_streams.dec()
        self._metrics.ended(self.session, outcome)
        if self._log is not None:
            self._log.flush()  # a session whose tokens are not all logged has no end there
            self._log.sessions.write(
                SessionRow(
                    session=self.session,
                    client=self.client,
                    scheme=self._scheme,
                    round=self._round,
                    requested_s=self._requested_s,
                    ended_s=ended_s,
                    outcome=outcome,
                    tokens=self.tokens,
                )
            )
