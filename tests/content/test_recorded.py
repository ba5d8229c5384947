"""Content from files."""

from itertools import islice
from pathlib import Path

import pytest

from eloquent import content
from eloquent.errors import ConfigurationError


def test_a_line_is_a_token_or_an_event(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"at_s": 0.1, "text": "tea\\u2028"}\n\n {"object":"chat.completion.chunk","x":"a\u2028b"}\n', encoding="utf-8"
    )
    items = set(islice(content.stream(str(path), 1), 4))
    assert items == {
        "tea\u2028".encode(),
        'data: {"object":"chat.completion.chunk","x":"a\u2028b"}\n\n'.encode(),
    }


def test_each_seed_begins_elsewhere_and_goes_round(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f'{{"text": "{number}"}}\n' for number in range(50)))
    streams = [list(islice(content.stream(str(path), seed), 60)) for seed in range(5)]
    assert len({stream[0] for stream in streams}) > 2
    assert all(stream[50:] == stream[:10] for stream in streams)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no content"),
        ('{"text": "a"}\nnonsense\n', ":2: no JSON"),
        ("[1]\n", ":1: no JSON object"),
        ('{"text": 1}\n', ":1: the text of a token is a string"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        content.stream(str(path), 1)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"cannot read the content .*none\.jsonl"):
        content.stream(str(tmp_path / "none.jsonl"), 1)
