"""The live chat: one question, asked by several schemes at the same instant through one client's link, token by token.

Rules of this file: an asker (nodes/asker/) runs in the client's network for the length of one question, and dies with the page
that asked. What it reads is counted here as a viewer counts its own, so that a chat shows on the panels too.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from eloquent import telemetry
from eloquent.errors import ConfigurationError
from eloquent.screen import SchemeMetrics, Screen
from eloquent.watch.facts import RunFacts

AT_ONCE = 3  # chats; each keeps a process busy on a machine that measures
STOP_TIME = 3.0  # seconds for an asker to leave its streams
_STRIP = 3  # times the length of the answer: a stalled answer takes longer than a smooth one


class BoardQuestion(BaseModel):
    """What the page asks.

    Attributes:
        client: Through whose link.
        schemes: By which schemes.
        words: What to ask.
        seconds: Length of the answer.
        token_rate: Tokens a second of it; the run's own unless given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: str
    schemes: Annotated[tuple[str, ...], Field(min_length=1, max_length=4)]
    words: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
    seconds: Annotated[float, Field(ge=2, le=60)] = 20.0
    token_rate: Annotated[float, Field(ge=0.1, le=1000)] | None = None


class BoardAnswer:
    """One scheme's side of a chat.

    Args:
        session: Name of the session.
        question: What was asked.
        scheme: Name of the scheme.
        asked_s: When, in seconds of CLOCK_MONOTONIC.
        metrics: Where it is counted.

    Attributes:
        is_open: Whether it has not ended.
    """

    def __init__(
        self, session: str, question: BoardQuestion, scheme: str, asked_s: float, metrics: SchemeMetrics
    ) -> None:
        self._screen = Screen(
            session,
            client=question.client,
            scheme=scheme,
            round_number=0,
            requested_s=asked_s,
            metrics=metrics,
            log=None,
        )
        self._asked_s = asked_s
        self._first_s: float | None = None
        self._longest_s = 0.0
        self.is_open = True

    def render(self, token: dict[str, Any]) -> dict[str, Any]:
        """Count a token; give what the page is told of it."""
        rendering = self._screen.render(generated_s=token["generated_s"], rendered_s=token["rendered_s"])
        at_s = token["rendered_s"] - self._asked_s
        self._first_s = at_s if self._first_s is None else self._first_s
        self._longest_s = max(self._longest_s, rendering.stall_s)
        return {
            "event": "token",
            "scheme": token["scheme"],
            "text": token["text"],
            "at_s": round(at_s, 4),
            "stall_s": round(rendering.stall_s, 4),
            "late": rendering.late,
        }

    def end(self, outcome: str, *, ended_s: float) -> dict[str, Any]:
        """Close it; give its numbers (docs/measures.md)."""
        self._screen.end(outcome, ended_s=ended_s)
        self.is_open = False
        measures = self._screen.measures
        return {
            "tokens": measures.tokens,
            "stall_ratio": measures.stall_s / measures.stream_s if measures.stream_s else None,
            "stalls": measures.stalls,
            "longest_stall_s": self._longest_s,
            "first_token_s": self._first_s,
            "late_tokens": measures.late_tokens,
            "seconds": ended_s - self._asked_s,
        }


class Chats:
    """The chats of one board.

    Args:
        facts: What runs.
        metrics: Where tokens are counted.
    """

    def __init__(self, facts: RunFacts, metrics: telemetry.ViewerMetrics) -> None:
        self._facts = facts
        self._metrics = cache(lambda client, scheme: SchemeMetrics(metrics, client, scheme))
        self._numbers = itertools.count(1)
        self._open = 0

    def enter(self) -> bool:
        """Take the place of one chat, until `leave`; False where as many run as may."""
        if self._open >= AT_ONCE:
            return False
        self._open += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self._open -= 1

    def check(self, question: BoardQuestion) -> None:
        """Refuse what this run cannot answer.

        Raises:
            ConfigurationError: The run has no such client, or not these schemes.
        """
        if question.client not in self._facts.clients:
            raise ConfigurationError(f"there is no client '{question.client}'")
        unknown = set(question.schemes) - set(self._facts.schemes)
        if unknown or len(set(question.schemes)) < len(question.schemes):
            raise ConfigurationError(
                f"choose from the schemes of this run, each once: {', '.join(self._facts.schemes)}"
            )

    async def ask(self, question: BoardQuestion) -> AsyncGenerator[dict[str, Any]]:
        """Ask, and yield what the page is to show, until every answer has ended. The caller has a place.

        Args:
            question: What `check` let pass.
        """
        answers: dict[str, BoardAnswer] = {}
        try:
            async with _asker(self._command(question)) as asker:
                assert asker.stdout is not None, "standard output is a pipe"
                async for line in asker.stdout:
                    yield self._follow(json.loads(line), question, answers)
                if await asker.wait() != 0 or not answers:
                    yield {
                        "event": "failed",
                        "message": "the process that asks has ended; see board.log in the run's logs",
                    }
        finally:
            for answer in answers.values():
                if answer.is_open:
                    answer.end("cancelled", ended_s=time.monotonic())

    def _follow(
        self, event: dict[str, Any], question: BoardQuestion, answers: dict[str, BoardAnswer]
    ) -> dict[str, Any]:
        """Take what the asker tells; give what the page is told."""
        match event:
            case {"event": "token", "scheme": str(scheme)}:
                return answers[scheme].render(event)
            case {"event": "ended", "scheme": str(scheme), "outcome": outcome, "message": message, "at_s": ended_s}:
                numbers = answers[scheme].end(outcome, ended_s=ended_s)
                return {"event": "ended", "scheme": scheme, "outcome": outcome, "message": message, "numbers": numbers}
            case _:
                return self._begin(event["at_s"], question, answers)

    def _begin(self, asked_s: float, question: BoardQuestion, answers: dict[str, BoardAnswer]) -> dict[str, Any]:
        number = next(self._numbers)
        for scheme in question.schemes:
            metrics = self._metrics(question.client, scheme)
            session = f"{question.client}.{scheme}.chat{number}"
            answers[scheme] = BoardAnswer(session, question, scheme, asked_s, metrics)
        end_s = asked_s + _STRIP * question.seconds
        states = self._facts.link_states(question.client, from_s=asked_s, to_s=end_s)
        return {"event": "asked", "seconds": question.seconds, "link": states}

    def _command(self, question: BoardQuestion) -> list[str]:
        facts = self._facts
        gap_s = facts.token_gap_s if question.token_rate is None else 1.0 / question.token_rate
        return [
            *facts.clients[question.client],
            *(sys.executable, "-m", "eloquent.nodes.asker"),
            *("--client", question.client, "--schemes", ",".join(question.schemes)),
            *("--server", facts.server, "--http", facts.http, "--quic", facts.quic),
            *("--edge", facts.edge, "--edge-http", facts.edge_http, "--edge-quic", facts.edge_quic),
            *(("--model", facts.model) if facts.model else ()),
            *("--seconds", str(question.seconds), "--token-gap", str(gap_s), f"--words={question.words}"),
        ]


@contextlib.asynccontextmanager
async def _asker(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an asker, which does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(process.wait()), STOP_TIME)
            except TimeoutError:
                process.kill()
            except asyncio.CancelledError:  # the page is gone, and nobody waits
                process.kill()
                raise
