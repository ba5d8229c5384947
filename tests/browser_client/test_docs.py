"""The page of docs/browser.md, as it stands there, does what is said of it."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs" / "browser.md"


def test_the_page_shows_an_answer(pages):
    text = DOCS.read_text()
    (html,) = re.findall(r"^```html\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert html.count("127.0.0.1:8000") == html.count("127.0.0.1:4433") == 1
    html = html.replace("127.0.0.1:8000", pages.upstream.address).replace("127.0.0.1:4433", pages.origin.address)
    home = f"http://{pages.upstream.address}"
    page = pages.open()
    page.route(f"{home}/hash.txt", lambda route: route.fulfill(body=pages.hash.read_text()))
    page.route(f"{home}/index.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(f"{home}/index.html")
    page.fill("input", "Count to 9")
    page.wait_for_function("!!document.forms[0].onsubmit")
    page.click("button")
    page.wait_for_function("state.textContent.includes('whole')")
    assert page.inner_text("#state") == "by webtransport, whole"
    assert page.inner_text("#answer") == "1, 2, 3, 4, 5, 6, 7, 8, 9"
