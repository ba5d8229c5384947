"""What the kernel's TCP carries: gRPC, and HTTP's server-sent events as today's chat services stream. No endpoints of ours.

`grpc` and `sse` use the congestion control of the machine, `grpc-cubic` and its like the one that they name.
"""

import re

from eloquent.protocol.scheme import Family, Scheme

CONGESTION_CONTROLS = ("cubic", "bbr")
"""Those that a scheme may name: those that have a model (`baselines/tcp`)."""


def _family(transport: str) -> Family:
    pattern = re.compile(f"{transport}(?:-(?P<control>{'|'.join(CONGESTION_CONTROLS)}))?")
    form = f"{transport}[-{'|-'.join(CONGESTION_CONTROLS)}]"

    def build(match: re.Match[str]) -> Scheme:
        return Scheme(match[0], "kernel", transport=transport, congestion_control=match["control"] or "")

    return Family(form, pattern, build, default=transport)


GRPC, SSE = _family("grpc"), _family("sse")
