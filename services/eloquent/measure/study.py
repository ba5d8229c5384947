"""A measurement study: N streaming sessions one after the other, their token times, and their packets (Eloquent §2.2).

What it leaves behind is a run directory as the testbed's (docs/measures.md, The logs), with `capture.pcap` and, in the
manifest, `clock`: how far the wall clock of the capture is ahead of CLOCK_MONOTONIC, which the logs use, and `sockets`: this end
of each session's connection, by which its packets are told from those of everybody else.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eloquent.addresses import format_address
from eloquent.calls.chat_stream import Kind
from eloquent.errors import ConfigurationError
from eloquent.measure.asking import Arrival, Asker, ObservedAnswer, ask_once
from eloquent.measure.capture import capturing
from eloquent.measure.own_sockets import own_sockets
from eloquent.records.rows import KindRow, SessionRow, TokenRow
from eloquent.records.run_directory import RunDirectory

CAPTURE = "capture.pcap"
SCENARIO = {"name": "measured", "line": ""}  # a real network has no scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is measured.

    Attributes:
        asker: Whom to ask.
        sessions: How often.
        pause: Seconds between two sessions.
        client: Name of this client in the logs.
        port: Port of the server, whose packets are captured.
        interface: Where they are captured.
        capture: Whether they are.
        about: What else the manifest says, such as the endpoint.
    """

    asker: Asker
    sessions: int
    pause: float = 1.0
    client: str = "client"
    port: int
    interface: str = "any"
    capture: bool = True
    about: dict[str, str]


def clock_offset() -> float:
    """Return how far the wall clock is ahead of CLOCK_MONOTONIC, in seconds, from the narrowest of ten readings."""
    best = (float("inf"), 0.0)
    for _ in range(10):
        before = time.monotonic()
        wall = time.time()
        after = time.monotonic()
        best = min(best, (after - before, wall - (before + after) / 2))
    return best[1]


def run(study: Study, runs: Path, run_id: str, on_session: Callable[[int, ObservedAnswer], None]) -> RunDirectory:
    """Run the sessions.

    Args:
        study: What is measured.
        runs: The directory of all runs.
        run_id: Name of this one.
        on_session: Told of each session when it has ended, with its number from 1.

    Returns:
        Where the logs are.

    Raises:
        ConfigurationError: There is a run of that name, or a number is out of range.
    """
    if study.sessions < 1:
        raise ConfigurationError(f"{study.sessions} sessions cannot be measured: ask for 1 or more")
    directory = RunDirectory.create(runs, run_id)
    manifest: dict[str, object] = {
        "run": run_id,
        "scenario": SCENARIO,
        "seed": 0,
        "schemes": [study.asker.scheme],
        "carrier": "none",
        "measured": study.about,
        "clock": {"wall_minus_monotonic_s": clock_offset()},
    }
    if study.capture:
        with capturing(directory.path / CAPTURE, port=study.port, interface=study.interface) as capture:
            manifest["capture"] = CAPTURE if capture.path else None
            manifest["capture_refusal"] = capture.refusal
            directory.write_manifest(manifest)
            sockets = _sessions(study, directory, on_session)
    else:
        manifest |= {"capture": None, "capture_refusal": "not asked for"}
        directory.write_manifest(manifest)
        sockets = _sessions(study, directory, on_session)
    directory.write_manifest(manifest | {"sockets": sockets})
    return directory


def _sessions(
    study: Study, directory: RunDirectory, on_session: Callable[[int, ObservedAnswer], None]
) -> dict[str, str]:
    """Run the sessions; return this end of each one's connection, by the session's name."""
    scheme = study.asker.scheme
    sockets: dict[str, str] = {}
    with (
        directory.session_writer(study.client) as sessions,
        directory.token_writer(study.client) as tokens,
        directory.kind_writer(study.client) as kinds,
    ):
        for number in range(1, study.sessions + 1):
            if number > 1:
                time.sleep(study.pause)
            name = f"{study.client}.{scheme}.r{number}"
            count = iter(range(1_000_000_000))

            def log(token: Arrival, name: str = name, count: Iterator[int] = count) -> None:
                index = next(count)
                tokens.write(TokenRow(name, index, token.generated_s, token.rendered_s))
                if token.kind is not Kind.TEXT:
                    kinds.write(KindRow(name, index, token.kind.value))
                if index == 0:
                    new = {format_address(one) for one in own_sockets(study.port)} - set(sockets.values())
                    sockets.update({} if not new else {name: min(new)})

            answer = ask_once(study.asker, log)
            sessions.write(
                SessionRow(
                    session=name,
                    client=study.client,
                    scheme=scheme,
                    round=number,
                    requested_s=answer.requested_s,
                    ended_s=answer.ended_s,
                    outcome=answer.outcome,
                    tokens=len(answer.tokens),
                )
            )
            on_session(number, answer)
    return sockets
