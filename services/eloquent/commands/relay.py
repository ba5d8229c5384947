"""The commands of operators: `eloquent origin`, `eloquent edge`, `eloquent key`.

What a command needs is imported when it runs, so that the list of all commands does not wait for it.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[Path | None, typer.Option(help="Read settings from this TOML file, [origin] and [edge].")]
KeyFile = Annotated[Path | None, typer.Option(help="Holds the key that both relays share.")]
Plaintext = Annotated[bool | None, typer.Option("--plaintext", help="No key: for closed networks only.")]
Metrics = Annotated[str | None, typer.Option(help="HOST:PORT that Prometheus asks.")]
Grace = Annotated[float | None, typer.Option(help="Seconds for open answers after SIGTERM.")]
MaxRequest = Annotated[int | None, typer.Option(help="Bytes of a request; more is refused.")]


def origin(
    *,
    upstream: Annotated[str | None, typer.Option(help="URL of the model server.")] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT for edges, over UDP and TCP.")] = None,
    tcp: Annotated[bool | None, typer.Option("--tcp/--no-tcp", help="Let edges in over TCP too.")] = None,
    quic: Annotated[str | None, typer.Option(help="HOST:PORT for edges over QUIC.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file, to speak TLS with edges over TCP, and to be known by over QUIC.")
    ] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    certificate_hash: Annotated[
        Path | None, typer.Option(help="File that gets the SHA-256 of the certificate, for pages to name.")
    ] = None,
    webtransport: Annotated[str | None, typer.Option(help="HOST:PORT for pages over WebTransport.")] = None,
    page_origins: Annotated[
        str | None, typer.Option(help="Origins of the pages that may ask, comma separated; * for all.")
    ] = None,
    page_secret: Annotated[
        Path | None, typer.Option(help="Holds the secret of the tokens that pages show; without it they need none.")
    ] = None,
    page_targets: Annotated[str | None, typer.Option(help="What pages may ask, comma separated: METHOD /path.")] = None,
    max_page_answers: Annotated[int | None, typer.Option(help="Answers of pages at once.")] = None,
    schemes: Annotated[str | None, typer.Option(help="Schemes that edges may ask for, comma separated.")] = None,
    keep: Annotated[float | None, typer.Option(help="Seconds that an answer is kept for an edge that is gone.")] = None,
    silence: Annotated[float | None, typer.Option(help="Seconds of the model's silence that end an answer.")] = None,
    max_answers: Annotated[int | None, typer.Option(help="Answers at once.")] = None,
    send_grid: Annotated[
        float | None, typer.Option(help="Seconds between the instants at which answers go on; 0 for at once.")
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="File that gets a line of JSON of each answer.")] = None,
    max_request: MaxRequest = None,
    key_file: KeyFile = None,
    plaintext: Plaintext = None,
    metrics: Metrics = None,
    grace: Grace = None,
    config: Config = None,
) -> None:
    """Be the relay beside a model server."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    from eloquent import process
    from eloquent.relay.serve import serve_origin
    from eloquent.relay.settings import OriginSettings, read_settings

    settings = read_settings(OriginSettings, "origin", flags, file=config)
    _run(process.run, partial(serve_origin, settings))


def edge(
    *,
    origin: Annotated[str | None, typer.Option(help="HOST:PORT of the origin relay.")] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT for clients, over HTTP.")] = None,
    carrier: Annotated[
        str | None, typer.Option(help="udp, tcp, quic, or auto: udp, and tcp where UDP is blocked.")
    ] = None,
    fallback: Annotated[str | None, typer.Option(help="URL of the origin relay over TCP, ws:// or wss://.")] = None,
    quic_certificate: Annotated[
        str | None,
        typer.Option(help="PEM file: who vouches for the origin relay over QUIC, or its certificate; or system."),
    ] = None,
    scheme: Annotated[str | None, typer.Option(help="Scheme that carries answers.")] = None,
    keep_alive: Annotated[float | None, typer.Option(help="Seconds of silence before a comment; 0 for none.")] = None,
    max_request: MaxRequest = None,
    key_file: KeyFile = None,
    plaintext: Plaintext = None,
    metrics: Metrics = None,
    grace: Grace = None,
    config: Config = None,
) -> None:
    """Be the relay beside the clients of a model server."""
    flags = {key: value for key, value in locals().items() if key != "config"}
    from eloquent import process
    from eloquent.relay.serve import serve_edge
    from eloquent.relay.settings import EdgeSettings, read_settings

    settings = read_settings(EdgeSettings, "edge", flags, file=config)
    _run(process.run, partial(serve_edge, settings))


def key(file: Annotated[Path, typer.Argument(help="Where to write it; no file may be there yet.")]) -> None:
    """Make the key that both relays share; bring a copy to the other one by a safe way."""
    from eloquent.relay.sealed.key import make_key

    make_key(file)


def page_token(
    *,
    secret_file: Annotated[Path, typer.Option(help="Holds the secret that the origin relay has as --page-secret.")],
    lifetime: Annotated[str, typer.Option("--for", help="How long it is good, such as 10min or 1h.")] = "10min",
) -> None:
    """Make a token that lets a page ask, to try it; a site's own backend makes them for its readers."""
    import time

    from eloquent.relay.quic.pages import load_page_secret, make_page_token
    from eloquent.units import parse_duration

    print(make_page_token(load_page_secret(secret_file), lifetime=parse_duration(lifetime), now=time.time()))


def _run(run: Any, main: Any) -> None:
    if status := run(main):
        raise typer.Exit(status)
