"""The scenarios that come with the project, and the one way to read any other.

Rules of this file: a value in a YAML file is the text that stands there, as in a line; YAML guesses no numbers (`0100`, `1:30`),
truths or dates. A key stands once.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from eloquent.channel.scenario import Scenario, from_mapping, parse_line
from eloquent.channel.trace_files import expand_traces, read_trace
from eloquent.errors import ConfigurationError

_FOLDER = Path(__file__).parent
_LARGEST = 64 << 20  # bytes
_LOSSES = ("loss", "loss_up")  # the keys that may name the file of a trace


def names() -> list[str]:
    """Return the names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


class _Loader(yaml.BaseLoader):
    """Reads every value as its text, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        """Return a mapping; YAML's own rule is that the last of two equal keys wins."""
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in counts.most_common(1):
            if count > 1:
                raise ConfigurationError(f"'{key}' stands there twice: leave one")
        return super().construct_mapping(node, deep)


def load(text: str | Path, *, random_start: bool = False) -> Scenario:
    """Return the scenario that the user means.

    Args:
        text: The name of a shipped scenario, the path of a YAML file (`.yaml`, `.yml`), or a line such as `rtt=400ms`.
        random_start: Whether a trace of a file begins at a slot that the seed chooses, where the scenario does not say.

    Raises:
        ConfigurationError: There is no such scenario or file, or its content is unusable.
    """
    if isinstance(text, Path) or text.endswith((".yaml", ".yml")):
        return _read_file(Path(text), random_start=random_start)
    if "=" in text:
        return parse_line(expand_traces(text, _reader(Path()), random_start=random_start))
    if text not in names():
        raise ConfigurationError(
            f"'{text}' is not a scenario: choose one of {', '.join(names())}, "
            "or give a YAML file or a line such as rtt=400ms"
        )
    return _read_file(_FOLDER / f"{text}.yaml", random_start=random_start)


def load_trace(path: Path, *, rtt: float, slot: float) -> Scenario:
    """Return the scenario that replays the losses of a trace, each session from another place of it.

    Args:
        path: A loss trace or a Mahimahi trace.
        rtt: Round-trip time in seconds.
        slot: Length of a slot in seconds.

    Raises:
        ConfigurationError: The file is unusable; the message names it and the line.
    """
    losses = read_trace(_reader(Path())(str(path)), name=str(path), slot=slot, start=True)
    return Scenario(rtt=rtt, loss_down=losses)


def _read_file(path: Path, *, random_start: bool) -> Scenario:
    try:
        values = yaml.load(_read_text(path), _Loader)  # noqa: S506 - a loader of texts, and nothing else
    except OSError as error:
        raise ConfigurationError(f"cannot read the scenario {path}: {error.strerror}") from None
    except RecursionError:
        raise ConfigurationError(
            f"the scenario {path} is nested too deeply: it has keys such as rtt, each with a text"
        ) from None
    except ConfigurationError as error:
        raise ConfigurationError(f"the scenario {path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"the scenario {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"the scenario {path} is not a YAML mapping with keys such as rtt and loss")
    read = _reader(path.parent)
    losses = {
        key: expand_traces(values[key], read, random_start=random_start)
        for key in _LOSSES
        if isinstance(values.get(key), str)
    }
    return from_mapping(values | losses, name=path.stem)


def _reader(folder: Path) -> Callable[[str], str]:
    """Return what reads the trace files of a scenario, whose names count from a folder."""

    def read(name: str) -> str:
        try:
            return _read_text(folder / name)
        except OSError as error:
            raise ConfigurationError(f"cannot read the trace {folder / name}: {error.strerror}") from None
        except ValueError as error:  # no UTF-8, or a name that cannot be one
            raise ConfigurationError(f"cannot read the trace {folder / name}: {error}") from None

    return read


def _read_text(path: Path) -> str:
    """Read a file, of which no more than so many bytes are taken into memory: a device has no end."""
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST >> 20} MiB")
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
