import json

import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes.sources.base import SourceToken
from eloquent.nodes.sources.recorded import RecordedSource


def test_a_recording_gives_its_texts_and_times(tmp_path):
    path = tmp_path / "gpt.jsonl"
    path.write_text('{"at_s": 0, "text": "Hi"}\n{"at_s": 0.25, "text": " there"}\n{"at_s": 0.25, "text": "!"}\n')
    tokens = list(RecordedSource.read(path).tokens("whatever"))
    assert tokens == [SourceToken("Hi", 0.0), SourceToken(" there", 0.25), SourceToken("!", 0.25)]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[1, 2]",
        '{"text": "x"}',
        '{"at_s": 1}',
        '{"at_s": null, "text": "x"}',
        '{"at_s": -1, "text": "x"}',
        '{"at_s": NaN, "text": "x"}',
        '{"at_s": Infinity, "text": "x"}',
        '{"at_s": 0.1, "text": "x"}',
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"at_s": 0.5, "text": "a"}\n' + line + "\n")
    with pytest.raises(ConfigurationError, match=r"bad\.jsonl:2"):
        RecordedSource.read(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"at_s": 1, "text": null}',
        '{"at_s": 1, "text": 5}',
        '{"at_s": true, "text": "x"}',
        '{"at_s": "1", "text": "x"}',
        '{"at_s": 1, "text": "half \\ud83d"}',
        '{"at_s": 1, "text": "\\ude00\\ud83d"}',
        '{"at_s": 1e400, "text": "x"}',
        '{"at_s": 1' + "0" * 400 + ', "text": "x"}',
        '{"at_s": ' + "9" * 5000 + ', "text": "x"}',
        "[" * 100_000,
        "null",
        "",
    ],
)
def test_what_could_not_be_sent_is_found_when_loading(tmp_path, line):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"at_s": 0.5, "text": "a"}\n' + line + '\n{"at_s": 2, "text": "a"}\n')
    with pytest.raises(ConfigurationError, match=r"bad\.jsonl:2"):
        RecordedSource.read(path)


def test_a_text_may_hold_any_separator_but_the_end_of_a_line(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = ["one\u2028two", "three\x85four", "five\u2029six", "\U0001f600"]
    lines = [json.dumps({"at_s": number, "text": text}, ensure_ascii=False) for number, text in enumerate(texts)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, '{"at_s": 9, "text": "\\ud83d\\ude00"}', "", ""]).encode())
    assert [token.text for token in RecordedSource.read(path).tokens("")] == [*texts, "\U0001f600"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"at_s": 0, "text": "\xe9"}\n')
    for name in ("latin.jsonl", "missing.jsonl"):
        with pytest.raises(ConfigurationError, match=f"cannot read the recording .*{name}"):
            RecordedSource.read(tmp_path / name)
