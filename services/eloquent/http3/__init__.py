"""HTTP/3 as servers and browsers have it: aioquic's own connection, controller and queue, with nothing of ours between.

What the testbed compares Eloquent with (docs/quic.md). An answer's body comes on its QUIC stream, or, where that is asked for, in
HTTP datagrams (RFC 9297) that one of our schemes makes.
"""
