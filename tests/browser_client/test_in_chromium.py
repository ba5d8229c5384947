"""The client for pages in headless Chromium, against a real origin relay."""

import signal

import pytest

pytestmark = pytest.mark.browser

# The content of an answer by each of two ways, without what differs from answer to answer, and what brought it.
BOTH = """async () => {
  const read = async response => {
    const text = (await response.text()).replace(/"(id|created|generated_at_ns)": ?("[^"]*"|\\d+)/g, "");
    return [response.carrier, response.status, response.headers.get("content-type"), text];
  };
  const init = question("Count to 60");
  return [await read(await makeFetch(settings)(url, init)), await read(await fetch(url, init))];
}"""
LOOK = """state => {
  Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
RATE = """async () => {
  const from = source.statistics;
  await new Promise(resolve => setTimeout(resolve, 2000));
  return [(source.statistics.datagrams - from.datagrams) / 2, (source.statistics.bytes - from.bytes) / 2];
}"""

AGAIN = """async () => {
  const from = performance.now();
  await makeFetch(settings)(url, question("Count to 3"));
  return performance.now() - from;
}"""


def counted(last: int) -> str:
    return ", ".join(str(number) for number in range(1, last + 1))


def test_the_same_bytes_as_by_fetch(pages):
    by_datagrams, by_fetch = pages.open().evaluate(BOTH)
    assert by_datagrams[0] == "webtransport"
    assert by_datagrams[1:] == by_fetch[1:]


def test_many_answers_at_once_on_one_session(pages):
    page = pages.open()
    page.evaluate("""() => {
        window.sessions = 0;
        const {WebTransport} = window;
        window.WebTransport = class extends WebTransport { constructor(...words) { super(...words); sessions += 1 } };
        for (let last = 1; last <= 30; last++) follow(`a${last}`, question(`Count to ${last}`));
    }""")
    page.wait_for_function("Object.keys(ends).length === 30")
    assert page.evaluate("texts") == {f"a{last}": counted(last) for last in range(1, 31)}
    assert {end["carrier"] for end in page.evaluate("Object.values(ends)")} == {"webtransport"}
    assert page.evaluate("sessions") == 1


def test_without_an_origin_relay_the_answer_comes_by_fetch(pages):
    pages.origin.stop(signal.SIGKILL)
    page = pages.open()
    page.evaluate("follow('a', question('Count to 9'))")
    page.wait_for_function("ends.a")
    assert page.evaluate("[ends.a.type, ends.a.carrier, texts.a]") == ["end", "sse", counted(9)]
    assert page.evaluate(AGAIN) < 1900  # milliseconds: the failure is remembered, and nobody waits for it twice


def test_a_reload_in_the_middle(pages):
    page = pages.open()
    page.evaluate("follow('a', {...question('Count to 150'), resume: 'chat'})")
    page.wait_for_function("texts.a.includes('20')")
    page.evaluate("addEventListener('pagehide', () => sessionStorage.seen = texts.a)")
    page.reload()
    page.wait_for_function("window.ready")
    assert page.evaluate("isResumable('chat')")
    seen = page.evaluate("sessionStorage.seen")
    page.evaluate("follow('a', {...question('never asked'), resume: 'chat'})")
    page.wait_for_function("ends.a")
    assert page.evaluate("ends.a.type") == "end"
    assert seen + page.evaluate("texts.a") == counted(150)
    assert not page.evaluate("isResumable('chat')")


def test_a_reload_with_the_answer_from_its_beginning(pages):
    page = pages.open()
    page.evaluate("follow('a', {...question('Count to 100'), resume: true})")
    page.wait_for_function("texts.a.includes('20')")
    page.reload()
    page.wait_for_function("window.ready")
    page.evaluate("follow('a', {...question('never asked'), resume: true, replay: true})")
    page.wait_for_function("ends.a")
    assert page.evaluate("[ends.a.type, texts.a]") == ["end", counted(100)]


def test_a_hidden_tab_needs_fewer_datagrams(pages):
    page = pages.open()
    page.evaluate("window.source = follow('a', question('Count to 9999'))")
    page.wait_for_function("texts.a.length > 20")
    looking = page.evaluate(RATE)
    page.evaluate(LOOK, "hidden")
    away = page.evaluate(RATE)
    page.evaluate(LOOK, "visible")
    again = page.evaluate(RATE)
    assert max(looking[0], again[0]) > 1.5 * away[0], (looking, away, again)


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_origin_that_dies_is_an_error(pages, comes_back):
    """Without the answer, if it comes back; else Chromium tells after 10 to 20 s, and the client itself after 48."""
    page = pages.open()
    page.evaluate("follow('a', question('Count to 9999'))")
    page.wait_for_function("texts.a.includes('20')")
    pages.origin.stop(signal.SIGKILL)
    if comes_back:
        pages.origin.start()
    page.wait_for_function("ends.a")
    assert page.evaluate("ends.a.type") == "error"
    assert page.evaluate("a.readyState") == 2


def test_an_answer_that_is_closed_brings_nothing_more(pages):
    page = pages.open()
    page.evaluate("follow('a', question('Count to 9999'))")
    page.wait_for_function("texts.a.includes('20')")
    text = page.evaluate("() => { a.close(); return texts.a }")
    page.evaluate("follow('b', question('Count to 30'))")
    page.wait_for_function("ends.b")
    assert page.evaluate("[texts.a, texts.b, ends.a]") == [text, counted(30), None]
