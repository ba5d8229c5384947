"""How each scheme is labelled and coloured, in every table, figure and page.

A scheme that is not listed here is called by its name and takes a colour of the palette, so that a new one needs no line of this
file. The colours are from the palettes of Okabe and Ito and of Tol (muted, and light for QUIC), which
colour-blind readers can tell apart.
"""

import re
from collections.abc import Iterable
from zlib import crc32

_LABELS = (
    ("grpc", "TCP (gRPC)"),
    ("sse", "TCP (HTTP SSE)"),
    ("grpc-cubic", "TCP CUBIC (gRPC)"),
    ("grpc-bbr", "TCP BBR (gRPC)"),
    ("sse-cubic", "TCP CUBIC (HTTP SSE)"),
    ("sse-bbr", "TCP BBR (HTTP SSE)"),
    ("quic-stream", "QUIC stream, Reno"),
    ("quic-stream-cubic", "QUIC stream, CUBIC"),
    ("quic-datagram-stock", "QUIC datagrams, Reno"),
    (r"quic-datagram-stock-(.+)", r"QUIC datagrams, Reno (\1)"),
    ("retransmit", "Retransmit"),
    ("tcp-simple", "Simple TCP"),
    (r"duplicate-0*(\d+)", r"Duplicate ×\1"),
    (r"duplicate-0*(\d+)-(.+)", r"Duplicate ×\1, \2 apart"),
    ("eloquent", "Eloquent"),
    ("eloquent-all", "Eloquent (no token limit)"),
    (r"eloquent-(\d+)", r"Eloquent (≤\1 tokens)"),
    ("eloquent-adaptive", "Eloquent adaptive"),
    (r"eloquent-adaptive-0*(\d+)pps", r"Eloquent adaptive (≤\1 packets/s)"),
    ("eloquent-packed", "Eloquent packed"),
    (r"eloquent-packed-0*(\d+(?:\.\d)?)x", r"Eloquent packed (×\1 bytes)"),
    ("openai", "Eloquent relays (HTTP SSE)"),
    (r"openai-(.+)", r"Eloquent relays (HTTP SSE, \1)"),
    ("eloquent-quic", "Eloquent relays over QUIC (HTTP SSE)"),
    ("tcp", "TCP (model, CUBIC)"),
    ("tcp-bbr", "TCP (model, BBR)"),
    (r"red-0*(\d+)", r"RED, \1 blocks"),
    (r"fec-0*(\d+)-(\d+)", r"FEC, \2 over \1"),
    ("ssp", "SSP (Mosh)"),
    ("kcp", "KCP-style"),
    ("bound", "Exact bound"),
    ("bound-(.+)", r"Exact bound (a packet per \1)"),
)
_COLOURS = (
    ("grpc", "#d55e00"),
    ("sse", "#ddcc77"),
    ("retransmit|tcp-simple", "#56b4e9"),
    ("duplicate-0*2(-.+)?", "#e69f00"),
    ("duplicate-0*3(-.+)?", "#cc79a7"),
    ("duplicate-0*4(-.+)?", "#009e73"),
    ("duplicate-0*5(-.+)?", "#f0e442"),
    ("duplicate-.+", "#999999"),
    (r"eloquent(-\d+|-all)?", "#0072b2"),
    ("eloquent-adaptive", "#cc6677"),
    ("eloquent-adaptive-.+", "#999933"),
    (r"eloquent-packed(-.+)?", "#000000"),
    (r"openai(-.+)?", "#6699cc"),
    ("tcp|grpc-cubic", "#882255"),
    ("tcp-bbr|grpc-bbr", "#661100"),
    ("red-.+", "#332288"),
    ("fec-.+", "#44aa99"),
    ("eloquent-quic", "#77aadd"),
    ("quic-stream", "#bbcc33"),
    ("quic-stream-cubic", "#ee8866"),
    ("quic-datagram-stock(-.+)?", "#aaaa00"),
    ("ssp", "#117733"),
    ("kcp", "#aa4499"),
    ("bound(-.+)?", "#888888"),
)
SPARE_COLOURS = ("#332288", "#117733", "#882255", "#44aa99", "#aa4499", "#999933", "#661100", "#6699cc")
"""Of Tol's muted palette, for schemes that have no colour of their own or share one."""


def label(name: str) -> str:
    """Return what tables and legends call a scheme; one that is not listed stands for itself, made printable."""
    for pattern, text in _LABELS:
        if match := re.fullmatch(pattern, name):
            return match.expand(text)
    return printable(name)


def colour(name: str) -> str:
    """Return the colour of a scheme, as `#rrggbb`; of one that is not listed, always the same of the palette."""
    return _own_colour(name) or SPARE_COLOURS[crc32(name.encode()) % len(SPARE_COLOURS)]


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each scheme of one figure: its own where that is free, else one that no other here has."""
    found: dict[str, str] = {}
    for name in names:
        own = _own_colour(name)
        free = [one for one in (*([own] if own else []), *SPARE_COLOURS) if one not in found.values()]
        found[name] = free[0] if free else f"#{0x70 + len(found):02x}7070"
    return found


def printable(text: str) -> str:
    """Replace what no page can show, such as control characters, by the sign for an unknown character."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _own_colour(name: str) -> str | None:
    return next((value for pattern, value in _COLOURS if re.fullmatch(pattern, name)), None)
