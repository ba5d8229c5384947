"""The sessions of a run as its logs tell them: how each ended, when its tokens came, and what they were."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eloquent.addresses import Address, parse_address
from eloquent.calls.chat_stream import Kind
from eloquent.errors import ConfigurationError
from eloquent.records.rows import SUCCESS, SessionRow
from eloquent.records.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class LoggedSession:
    """A session of a run.

    Attributes:
        row: Its end.
        rendered_s: When each token was rendered, in seconds of CLOCK_MONOTONIC.
        wall_offset_s: How far the wall clock was ahead of that; None where the run did not note it.
        socket: This machine's end of its connection; None where the run did not note it.
        kinds: What the tokens are that are no text, by index.
    """

    row: SessionRow
    rendered_s: tuple[float, ...]
    wall_offset_s: float | None
    socket: Address | None = None
    kinds: Mapping[int, str] = field(default_factory=dict)

    @property
    def ended_well(self) -> bool:
        """Whether it brought tokens and a good end."""
        return self.row.outcome == SUCCESS and bool(self.rendered_s)


def read_sessions(run: RunDirectory) -> list[LoggedSession]:
    """Return the sessions of a run, in the order of the log.

    Args:
        run: The run's directory, with a manifest.

    Raises:
        ConfigurationError: The directory holds no run, or a log cannot be read.
    """
    about = run.read_manifest().model_extra or {}
    clock, noted = about.get("clock"), about.get("sockets")
    sockets = noted if isinstance(noted, dict) else {}
    offset = clock.get("wall_minus_monotonic_s") if isinstance(clock, dict) else None
    times: dict[str, list[float]] = {}
    for token in run.tokens():
        times.setdefault(token.session, []).append(token.rendered_s)
    kinds: dict[str, dict[int, str]] = {}
    for one in run.kinds():
        kinds.setdefault(one.session, {})[one.index] = one.kind
    return [
        LoggedSession(
            row,
            tuple(times.get(row.session, ())),
            offset,
            _address(sockets.get(row.session)),
            kinds.get(row.session, {}),
        )
        for row in run.sessions()
    ]


def first_kinds(sessions: Iterable[LoggedSession]) -> str:
    """Return what the first tokens of these sessions were."""
    return "/".join(sorted({session.kinds.get(0, Kind.TEXT.value) for session in sessions}))


def _address(noted: object) -> Address | None:
    """Return an address of a manifest; None where it is none."""
    try:
        return parse_address(noted) if isinstance(noted, str) else None
    except ConfigurationError:
        return None
