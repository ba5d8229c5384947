"""What commands print on: as wide as the terminal, or without any limit where the reader is a file or a pipe."""

from rich.console import Console, ConsoleDimensions

UNLIMITED = 100_000  # columns: a table takes what its cells need


class Output(Console):
    """A console whose tables lose no digit and no name to a width that nobody has."""

    @property
    def size(self) -> ConsoleDimensions:
        """Return the size of the terminal, or one without a limit to its width where there is no terminal."""
        size = super().size
        return size if self.file.isatty() else ConsoleDimensions(UNLIMITED, size.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        """Set the size of the terminal."""
        self._width, self._height = new_size
