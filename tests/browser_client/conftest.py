"""A real browser, a token server, and an origin relay that lets the pages of that server's address in."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, Route, sync_playwright
from tests.ports import find_address

CHROMIUM = "/usr/bin/chromium"
MODULE = Path(__file__).parents[2] / "clients" / "js" / "eloquent.js"
# A page that Playwright answers for has no address, so Chromium would keep it off this machine as it does pages of the Internet.
LOOPBACK = "--disable-features=LocalNetworkAccessChecks"
PATIENCE = 60_000  # milliseconds; only a test that fails waits so long
HTML = """<!doctype html><title>Eloquent</title><script type="module">
import * as eloquent from "/eloquent.js";
Object.assign(window, eloquent, {texts: {}, ends: {}});
const {location: {search}} = window;
const [webTransport, hash] = new URLSearchParams(search).getAll("o");
window.url = "/v1/chat/completions";
window.settings = {webTransport, certificateHashes: [hash]};
window.question = (content, gap = 0.02) => ({method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({
  model: "eloquent", stream: true, messages: [{role: "user", content}], eloquent: {token_gap_s: gap}})});
window.follow = (name, options) => {
  const source = new EloquentSource(url, {...settings, ...options});
  texts[name] = "";
  source.onmessage = ({data}) => { if (data !== "[DONE]") texts[name] += JSON.parse(data).choices[0]?.delta.content ?? "" };
  source.onend = source.onerror = ({type, message}) => { ends[name] = {type, message, carrier: source.carrier} };
  return window[name] = source;
};
window.ready = true;
</script>"""


@dataclass
class Server:
    """A process that said that it is ready."""

    words: Callable[[str], list[str]]
    address: str = field(default_factory=find_address)
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> "Server":
        """Start it, or again at the same port."""
        self.process = subprocess.Popen([sys.executable, "-m", *self.words(self.address)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == b"ready"
        return self

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE / 1e3)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@dataclass
class Pages:
    """Opens pages of the token server's address.

    Attributes:
        browser: The browser.
        upstream: The token server.
        origin: The origin relay.
        hash: Of its certificate.
    """

    browser: Browser
    upstream: Server
    origin: Server
    hash: Path

    def open(self, *, web_transport: str | None = None) -> Page:
        """Open a page; by default it asks the origin relay."""
        page = self.browser.new_context().new_page()
        page.set_default_timeout(PATIENCE)
        home = f"http://{self.upstream.address}"
        page.route(f"{home}/page**", lambda route: _serve(route, HTML, "text/html"))
        page.route(f"{home}/eloquent.js", lambda route: _serve(route, MODULE.read_text(), "text/javascript"))
        where = web_transport or f"https://{self.origin.address}/eloquent"
        page.goto(f"{home}/page?o={where}&o={self.hash.read_text().strip()}")
        page.wait_for_function("window.ready")
        return page


def _serve(route: Route, body: str, kind: str) -> None:
    route.fulfill(body=body, content_type=kind)


@pytest.fixture(scope="module")
def playwright_() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(needs_chromium: None, playwright_: Playwright) -> Iterator[Browser]:
    started = playwright_.chromium.launch(executable_path=CHROMIUM, args=[LOOPBACK])
    yield started
    started.close()


@pytest.fixture(scope="module")
def servers(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    certificate = tmp_path_factory.mktemp("certificate") / "hash"
    token_server = ["eloquent.nodes.token_server", "--listen", "127.0.0.1:0", "--http"]
    upstream = Server(lambda address: [*token_server, address]).start()
    home = f"http://{upstream.address}"
    relay = ["eloquent.cli", "origin", "--upstream", home, "--listen", "127.0.0.1:0", "--plaintext", "--no-tcp"]
    relay += ["--metrics", "127.0.0.1:0", "--page-origins", home, "--certificate-hash", str(certificate)]
    origin = Server(lambda address: [*relay, "--webtransport", address])
    try:
        origin.start()
        yield Pages(browser, upstream, origin, certificate)
    finally:
        upstream.stop()
        origin.stop()


@pytest.fixture
def pages(servers: Pages) -> Iterator[Pages]:
    """The servers, both running, and no page."""
    if servers.origin.process is None:
        servers.origin.start()
    yield servers
    for context in servers.browser.contexts:
        context.close()
