"""Who may use the web page of Locust's master: the reader at this machine, and no other page in the reader's browser.

Rules of this file: a foreign name that resolves to 127.0.0.1 is no host of ours, and what changes the test (start, stop) has to
come from Locust's own page, as browsers tell by `Origin` or `Referer`; what sends neither is no page.
"""

from urllib.parse import urlsplit

from flask import Flask, abort, request

HOSTS = ("127.0.0.1", "localhost")


def guard(app: Flask) -> None:
    """Refuse, with 403, what comes from elsewhere.

    Args:
        app: Locust's application, before its first request.
    """

    @app.before_request
    def refuse_strangers() -> None:
        if request.host.partition(":")[0] not in HOSTS:
            abort(403, "only the names of this machine's loopback are served")
        source = request.headers.get("Origin") or request.headers.get("Referer")
        if request.method not in ("GET", "HEAD") and source is not None and urlsplit(source).netloc != request.host:
            abort(403, "only Locust's own page may change the test")
