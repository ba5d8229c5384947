"""The ways to the answers, one file each. They block: each answer is read by a thread of its own.

`connect` gives the way of a scheme. Many users share a `LoadClient`; a session that the kernel carries has a connection to itself.
"""

from eloquent import congestion, schemes
from eloquent.addresses import parse_address
from eloquent.http3.settings import address_of
from eloquent.load.clients.base import CancellationToken, LoadClient, LoadRequest
from eloquent.load.clients.grpc import GrpcClient
from eloquent.load.clients.http3 import SharedHttp3Client
from eloquent.load.clients.library import LibraryClient
from eloquent.load.clients.sse import SseClient
from eloquent.load.job import LoadJob

__all__ = ["CancellationToken", "LoadClient", "LoadRequest", "connect"]


def connect(scheme: str, job: LoadJob) -> LoadClient:
    """Return the way to the answers by a scheme; nothing is sent yet.

    Args:
        scheme: Name of the scheme.
        job: Where servers and relays are.

    Raises:
        ConfigurationError: There is no such scheme, or an address is malformed.
    """
    chosen = schemes.get(scheme)
    if chosen.kind == "quic":
        return SharedHttp3Client(address_of(job.quic_server, chosen.congestion_control), scheme)
    if chosen.transport == "sse":
        address = parse_address(congestion.address_of(job.http_server, chosen.congestion_control))
        return SseClient(address, scheme, model=job.model)
    if chosen.kind == "pair":
        edge = job.edge_quic if chosen.carrier == "quic" else job.edge_http
        return SseClient(parse_address(edge), scheme, model=job.model)
    if chosen.kind == "kernel":
        return GrpcClient(congestion.address_of(job.token_server, chosen.congestion_control), scheme)
    if job.options.via == "library":
        return LibraryClient(parse_address(job.origin_relay), scheme)
    return GrpcClient(job.edge_relay, scheme, shared=True)
