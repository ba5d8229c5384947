"""Which connections of a capture are looked at, and what has to be said of them.

Rules of this file:

- A study's own connections are those of its own sockets. Where those are not known, the user's words choose; connections to
  several servers are several networks, and are never put together silently.
- What cannot be known is said in a warning, and enters no figure.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from eloquent.addresses import format_address
from eloquent.errors import ConfigurationError
from eloquent.measure.capture_file import Warn
from eloquent.measure.flows import FlowDirection, Vantage
from eloquent.measure.losses import StreamFates
from eloquent.measure.tcp_packet import Address

_FAR = 0.010  # seconds; an end that answers sooner is near, busy as it may be
_FAR_SHARE = 0.2  # of the round trip


def choose(
    found: Sequence[FlowDirection],
    *,
    vantage: Vantage | None,
    port: int | None,
    server: str,
    sockets: Collection[Address],
    warn: Warn,
) -> list[FlowDirection]:
    """Choose the connections that are meant.

    Args:
        found: All of a capture.
        vantage: Where the user says that it was made; None leaves out connections that were open before the capture began,
            such as those of other programs, where there are others.
        port: Port of the server; None takes any.
        server: Address of the server; empty takes the only one.
        sockets: The study's own ends; empty where they are not known.
        warn: Told of what is left out.

    Raises:
        ConfigurationError: None is left, or they lead to several servers.
    """
    meant = [one for one in found if port is None or port in {one.sender[1], one.receiver[1]}]
    meant = [one for one in meant if not server or server in {one.sender[0], one.receiver[0]}]
    if sockets:
        own = [one for one in meant if one.sender in sockets or one.receiver in sockets]
        if meant and not own:
            warn(
                "none of the run's own connections is in the capture, as behind a NAT: all that lead to its port were taken"
            )
        meant = own or meant
    if not meant:
        words = f"{f' with {server}' if server else ''}{f' of port {port}' if port is not None else ''}"
        raise ConfigurationError(f"no TCP connection{words} that carried data")
    if vantage is None:
        complete = [one for one in meant if one.vantage is not None]
        if complete and len(complete) < len(meant):
            warn(
                f"{len(meant) - len(complete)} connections were left out whose handshake was not captured: "
                "--vantage counts them too"
            )
        meant = complete or meant
    servers = Counter(one.sender[0] for one in meant)
    if len(servers) > 1 and not sockets:
        names = ", ".join(f"{host} ({count})" for host, count in servers.most_common())
        raise ConfigurationError(
            f"connections with {len(servers)} servers: {names}; choose one by --server, or give --log"
        )
    return meant


def doubts(streams: Sequence[StreamFates], warn: Warn) -> None:
    """Say what the fates of the packets are not known for, or what makes them doubtful.

    Args:
        streams: Those that were chosen.
        warn: Told of it.
    """
    for one in streams:
        if one.vantage is Vantage.SENDER and not one.direction.acks:
            warn(
                f"no acknowledgement of {format_address(one.direction.receiver)} was captured: "
                "near the sender, what became of its packets cannot be known"
            )
    amid = [one for one in streams if _is_amid(one.direction)]
    if amid:
        warn(
            f"{len(amid)} connections were captured in the middle of their path, as their handshakes tell: "
            "what was lost before that place is not in the capture, so take the figures with care"
        )
    missed = sum(one.direction.missed_bytes for one in streams)
    if missed:
        warn(f"the capture is not complete: {missed} bytes were acknowledged that no packet in it carries")
    joined = sum(
        packet.end - packet.start > one.direction.segment
        for one in streams
        if one.direction.segment is not None
        for packet in one.direction.data
    )
    if joined:
        warn(
            f"{joined} packets are longer than the network carries: segmentation offload has joined them, "
            "and each counts as one (docs/measurement.md)"
        )


def _is_amid(direction: FlowDirection) -> bool:
    """Return whether both ends are far from where the capture was made."""
    if direction.shorter_wait_s is None or direction.rtt_s is None:
        return False
    return direction.shorter_wait_s > max(_FAR, _FAR_SHARE * direction.rtt_s)
