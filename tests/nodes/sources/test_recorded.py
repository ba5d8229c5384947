import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes.sources.base import Token
from eloquent.nodes.sources.recorded import RecordedSource


def test_a_recording_gives_its_texts_and_times(tmp_path):
    path = tmp_path / "gpt.jsonl"
    path.write_text('{"at_s": 0, "text": "Hi"}\n{"at_s": 0.25, "text": " there"}\n{"at_s": 0.25, "text": "!"}\n')
    tokens = list(RecordedSource.read(path).tokens("whatever"))
    assert tokens == [Token("Hi", 0.0), Token(" there", 0.25), Token("!", 0.25)]


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
