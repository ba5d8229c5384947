"""`eloquent doctor`: what an operator wants to know of the path between two relays, before there is an edge."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from eloquent import core
from eloquent.commands import extras
from eloquent.errors import ConfigurationError, NotInstalled
from eloquent.terminal import Output

if TYPE_CHECKING:
    from eloquent.relay.diagnosis import Losses, RoundTrips
    from eloquent.relay.doctor import CarrierReport

console = Output()

TOKEN_RATE = 50.0  # tokens a second of the streams that are simulated
SESSIONS, SESSION_S = 10, 30.0  # of each scheme, in virtual time
SCHEMES = ("tcp", "eloquent-packed")


def doctor(
    *,
    origin: Annotated[str | None, typer.Option(help="HOST:PORT of the origin relay.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Holds the key that both relays share.")] = None,
    fallback: Annotated[str | None, typer.Option(help="URL of the origin relay over TCP, ws:// or wss://.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, max=600.0, help="For how long to ping over UDP.")] = 15.0,
    rate: Annotated[float, typer.Option(min=20.0, max=50.0, help="Pings a second.")] = 50.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Read the edge's settings from this TOML file.")] = None,
) -> None:
    """Try UDP and TCP to an origin relay, and measure the path; exit status 1 if neither works."""
    from eloquent.addresses import parse_address
    from eloquent.relay.doctor import examine_tcp, examine_udp, verdict
    from eloquent.relay.sealed.key import load_key
    from eloquent.relay.settings import EdgeSettings, read_settings

    flags = {"origin": origin, "key_file": key_file, "fallback": fallback}
    settings = read_settings(EdgeSettings, "edge", flags, file=config)
    if settings.key_file is None:
        raise ConfigurationError("nothing can be tried in plaintext: name the key file that both relays share")
    key, address = load_key(settings.key_file), parse_address(settings.origin)
    udp = asyncio.run(examine_udp(address, key, seconds=seconds, rate=rate))
    tcp = asyncio.run(examine_tcp(settings.url, key))
    said = verdict(udp, tcp, address, settings.url)
    is_cut_off = udp.trouble is not None and tcp.trouble is not None
    try:
        stalls, missing = _stalls(udp, 1 / rate), ""
    except NotInstalled:
        stalls, missing = (
            None,
            "To have stalls simulated from this, install the extra: pip install 'eloquent-testbed[sim]'",
        )
    if as_json:
        measured = {"udp": asdict(udp), "tcp": asdict(tcp), "stall_ratio": stalls}
        found = {"verdict": said, **measured, "core": core.kind()}
        typer.echo(json.dumps(found, indent=2))
    else:
        about_core = "" if is_cut_off else f"The core is {core.kind()} (docs/install.md)."
        for line in (said, *_udp_lines(udp, rate), *_tcp_lines(tcp), about_core, *_stall_lines(stalls), missing):
            if line:
                console.print(escape(line), highlight=False, soft_wrap=True)
    if is_cut_off:
        raise typer.Exit(1)


def _udp_lines(udp: "CarrierReport", rate: float) -> list[str]:
    if udp.trouble is not None or udp.round_trips is None or udp.up is None or udp.down is None:
        return []
    pace = f"{udp.up.sent} pings in {udp.seconds:.0f} s"
    lines = [
        f"Over UDP the handshake took {_ms(udp.handshake_s or 0.0)}. {_trips(udp.round_trips)} ({pace}).",
        f"Lost on the way up: {_losses(udp.up, rate)}.",
        f"Lost on the way down: {_losses(udp.down, rate)}.",
    ]
    if udp.is_cut_off:
        lines.append("Then nothing came back any more, and pinging ended.")
    passed = [size for size in udp.sizes if size.answered]
    if udp.sizes:
        largest = max((size.size for size in passed), default=0)
        stuck = [str(size.size) for size in udp.sizes if not size.answered]
        lines.append(
            f"Datagrams of up to {largest} bytes pass both ways; none passed of {', '.join(stuck)}."
            if stuck
            else f"Datagrams of up to {largest} bytes pass both ways, all that were tried."
        )
        if any(size.size <= 1200 and not size.answered for size in udp.sizes):
            lines.append("The relays send up to 1200 bytes: this path does not carry them.")
    return lines


def _tcp_lines(tcp: "CarrierReport") -> list[str]:
    if tcp.trouble is not None or tcp.round_trips is None:
        return []
    handshake = _ms(tcp.handshake_s or 0.0)
    return [f"Over TCP the handshake took {handshake}, with the connection. {_trips(tcp.round_trips)}."]


def _stalls(udp: "CarrierReport", slot: float) -> dict[str, float | None] | None:
    """Return the share of time that a stream stalls by each scheme, simulated on what was measured; None if nothing was.

    Args:
        udp: What was found over UDP.
        slot: Seconds between two pings.

    Raises:
        NotInstalled: The simulator is missing.
    """
    if udp.round_trips is None or udp.up is None or udp.down is None or udp.up.share == 1.0:
        return None
    extras.check("sim")
    from eloquent.channel.scenario import Scenario
    from eloquent.sim.engine.batch import Point
    from eloquent.sim.engine.choices import Choices
    from eloquent.sim.engine.experiment import run
    from eloquent.sim.engine.session import constant_rate

    link = Scenario(
        name="measured",
        rtt=udp.round_trips.median_s,
        loss_down=_channel(udp.down, slot),
        loss_up=_channel(udp.up, slot),
    )
    choices = Choices(ack_loss=True, phase="random", content="openai")
    points = [Point(scheme, link, choices) for scheme in SCHEMES]
    results = run(points, sessions=SESSIONS, generated_s=constant_rate(SESSION_S, 1 / TOKEN_RATE), seed=1)
    return {result.point.scheme: result.figures().stall_ratio for result in results}


def _channel(losses: "Losses", slot: float) -> Any:
    """Return the loss model that was fitted to a direction."""
    from eloquent.channel.loss import MarkovLoss, NoLoss

    if losses.stay_bad is None:
        return NoLoss()
    below_1 = 1 - 1e-6  # the model has no state for ever
    stay_good, stay_bad = min(losses.stay_good, below_1), min(losses.stay_bad, below_1)
    return MarkovLoss(stay_good=stay_good, stay_bad=stay_bad, loss_in_bad=1.0, slot=slot)


def _stall_lines(stalls: dict[str, float | None] | None) -> list[str]:
    if stalls is None:
        return []
    shares = {scheme: "unknown" if share is None else f"{share:.2%}" for scheme, share in stalls.items()}
    said = (
        f"On such a channel, simulated, a stream of {TOKEN_RATE:.0f} tokens a second stalls {shares['tcp']} of the time over TCP, "
        f"{shares['eloquent-packed']} over this pair."
    )
    return [said]


def _trips(trips: "RoundTrips") -> str:
    return f"A round trip took {_ms(trips.least_s)} at least, {_ms(trips.median_s)} in the median, {_ms(trips.p95_s)} for 95 of 100"


def _losses(losses: "Losses", rate: float) -> str:
    text = f"{losses.lost} of {losses.sent} ({losses.share:.1%})"
    if losses.mean_burst is None or losses.stay_bad is None:
        return text
    return (
        f"{text}, in {losses.bursts} bursts of {losses.mean_burst:.1f} on average and {losses.longest_burst} at most "
        f"({_ms(losses.longest_burst / rate)}); what follows a loss is lost with {losses.stay_bad:.0%}, what follows none with "
        f"{1 - losses.stay_good:.1%}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.0995 else f"{seconds * 1e3:.0f} ms"
