from itertools import islice

import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes.sources import Library
from eloquent.nodes.sources.book import BookSource
from eloquent.nodes.sources.counting import CountingSource


def test_without_a_name_the_prompt_decides():
    library = Library()
    assert isinstance(library.get("", "Count to 5"), CountingSource)
    assert isinstance(library.get("", "Tell me a story"), BookSource)
    assert isinstance(library.get("book", "Count to 5"), BookSource)


def test_recordings_are_offered_by_name(tmp_path):
    (tmp_path / "short.jsonl").write_text('{"at_s": 0, "text": "a"}\n')
    library = Library(tmp_path)
    with pytest.raises(ConfigurationError, match="counting, book, recorded:short"):
        library.get("recorded:long", "")
    assert [token.text for token in islice(library.get("recorded:short", "").tokens(""), 5)] == ["a"]


@pytest.mark.parametrize("name", ["nobody", "recorded:missing", "recorded:../../etc/passwd"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigurationError, match="counting, book"):
        Library().get(name, "hello")


def test_counting_without_a_number_is_refused():
    with pytest.raises(ConfigurationError, match="Count to N"):
        Library().get("counting", "hello")


def test_a_missing_folder_of_recordings_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="not a folder"):
        Library(tmp_path / "nowhere")
