"""Token sources by name. A new one is one class and one line in `_SOURCES` (or, for a family, in `Library.get`)."""

from pathlib import Path

from eloquent.errors import ConfigurationError
from eloquent.nodes.sources.base import Source, SourceToken
from eloquent.nodes.sources.book import BookSource
from eloquent.nodes.sources.counting import CountingSource
from eloquent.nodes.sources.recorded import RecordedSource

__all__ = ["Library", "Source", "SourceToken"]

_SOURCES: dict[str, type[CountingSource] | type[BookSource]] = {
    "counting": CountingSource,
    "book": BookSource,
}
_RECORDED = "recorded:"


class Library:
    """The sources that one server offers.

    Args:
        recordings: Folder of the recordings that `recorded:NAME` reads (`NAME.jsonl`); `None` offers none.

    Raises:
        ConfigurationError: A recording in the folder cannot be read.
    """

    def __init__(self, recordings: Path | None = None) -> None:
        self._sources: dict[str, Source] = {name: source() for name, source in _SOURCES.items()}
        if recordings is not None:
            if not recordings.is_dir():
                raise ConfigurationError(f"'{recordings}' is not a folder of recordings")
            for path in sorted(recordings.glob("*.jsonl")):
                self._sources[_RECORDED + path.stem] = RecordedSource.read(path)

    def get(self, name: str, prompt: str) -> Source:
        """Return the named source; without a name, the one that the prompt asks for.

        Raises:
            ConfigurationError: No source has that name, or the named one cannot answer the prompt.
        """
        if not name:
            name = "counting" if CountingSource.answers(prompt) else "book"
        if name not in self._sources:
            raise ConfigurationError(f"no token source '{name}': this server has {', '.join(self._sources)}")
        if name == "counting" and not CountingSource.answers(prompt):
            raise ConfigurationError("the source 'counting' answers prompts that begin with 'Count to N'")
        return self._sources[name]
