"""Replay the sessions of a run of the lab in virtual time, over the schedules that they met.

Rules of this file

- Instants count from the run's epoch, where its schedules begin: a replayed session meets, slot by slot, what the lab's
  link had in store for it. Only the fate of each packet within a slot is drawn anew, so each session is replayed a few times.
- Tokens are given to the sender at the instants at which the lab's server made them, byte for byte as that sent them: its
  viewers ask for the paper's answer, which follows from the question.
- The round-trip time is the median of what the run's own probes found on the link: the lab's path, with its switches and
  processes, is a little longer than the scenario says, and schemes notice which of two things comes first.
- The kernel's TCP goes by the least that it has measured. So for it the round-trip time is the least of the probes, and each
  packet takes up to as much more as their median is above that.
- What outlives a session in the lab does so here: the streams of a relay's session, and those of a TCP connection, share one
  estimator of the round-trip time, from round to round. A TCP connection has measured it when it was opened, and keeps its
  window and what it knows of reordering.
- Nothing else of the lab is modelled: no processes, no switch, no load.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from statistics import median

from eloquent import schemes
from eloquent.baselines.tcp import keep_connection
from eloquent.channel.scenario import Scenario, parse_line
from eloquent.channel.schedule import Direction
from eloquent.content import messages
from eloquent.errors import ConfigurationError
from eloquent.protocol.rtt import RttEstimator
from eloquent.records.rows import SUCCESS, TokenRow
from eloquent.records.run_directory import Manifest, RunDirectory
from eloquent.sim.engine.batch import SessionSums, sum_up
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.experiment import in_order, tell_nobody
from eloquent.sim.engine.session import run_session

KERNEL_MODELS = {"bbr": "tcp-bbr", "cubic": "tcp"}
"""The model of the kernel's TCP, by its congestion control."""

ETHERNET_HEADER = 14  # bytes, which the wire counts too


@dataclass(frozen=True, slots=True)
class Recorded:
    """One session of the lab that ended well.

    Attributes:
        number: Its place among all of the run's.
        name: Its name, `<client>.<scheme>.r<round>`.
        made_s: When each token was made, in seconds of the server's clock.
        generated_s: The same in seconds from the epoch.
        rendered_s: When each was rendered.
    """

    number: int
    name: str
    made_s: tuple[float, ...]
    generated_s: tuple[float, ...]
    rendered_s: tuple[float, ...]

    def messages(self) -> list[bytes]:
        """Return the message of each token, as the lab's server wrote it."""
        return list(messages.counted(round(instant * 1e9) for instant in self.made_s))


@dataclass(frozen=True, slots=True)
class LabConnection:
    """The sessions of one client by one scheme, in the order of the rounds: what shares a connection.

    Attributes:
        scheme: Name of the scheme in the lab.
        model: Name of the scheme that replays it.
        scenario: The link, with the round-trip time that was measured on it: the least for TCP, else the median.
        jitter: Seconds that a packet takes more at most.
        seed: Seed of the schedules.
        link: Name of the link, which is the client's.
        sessions: The sessions.
    """

    scheme: str
    model: str
    scenario: Scenario
    jitter: float
    seed: int
    link: str
    sessions: tuple[Recorded, ...]


def model_of(scheme: str, manifest: Manifest) -> str:
    """Return the name of the scheme that stands for one of the lab's in the simulator.

    Args:
        scheme: Its name in the lab.
        manifest: Of the run; it names the congestion control that the scheme's sockets told, or else the kernel's own.

    Raises:
        ConfigurationError: There is no model of the relay pair, or of the congestion control by which the kernel carried it.
    """
    kind = schemes.get(scheme).kind
    if kind == "pair":
        raise ConfigurationError(f"'{scheme}' cannot be replayed: the simulator has no model of the relay pair")
    if kind != "kernel":
        return scheme
    found = manifest.model_extra or {}
    control = found.get("congestion_controls", {}).get(scheme, found.get("congestion_control"))
    if control not in KERNEL_MODELS:
        raise ConfigurationError(
            f"'{scheme}' ran over the kernel's TCP with congestion control '{control}', and there are models of"
            f" {', '.join(KERNEL_MODELS)} only"
        )
    return KERNEL_MODELS[control]


def read_connections(run: RunDirectory) -> list[LabConnection]:
    """Read the sessions of a run that ended well, by scheme and client.

    Args:
        run: The run's directory, with a manifest.

    Raises:
        ConfigurationError: The directory holds no finished run, or not when its tokens were made.
    """
    manifest = run.read_manifest()
    if manifest.epoch_s is None:
        raise ConfigurationError(f"{run.path} holds no rounds: its schedules never began")
    tokens: dict[str, list[TokenRow]] = defaultdict(list)
    for token in run.tokens():
        tokens[token.session].append(token)
    rows = sorted((row for row in run.sessions() if row.outcome == SUCCESS), key=lambda row: (row.client, row.round))
    connections: dict[tuple[str, str], list[Recorded]] = {}
    for number, row in enumerate(rows):
        recorded = _record(number, row.session, tokens[row.session], epoch_s=manifest.epoch_s)
        connections.setdefault((row.scheme, row.client), []).append(recorded)
    if not connections:
        raise ConfigurationError(f"{run.path} holds no session that ended well")
    scenario, rtts = parse_line(manifest.scenario.line), _measure_rtts(run)
    found = []
    for (scheme, client), sessions in sorted(connections.items(), key=lambda item: manifest.schemes.index(item[0][0])):
        model = model_of(scheme, manifest)
        least, middle = rtts.get(client, (scenario.rtt, scenario.rtt))
        rtt = middle if model == scheme else least
        link = replace(scenario, rtt=rtt)
        found.append(LabConnection(scheme, model, link, middle - rtt, manifest.seed, client, tuple(sessions)))
    return found


def _measure_rtts(run: RunDirectory) -> dict[str, tuple[float, float]]:
    """Return the least and the median round-trip time of the probes of each client's link, in seconds."""
    found: dict[str, list[float]] = defaultdict(list)
    for client, probe in run.probes():
        if probe.rtt_s is not None:
            found[client].append(probe.rtt_s)
    return {client: (min(rtts), median(rtts)) for client, rtts in found.items()}


def _record(number: int, name: str, tokens: list[TokenRow], *, epoch_s: float) -> Recorded:
    made = tuple(row.generated_s for row in tokens if row.generated_s is not None)
    if not tokens or len(made) < len(tokens):
        raise ConfigurationError(f"the log does not say when the tokens of {name} were made: they cannot be replayed")
    rendered = tuple(round(row.rendered_s - epoch_s, 9) for row in tokens)
    return Recorded(number, name, made, tuple(round(instant - epoch_s, 9) for instant in made), rendered)


def replay(
    connections: Iterable[LabConnection],
    *,
    repeats: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> list[list[SessionSums]]:
    """Replay sessions.

    Args:
        connections: What to replay.
        repeats: How often, each time with other fates of the packets within the slots.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.

    Returns:
        The sums of each connection's sessions, in the order of the connections; `session` is `Recorded.number`.
    """
    work = [(connection, repeat) for connection in connections for repeat in range(repeats)]
    done_by = map(_replay_once, work) if executor is None else in_order(executor, _replay_once, work)
    results: list[list[SessionSums]] = []
    for place, sums in enumerate(done_by):
        if place % repeats == 0:
            results.append([])
        results[-1] += sums
        progress(len(sums))
    return results


def _replay_once(work: tuple[LabConnection, int]) -> list[SessionSums]:
    connection, repeat = work
    scheme, path = schemes.get(connection.model), RttEstimator()
    if connection.model != connection.scheme:
        scheme = keep_connection(scheme)
        path.sample(connection.scenario.rtt)  # of the connection's handshake
    schedules = {
        way: connection.scenario.schedule(way, seed=connection.seed, link=connection.link) for way in Direction
    }
    return [
        sum_up(
            session.number,
            run_session(
                scheme,
                connection.scenario,
                seed=1000 * session.number + repeat,
                generated_s=session.generated_s,
                choices=Choices(
                    rate_limited=True,
                    header_bytes=Choices().header_bytes + ETHERNET_HEADER,
                    jitter=connection.jitter,
                ),
                schedules=schedules,
                rtt=path,
                tokens=session.messages(),
            ),
        )
        for session in connection.sessions
    ]
