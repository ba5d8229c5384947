"""What aioquic's QUIC carries as it is: answers over HTTP/3, as servers stream them. No endpoints of ours, but in the last.

`quic-stream` is what `sse` is over TCP, on a QUIC stream, with aioquic's Reno; `quic-stream-cubic` has its CUBIC.
`quic-datagram-stock` (in `schemes.py`, which knows the others) puts the packets of a scheme of datagrams into DATAGRAM frames
(RFC 9221) under Reno.
"""

import re

from eloquent.protocol.scheme import Family, Scheme


def _build_stream(match: re.Match[str]) -> Scheme:
    return Scheme(match[0], "quic", congestion_control=match["control"] or "reno")


STREAM = Family(
    "quic-stream[-cubic]", re.compile("quic-stream(?:-(?P<control>cubic))?"), _build_stream, default="quic-stream"
)
