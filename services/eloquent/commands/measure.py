"""The commands of the measurement study: `eloquent measure run | read | table | qoe | mahimahi`.

What a command needs is imported when it runs, so that the list of all commands does not wait for it.
"""

import ipaddress
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from eloquent.addresses import parse_address
from eloquent.commands.extras import needs
from eloquent.errors import ConfigurationError
from eloquent.terminal import Output
from eloquent.units import parse_duration

if TYPE_CHECKING:
    from eloquent.measure.asking import Asker, ObservedAnswer
    from eloquent.measure.flows import Vantage
    from eloquent.measure.losses import StreamFates
    from eloquent.measure.sessions import LoggedSession
    from eloquent.records.run_directory import RunDirectory

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Study real streams: token times, packet captures, loss traces.",
)
console = Output()
errors = Output(stderr=True)

# Eloquent §2.2
PROMPT = "Count to 80, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."


@app.command()
@needs("measure")
def run(
    *,
    url: Annotated[str, typer.Option(help="Base of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1.")] = "",
    model: Annotated[str, typer.Option(help="Name of the model there.")] = "",
    key_variable: Annotated[str, typer.Option(help="Environment variable that holds the API key.")] = "OPENAI_API_KEY",
    grpc: Annotated[str, typer.Option(help="HOST:PORT of the testbed's token server, instead of --url.")] = "",
    same_clock: Annotated[bool, typer.Option(help="The token server runs on this kernel.")] = False,
    sessions: Annotated[int, typer.Option(help="How often to ask, one after the other.")] = 30,
    prompt: Annotated[str, typer.Option(help="What to ask.")] = PROMPT,
    pause: Annotated[str, typer.Option(help="Between two sessions.")] = "1s",
    patience: Annotated[str, typer.Option(help="After which a session is given up.")] = "60s",
    capture: Annotated[bool, typer.Option(help="Capture packets with tcpdump.")] = True,
    interface: Annotated[str, typer.Option(help="Where to capture.")] = "any",
    runs: Annotated[Path, typer.Option(help="Folder of the run directories.")] = Path("runs"),
    name: Annotated[str, typer.Option(help="Name of this run; the date and time by default.")] = "",
) -> None:
    """Run streaming sessions, log token times, capture packets, and show loss and stalls; exit status 1 where all failed."""
    from eloquent.measure.asking import GrpcAsker, OpenAiAsker
    from eloquent.measure.findings import DEFAULT_SLOT
    from eloquent.measure.study import CAPTURE, Study
    from eloquent.measure.study import run as run_study
    from eloquent.records.rows import SUCCESS

    port = _port(url, grpc)
    seconds = parse_duration(patience)
    asker: Asker
    if grpc:
        asker = GrpcAsker(target=grpc, prompt=prompt, timeout_s=seconds, same_clock=same_clock)
    else:
        key = os.environ.get(key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError(f"the variable {key_variable} holds no API key: it has characters that no key has")
        asker = OpenAiAsker(url=url, model=model, prompt=prompt, key=key, timeout_s=seconds)
    about = {"endpoint": url or grpc, "model": model, "prompt": prompt}
    study = Study(
        asker=asker,
        sessions=sessions,
        pause=parse_duration(pause),
        port=port,
        interface=interface,
        capture=capture,
        about=about,
    )

    outcomes = []

    def show(number: int, answer: "ObservedAnswer") -> None:
        outcomes.append(answer.outcome)
        length = answer.ended_s - answer.requested_s
        why = f": {answer.message}" if answer.message else ""
        console.print(
            f"session {number} of {sessions}: {answer.outcome}, {len(answer.tokens)} tokens in {length:.1f} s{why}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    directory = run_study(study, runs, name or time.strftime("measure-%Y%m%d-%H%M%S"), show)
    refusal = (directory.read_manifest().model_extra or {}).get("capture_refusal")
    if refusal:
        errors.print("[bold yellow]no capture:[/]", escape(str(refusal)), soft_wrap=True, highlight=False)
    pcap = directory.path / CAPTURE
    _report(
        pcap if pcap.exists() and not refusal else None,
        directory,
        directory.path,
        port=port,
        slot=DEFAULT_SLOT,
        may_be_empty=True,
    )
    if SUCCESS not in outcomes:
        errors.print("[bold red]error:[/] no session succeeded: nothing is known of this server's answers")
        raise typer.Exit(1)


@app.command()
@needs("measure")
def read(
    capture: Annotated[Path, typer.Argument(help="A pcap or pcapng file.")],
    *,
    log: Annotated[Path | None, typer.Option(help="Run directory with the token times of these sessions.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; beside the capture by default.")] = None,
    vantage: Annotated[str, typer.Option(help="Where it was made: auto, sender or receiver.")] = "auto",
    port: Annotated[int | None, typer.Option(help="Only connections of this port.")] = None,
    server: Annotated[str, typer.Option(help="Only connections with this IP address.")] = "",
    session: Annotated[str, typer.Option(help="Session of figure 4; the one with the longest stall by default.")] = "",
    slot: Annotated[str, typer.Option(help="Length of the scenario's slots.")] = "20ms",
) -> None:
    """Read a capture made anywhere: loss rate, loss trace, scenario, figure 4."""
    from eloquent.measure.flows import Vantage
    from eloquent.records.run_directory import RunDirectory

    if vantage not in {"auto", *Vantage}:
        raise ConfigurationError(f"'{vantage}' is not a vantage: choose auto, sender or receiver")
    _report(
        capture,
        None if log is None else RunDirectory(log),
        out or capture.parent,
        vantage=None if vantage == "auto" else Vantage(vantage),
        port=port,
        server=_ip_address(server),
        session=session,
        slot=parse_duration(slot),
    )


@app.command()
@needs("measure")
def table(runs: Annotated[list[Path], typer.Argument(help="Run directories, or their measurement.json.")]) -> None:
    """Compare measurements: 95th percentile stall and loss rate, one line a run."""
    from eloquent.measure import findings, tables

    console.print(tables.comparison([findings.read_findings(path) for path in runs]), markup=False)


@app.command()
@needs("measure")
def qoe(
    log: Annotated[Path, typer.Argument(help="A run directory.")],
    *,
    reading: Annotated[str, typer.Option("--token-time", help="Reading time of a token.")] = "150ms",
    ttft: Annotated[str, typer.Option(help="When a reader expects the first token.")] = "1s",
    start_tokens: Annotated[int, typer.Option(min=1, help="Tokens held before the first is shown.")] = 1,
) -> None:
    """Show what lies beyond stalls: the QoE of Andes, stalls behind a playout buffer, long stalls against short ones."""
    from eloquent.measure import tables
    from eloquent.measure.sessions import read_sessions
    from eloquent.records.run_directory import RunDirectory

    sessions = read_sessions(RunDirectory(log))
    console.print(
        tables.beyond_stalls(
            sessions, token_time=parse_duration(reading), ttft=parse_duration(ttft), start_tokens=start_tokens
        ),
        markup=False,
    )


@app.command()
@needs("measure")
def mahimahi(
    files: Annotated[list[Path], typer.Argument(help="Packet-delivery traces of Mahimahi.")],
    *,
    outage: Annotated[str, typer.Option(help="Longest time without a packet that is no outage.")] = "500ms",
) -> None:
    """Show rates and outages of Mahimahi traces; as a scenario: loss=trace(file=F,outage=500ms)."""
    from eloquent.channel.mahimahi import parse_mahimahi
    from eloquent.measure import tables

    traces = {}
    for path in files:
        try:
            traces[path.name] = parse_mahimahi(path.read_text(encoding="utf-8").split("\n"))
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"cannot read {path}: {error}") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"the trace {path}, {error}") from None
    console.print(tables.delivery(traces, outage=parse_duration(outage)), markup=False)


def _port(url: str, grpc: str) -> int:
    """Return the server's port.

    Raises:
        ConfigurationError: It is not told whom to ask, or told twice, or the address is malformed.
    """
    from eloquent.measure.asking import chat_url

    if bool(url) == bool(grpc):
        raise ConfigurationError("say whom to ask: either --url with --model, or --grpc HOST:PORT")
    if grpc:
        return parse_address(grpc)[1]
    asked = chat_url(url)
    return asked.port or {"http": 80, "https": 443}[asked.scheme]


def _ip_address(text: str) -> str:
    """Return an IP address as captures write it; nothing of nothing.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise ConfigurationError(
            f"'{text}' is not an IP address: captures have no names, write 203.0.113.5 or 2001:db8::5"
        ) from None


def _report(
    capture: Path | None,
    log: "RunDirectory | None",
    out: Path,
    *,
    vantage: "Vantage | None" = None,
    port: int | None = None,
    server: str = "",
    session: str = "",
    slot: float,
    may_be_empty: bool = False,
) -> None:
    """Compute, write and show what a capture and a log hold; a capture of sessions that all failed may hold nothing."""
    from eloquent.measure import findings, tables
    from eloquent.measure.sessions import read_sessions

    warnings: list[str] = []
    sessions = None if log is None else read_sessions(log)
    streams = None
    if capture is not None:
        sockets = {one.socket for one in sessions or () if one.socket is not None}
        try:
            streams = findings.read_streams(
                capture, vantage=vantage, port=port, server=server, sockets=sockets, warn=warnings.append
            )
        except ConfigurationError as error:
            if not may_be_empty:
                raise
            warnings.append(str(error))
    for sentence in warnings:
        errors.print("[bold yellow]warning:[/]", escape(sentence), soft_wrap=True, highlight=False)
    name = log.read_manifest().run if log is not None else capture.stem if capture is not None else ""
    result = findings.find(name, sessions, streams, warnings)
    findings.write(out, result, streams, slot=slot)
    console.print(tables.comparison([result]), markup=False)
    if streams:
        for path in _figure4(streams, sessions, session, out):
            console.print(f"figure 4:  {path}", highlight=False, soft_wrap=True)
    if streams and result.packets:
        console.print(
            f"loss trace: {out / findings.TRACE}\nscenario:   {out / findings.SCENARIO}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"figures:    {out / findings.FINDINGS}", highlight=False, soft_wrap=True)


def _figure4(
    streams: "list[StreamFates]", sessions: "list[LoggedSession] | None", wanted: str, out: Path
) -> list[Path]:
    """Draw the wanted session, or the one with the longest stall; without a log, the stream with the longest wait."""
    from eloquent.measure import findings
    from eloquent.measure.figure4 import draw, save
    from eloquent.qoe.session import gaps

    if sessions:
        known = [one for one in sessions if wanted in {"", one.row.session}]
        if not known:
            raise ConfigurationError(f"there is no session '{wanted}' in the log")
        chosen = max(known, key=lambda one: max(gaps(one.rendered_s), default=0.0))
        stream = findings.stream_of(chosen, streams)
        if stream is not None and chosen.wall_offset_s is not None:
            times = [at + chosen.wall_offset_s for at in chosen.rendered_s]
            return save(draw(stream, times, title=chosen.row.session), out)
    stream = max(streams, key=lambda one: max(findings.waits(one), default=0.0))
    host, port = stream.direction.sender
    return save(draw(stream, title=f"{host}:{port}"), out)
