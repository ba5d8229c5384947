"""The page of a run: parsed, and held against the summary."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.report.html import lightened, page, write_report
from eloquent.report.run_data import load
from eloquent.report.summary import summarise

EVIL = '<script>alert("1")</script><img src=x onerror=alert(2)>'
WORDS = """html head meta title link style body header main div p h1 h2 h3 ul li strong b br span small section
    dl dt dd a table thead tbody tr th td data figure figcaption svg g path defs clippath rect text use"""
ELEMENTS = set(WORDS.split())
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Collects elements, the text in each, and the figures of the table; refuses what is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[tuple[str, float, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self._last: dict[str, str | None] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self._last = dict(attrs)
        self.elements.append((tag, self._last))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] == "data":
            self.figures.append((self._last["class"], float(self._last["value"]), data))

    @property
    def text(self):
        return " ".join(self.texts).replace("\N{NO-BREAK SPACE}", " ")


def assert_self_contained(text: str):
    assert "://" not in text
    parsed = Page(text)
    names = {name for name, _ in parsed.elements}
    assert names.isdisjoint({"script", "img", "iframe", "object", "embed", "base", "foreignobject"})
    assert names <= ELEMENTS
    for name, attributes in parsed.elements:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("href", "src", "xlink:href"):
            target = attributes.get(key) or ""
            assert not target or target.startswith(("#", "data:,")) or (name == "a" and target.startswith("load-"))
    identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for reference in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text):
        assert "".join(reference) in identifiers
    return parsed


def test_a_page_needs_nothing_but_itself(make_run):
    path = write_report(make_run().path)
    assert path.name == "report.html"
    parsed = assert_self_contained(path.read_text(encoding="utf-8"))
    assert sum(name == "svg" for name, _ in parsed.elements) == 6 + 2
    assert "partial" not in parsed.text


def test_the_figures_are_those_of_the_summary(make_run):
    run = make_run(chances={"grpc": 0.3, "duplicate-2": 0.2, "eloquent": 0.1})
    summarise(run.path)
    written = json.loads((run.path / "summary.json").read_text())["schemes"]
    shown = Page(page(load(run.path))).figures
    for scheme, figures in written.items():
        row, shown = shown[: 13 + (scheme != "grpc")], shown[13 + (scheme != "grpc") :]
        for key, value, _ in row:
            expected = figures[key]["ratio"] if key == "relative_stall_ratio" else figures[key]
            assert value == expected
        text = {key: text.replace("\N{NO-BREAK SPACE}", " ") for key, _, text in row}
        assert text["stall_ratio"] == f"{figures['stall_ratio']:.1%}".replace("%", " %")
        assert text["redundancy_rate"] == "25.0 %"
    assert shown == []


def test_warnings_stand_above_everything_but_the_headline(make_run):
    run = make_run(made={"warnings": ["state changes were late by 15.0 ms", "the machine was busy"]})
    text = page(load(run.path))
    assert text.index("</h1>") < text.index("late by 15.0 ms") < text.index("the machine was busy")
    assert text.index("the machine was busy") < text.index('class="cards"')
    assert 'role="alert"' in text


def test_a_run_with_failures_is_marked(run):
    parsed = assert_self_contained(write_report(run.path).read_text(encoding="utf-8"))
    assert "partial" in parsed.text
    assert "failed sessions enter no figure" in parsed.text
    assert "2 failed" in parsed.text


def test_a_run_that_was_never_streamed_has_a_page(make_run):
    run = make_run()
    for log in ("sessions", "tokens", "streams", "probes"):
        for path in (run.path / log).iterdir():
            path.unlink()
    parsed = assert_self_contained(page(load(run.path)))
    assert "No session of this run ended well" in parsed.text
    assert "no session was logged" in parsed.text
    assert not any(name == "svg" for name, _ in parsed.elements)


def test_one_client_and_one_token_are_enough(make_run):
    for tokens in (1, 2):
        run = make_run(f"tokens-{tokens}", clients=("c1",), chances={"eloquent": 0.0}, tokens=tokens)
        assert_self_contained(page(load(run.path)))


def test_names_are_text_and_nothing_else(make_run):
    evil = EVIL.replace("/", "\N{DIVISION SLASH}")  # clients are names of files
    run = make_run(
        clients=(evil, "$x_$", "a--b\x1b[31m", "\N{PILE OF POO}"),
        chances={"grpc": 0.2, EVIL: 0.1, "$\\frac{1}{0}$": 0.1, "{{ 7 * 7 }}": 0.1},
        made={
            "run": EVIL,
            "warnings": [EVIL, 7],
            "carrier": {"name": EVIL, "why": EVIL},
            "kernel": EVIL,
            "options": {EVIL: EVIL, "clients": "many"},
            "versions": {EVIL: EVIL},
        },
    )
    text = write_report(run.path).read_text(encoding="utf-8")
    parsed = assert_self_contained(text)
    assert EVIL in parsed.text
    assert "{{ 7 * 7 }}" in parsed.text
    assert "\x1b" not in text


@pytest.mark.parametrize("odd", [None, 7, "text", [], {}, [None], [{}], {"p99_s": None}, True])
def test_whatever_a_manifest_says_of_itself_there_is_a_page(make_run, odd):
    keys = ("links", "options", "versions", "carrier", "lateness", "processor", "directions", "warnings", "rounds_s")
    run = make_run(clients=("c1",), chances={"eloquent": 0.1}, made=dict.fromkeys(keys, odd))
    assert_self_contained(page(load(run.path)))


def test_loads_get_pages_of_their_own(make_run, tmp_path):
    parent = make_run("parent")
    make_run("load").path.rename(parent.path / "load-1")
    (parent.path / "load-1" / "locust.html").write_text("")
    (parent.path / "load-2").mkdir()
    (parent.path / "load-2" / "manifest.json").write_text("{")
    (parent.path / "load-3").mkdir()
    parsed = assert_self_contained(write_report(parent.path).read_text(encoding="utf-8"))
    assert [attributes["href"] for name, attributes in parsed.elements if name == "a"] == [
        "load-1/report.html",
        "load-1/locust.html",
    ]
    assert_self_contained((parent.path / "load-1" / "report.html").read_text(encoding="utf-8"))
    assert "load-2 " in parsed.text
    assert "cannot be reported" in parsed.text


def test_the_agreement_is_shown_where_there_is_one(make_run):
    run = make_run()
    header = "scheme,model,sessions,measure,lab,simulator,difference,low,high\n"
    (run.path / "agreement.csv").write_text(header + "grpc,tcp-bbr,8,stall_ratio,0.5,0.4,0.25,0.1,0.4\n")
    assert "TCP (gRPC) tcp-bbr stall ratio 50.0 % 40.0 % +25.0 % +10.0 % … +40.0 %" in Page(page(load(run.path))).text


def test_a_directory_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="is not a run"):
        write_report(tmp_path)


def test_the_same_run_gives_the_same_page(make_run):
    run = make_run()
    assert page(load(run.path)) == page(load(run.path))


def test_dark_colours_are_lighter_and_light_ones_stay():
    assert lightened("#332288") > "#332288"
    assert lightened("#ffffff") == "#ffffff"
