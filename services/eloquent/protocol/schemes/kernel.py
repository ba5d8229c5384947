"""What the kernel's TCP carries: no endpoints of ours, but a name, a label and a colour like every other scheme."""

import re

from eloquent.protocol.schemes.scheme import Family, Scheme

GRPC = Family(
    "grpc", re.compile("grpc"), lambda match: Scheme(match[0], "TCP (gRPC)", "#d55e00", "kernel"), default="grpc"
)
