"""Names that a call carries: its method, and the metadata (gRPC) or headers (HTTP) that say whose stream it is.

Logs and metrics use them; the answer does not depend on them.
"""

GENERATE = "/eloquent.api.v1.TokenService/Generate"
TOKEN_SERVICE = "eloquent.api.v1.TokenService"  # noqa: S105  (a token of text, no secret)

CLIENT_KEY = "x-eloquent-client"
SCHEME_KEY = "x-eloquent-scheme"
SESSION_KEY = "x-eloquent-session"


def owner_metadata(*, client: str, scheme: str, session: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that belongs to this client, scheme and session."""
    return ((CLIENT_KEY, client), (SCHEME_KEY, scheme), (SESSION_KEY, session))
