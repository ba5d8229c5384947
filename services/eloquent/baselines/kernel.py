"""What the kernel's TCP carries: gRPC, and HTTP's server-sent events as today's chat services stream. No endpoints of ours."""

import re

from eloquent.protocol.scheme import Family, Scheme

GRPC = Family("grpc", re.compile("grpc"), lambda match: Scheme(match[0], "kernel"), default="grpc")
SSE = Family("sse", re.compile("sse"), lambda match: Scheme(match[0], "kernel"), default="sse")
