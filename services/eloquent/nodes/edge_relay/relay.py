"""Offer the model server's gRPC, and its HTTP, to the clients of this host, or of several: the edge relays of a lab.

Rules of this file: calls of gRPC go in plaintext by the scheme that they name, requests over HTTP go sealed by the one that carries
theirs. An origin relay that does not answer is reported once within 3 s, and questions wait for it. Relays of several hosts share
a process and its loop, and nothing else: each has its sockets in the network of its host, and metrics of its own.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY

from eloquent import networks, process, schemes, telemetry
from eloquent.addresses import listen_on, parse_address, reason_of
from eloquent.calls.names import SCHEME_KEY
from eloquent.drivers.udp import Destination
from eloquent.errors import ConfigurationError
from eloquent.nodes.common import runtime
from eloquent.relay.fronts.grpc import GrpcFront
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.quic.certificate import PinnedKey
from eloquent.relay.sealed.key import load_key
from eloquent.relay.serve import HELD_REQUESTS
from eloquent.relay.settings import DEFAULT_SCHEME, MAX_REQUEST
from eloquent.relay.uplink import Uplink


def _way_to(origin: str, network: Path | None) -> Destination:
    """Return where the datagrams for an origin relay go.

    Raises:
        ConfigurationError: There is no way.
    """
    address = parse_address(origin)
    if network is None:
        return address
    try:
        return networks.connect_datagrams(address, network)
    except OSError as error:
        raise _no_way(origin, error) from error


def _no_way(origin: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"no way to the origin relay at {origin}: {reason_of(error)}")


async def connect(
    origin: str, metrics: telemetry.EdgeMetrics, *, key: bytes | None = None, network: Path | None = None
) -> Uplink:
    """Open the way to an origin relay.

    Args:
        origin: Its HOST:PORT.
        metrics: What is counted.
        key: 32 bytes, shared with it; None for plaintext.
        network: The file of the network that it leaves from; None for the process's own.

    Raises:
        ConfigurationError: There is no way.
    """
    try:
        return await Uplink.connect(_way_to(origin, network), metrics, key=key)
    except OSError as error:
        raise _no_way(origin, error) from error


async def connect_over_quic(
    origin: str, metrics: telemetry.EdgeMetrics, *, key: bytes, network: Path | None = None
) -> Uplink:
    """Begin a QUIC connection to an origin relay, which all streams share.

    Args:
        origin: Its HOST:PORT for edges over QUIC.
        metrics: What is counted.
        key: 32 bytes, shared with it.
        network: The file of the network that it leaves from; None for the process's own.

    Raises:
        ConfigurationError: There is no way.
    """
    identity = PinnedKey.of_key_file(key)
    try:
        return await Uplink.connect_over_quic(_way_to(origin, network), metrics, key=key, identity=identity)
    except OSError as error:
        raise _no_way(origin, error) from error


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


class EdgeRelay:
    """The edge relay of one host.

    Args:
        flags: What it is told.
        metrics: What is counted.
        network: The file of the network of its host; None for the process's own.
    """

    def __init__(self, flags: argparse.Namespace, metrics: telemetry.EdgeMetrics, network: Path | None) -> None:
        self._flags = flags
        self._metrics = metrics
        self._network = network
        self._uplinks: list[Uplink] = []
        self._fronts: list[GrpcFront | HttpFront] = []
        self._watching: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the ways to the origin relay, and serve clients.

        Raises:
            ConfigurationError: An address cannot be listened on, or there is no way, or flags that go together are not all given.
        """
        flags = self._flags
        await self._serve_calls(await connect(flags.origin, self._metrics, network=self._network))
        if runtime.all_or_none(flags, "http", "sealed_origin", "key_file"):
            key = load_key(flags.key_file)
            chats = await connect(flags.sealed_origin, self._metrics, key=key, network=self._network)
            await self._serve_chats(chats, flags.http)
            if runtime.all_or_none(flags, "quic_http", "quic_origin"):
                chats = await connect_over_quic(flags.quic_origin, self._metrics, key=key, network=self._network)
                await self._serve_chats(chats, flags.quic_http)
        self._watching = [asyncio.create_task(uplink.watch(self._metrics)) for uplink in self._uplinks]

    async def drain(self, grace: float) -> None:
        """Refuse new questions and wait for the answers that run; cut what is left after the grace time, in seconds."""
        await asyncio.gather(*(front.drain(grace) for front in self._fronts))

    def close(self) -> None:
        """Close the ways to the origin relay."""
        for task in self._watching:
            task.cancel()
        for uplink in self._uplinks:
            uplink.close()

    async def _serve_calls(self, uplink: Uplink) -> None:
        self._uplinks.append(uplink)
        scheme_of = partial(scheme_of_call, default=self._flags.default_scheme)
        front = GrpcFront(uplink, scheme_of=scheme_of, metrics=self._metrics, max_calls=self._flags.max_streams)
        with networks.inside(self._network):
            front.listen(self._flags.listen)
        self._fronts.append(front)
        await front.serve()

    async def _serve_chats(self, uplink: Uplink, address: str) -> None:
        self._uplinks.append(uplink)
        front = chat_front(uplink)
        with networks.inside(self._network):
            listener = listen_on(address)
        self._fronts.append(front)
        await front.open(listener)


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    if flags.metrics:
        telemetry.serve(flags.metrics)
    if flags.hosts is None:
        relays = [EdgeRelay(flags, telemetry.EdgeMetrics(REGISTRY), None)]
    else:
        pages = telemetry.HostPages()
        relays = [
            EdgeRelay(flags, telemetry.EdgeMetrics(pages.registry(name)), network) for name, network in flags.hosts
        ]
    for relay in relays:
        await relay.open()
    process.announce_ready()
    await stop.wait()
    await asyncio.gather(*(relay.drain(flags.grace) for relay in relays))
    for relay in relays:
        relay.close()


def _host(text: str) -> tuple[str, Path]:
    """Read NAME=FILE, a host and the file of its network."""
    name, separator, network = text.partition("=")
    if not (name and separator and network):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILE")
    return name, Path(network)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("edge_relay", __doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="serve gRPC here")
    parser.add_argument("--origin", required=True, metavar="HOST:PORT", help="UDP address of the origin relay")
    parser.add_argument(
        "--default-scheme", default=DEFAULT_SCHEME, help="scheme of streams that name none (%(default)s)"
    )
    parser.add_argument("--max-streams", type=int, default=256, help="streams of a host at once (%(default)s)")
    text = "be the edge relay of each of these hosts, in the network that the file names, and not in the present one"
    parser.add_argument("--hosts", nargs="+", type=_host, metavar="NAME=FILE", help=text)
    pair = parser.add_argument_group("the relay pair for real services, beside that; all three or none, QUIC if wanted")
    pair.add_argument("--http", metavar="HOST:PORT", help="serve the model server's HTTP API here")
    pair.add_argument("--sealed-origin", metavar="HOST:PORT", help="UDP address of its origin relay")
    pair.add_argument("--quic-http", metavar="HOST:PORT", help="serve the same here, by an origin relay over QUIC")
    pair.add_argument("--quic-origin", metavar="HOST:PORT", help="address of its origin relay over QUIC")
    pair.add_argument("--key-file", type=Path, metavar="FILE", help="holds the key that it shares with that")
    return runtime.run(serve, parser.parse_args(arguments))
