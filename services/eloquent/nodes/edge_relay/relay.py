"""Offer the model server's gRPC, and its HTTP, to the clients of this host: the edge relay of a lab.

Rules of this file: calls of gRPC go in plaintext by the scheme that they name, requests over HTTP go sealed by the one that carries
theirs. An origin relay that does not answer is reported once within 3 s, and questions wait for it.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from eloquent import process, schemes, telemetry
from eloquent.addresses import listen_on, parse_address, reason_of
from eloquent.calls.names import SCHEME_KEY
from eloquent.errors import ConfigurationError
from eloquent.nodes.common import runtime
from eloquent.relay.fronts.grpc import GrpcFront
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.quic.certificate import PinnedKey
from eloquent.relay.sealed.key import load_key
from eloquent.relay.serve import HELD_REQUESTS
from eloquent.relay.settings import DEFAULT_SCHEME, MAX_REQUEST
from eloquent.relay.uplink import Uplink


async def connect(origin: str, metrics: telemetry.EdgeMetrics, *, key: bytes | None = None) -> Uplink:
    """Open the way to an origin relay.

    Args:
        origin: Its HOST:PORT.
        metrics: What is counted.
        key: 32 bytes, shared with it; None for plaintext.

    Raises:
        ConfigurationError: There is no way.
    """
    address = parse_address(origin)
    try:
        return await Uplink.connect(address, metrics, key=key)
    except OSError as error:
        raise ConfigurationError(f"no way to the origin relay at {origin}: {reason_of(error)}") from error


async def connect_over_quic(origin: str, metrics: telemetry.EdgeMetrics, *, key: bytes) -> Uplink:
    """Begin a QUIC connection to an origin relay, which all streams share.

    Args:
        origin: Its HOST:PORT for edges over QUIC.
        metrics: What is counted.
        key: 32 bytes, shared with it.

    Raises:
        ConfigurationError: There is no way.
    """
    address = parse_address(origin)
    try:
        return await Uplink.connect_over_quic(address, metrics, key=key, identity=PinnedKey.of_key_file(key))
    except OSError as error:
        raise ConfigurationError(f"no way to the origin relay at {origin}: {reason_of(error)}") from error


def scheme_of_call(metadata: Mapping[str, str], *, default: str = DEFAULT_SCHEME) -> str:
    """Return what carries the answer to a call.

    Args:
        metadata: The caller's, which may name a scheme.
        default: The scheme of those who name none.

    Raises:
        ConfigurationError: There is no such scheme, or relays do not carry it.
    """
    name = metadata.get(SCHEME_KEY, default)
    if schemes.get(name).kind != "datagram":
        raise ConfigurationError(f"relays do not carry the scheme '{name}': ask the token server itself")
    return name


def scheme_between(fields: Mapping[str, str]) -> str:
    """Return what carries the answer to a request between the relays, by the scheme that its header names.

    Raises:
        ConfigurationError: The relay pair does not carry that scheme.
    """
    name = fields.get(SCHEME_KEY, "openai")
    scheme = schemes.get(name)
    if scheme.kind != "pair":
        raise ConfigurationError(f"the relay pair does not carry the scheme '{name}': ask the token server itself")
    return scheme.between


def chat_front(uplink: Uplink) -> HttpFront:
    """Return what clients ask over HTTP, before a way to the origin relay under a key."""
    return HttpFront(uplink, scheme_of=scheme_between, max_request=MAX_REQUEST, max_held=HELD_REQUESTS * MAX_REQUEST)


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    metrics = telemetry.EdgeMetrics()
    if flags.metrics:
        telemetry.serve(flags.metrics)
    uplinks = [await connect(flags.origin, metrics)]
    scheme_of = partial(scheme_of_call, default=flags.default_scheme)
    calls = GrpcFront(uplinks[0], scheme_of=scheme_of, metrics=metrics, max_calls=flags.max_streams)
    await calls.open(flags.listen)
    fronts: list[GrpcFront | HttpFront] = [calls]
    if runtime.all_or_none(flags, "http", "sealed_origin", "key_file"):
        uplinks.append(await connect(flags.sealed_origin, metrics, key=load_key(flags.key_file)))
        chats = chat_front(uplinks[1])
        await chats.open(listen_on(flags.http))
        fronts.append(chats)
        if runtime.all_or_none(flags, "quic_http", "quic_origin"):
            uplinks.append(await connect_over_quic(flags.quic_origin, metrics, key=load_key(flags.key_file)))
            chats = chat_front(uplinks[2])
            await chats.open(listen_on(flags.quic_http))
            fronts.append(chats)
    watching = [asyncio.create_task(uplink.watch(metrics)) for uplink in uplinks]
    process.announce_ready()
    await stop.wait()
    await asyncio.gather(*(front.drain(flags.grace) for front in fronts))
    for task in watching:
        task.cancel()
    for uplink in uplinks:
        uplink.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("edge_relay", __doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="serve gRPC here")
    parser.add_argument("--origin", required=True, metavar="HOST:PORT", help="UDP address of the origin relay")
    parser.add_argument(
        "--default-scheme", default=DEFAULT_SCHEME, help="scheme of streams that name none (%(default)s)"
    )
    parser.add_argument("--max-streams", type=int, default=256, help="streams at once (%(default)s)")
    pair = parser.add_argument_group("the relay pair for real services, beside that; all three or none, QUIC if wanted")
    pair.add_argument("--http", metavar="HOST:PORT", help="serve the model server's HTTP API here")
    pair.add_argument("--sealed-origin", metavar="HOST:PORT", help="UDP address of its origin relay")
    pair.add_argument("--quic-http", metavar="HOST:PORT", help="serve the same here, by an origin relay over QUIC")
    pair.add_argument("--quic-origin", metavar="HOST:PORT", help="address of its origin relay over QUIC")
    pair.add_argument("--key-file", type=Path, metavar="FILE", help="holds the key that it shares with that")
    return runtime.run(serve, parser.parse_args(arguments))
