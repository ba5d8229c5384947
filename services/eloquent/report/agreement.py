"""The table lab against simulator, as a page shows it: read from `agreement.csv` in a run's directory (docs/agreement.md)."""

import csv
from collections.abc import Mapping
from pathlib import Path

from eloquent.errors import ConfigurationError
from eloquent.report.story import milliseconds
from eloquent.report.styles import label, printable

NAME = "agreement.csv"
HEADINGS = ("scheme", "simulated as", "measure", "lab", "simulator", "difference", "95 % CI")
_COLUMNS = {"scheme", "model", "measure", "lab", "simulator", "difference", "low", "high"}
_PLACES = {"_210": " at 210 ms", "_390": " at 390 ms", "_p95_s": ", p95", "_p99_s": ", p99", "_mean_s": ", mean"}


def read_agreement(path: Path) -> list[tuple[str, ...]]:
    """Return heading and rows of the table; nothing where the file does not exist.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It is not such a table.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            if not set(lines.fieldnames or ()) >= _COLUMNS:
                raise ConfigurationError(f"{path} is not a table of lab against simulator")
            return [HEADINGS, *map(_cells, lines)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None


def _cells(line: Mapping[str, str]) -> tuple[str, ...]:
    measure = line["measure"]
    interval = f"{_change(line['low'])} … {_change(line['high'])}" if line["low"] and line["high"] else "-"
    sides = (_value(measure, line[side]) for side in ("lab", "simulator"))
    return (
        label(line["scheme"]),
        printable(line["model"]),
        _words(measure),
        *sides,
        _change(line["difference"]),
        interval,
    )


def _words(measure: str) -> str:
    for ending, place in _PLACES.items():
        if measure.endswith(ending):
            return printable(measure.removesuffix(ending).replace("_", " ") + place)
    return printable(measure.replace("_", " "))


def _value(measure: str, text: str) -> str:
    if not text:
        return "-"
    return milliseconds(float(text)) if measure.endswith("_s") else f"{float(text) * 100:.1f}\N{NO-BREAK SPACE}%"


def _change(text: str) -> str:
    return f"{float(text) * 100:+.1f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}") if text else "-"
