"""HTTP's server-sent events over the kernel's TCP, as today's chat services stream: no endpoints of ours."""

import re

from eloquent.protocol.schemes.scheme import Family, Scheme

FAMILY = Family(
    "sse", re.compile("sse"), lambda match: Scheme(match[0], "TCP (HTTP SSE)", "#ddcc77", "kernel"), default="sse"
)
