"""The scenarios that come with the project, and the one way to read any other."""

from collections.abc import Callable
from pathlib import Path

import yaml

from eloquent.channel.scenario import Scenario, from_mapping, parse_line
from eloquent.channel.trace_files import expand_traces
from eloquent.errors import ConfigurationError

_FOLDER = Path(__file__).parent
_LOSSES = ("loss", "loss_up")  # the keys that may name the file of a trace


def names() -> list[str]:
    """Return the names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(text: str | Path) -> Scenario:
    """Return the scenario that the user means.

    Args:
        text: The name of a shipped scenario, the path of a YAML file (`.yaml`, `.yml`), or a line such as `rtt=400ms`.

    Raises:
        ConfigurationError: There is no such scenario or file, or its content is unusable.
    """
    if isinstance(text, Path) or text.endswith((".yaml", ".yml")):
        return _read_file(Path(text))
    if "=" in text:
        return parse_line(expand_traces(text, _reader(Path())))
    if text not in names():
        raise ConfigurationError(
            f"'{text}' is not a scenario: choose one of {', '.join(names())}, "
            "or give a YAML file or a line such as rtt=400ms"
        )
    return _read_file(_FOLDER / f"{text}.yaml")


def _read_file(path: Path) -> Scenario:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the scenario {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the scenario {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"the scenario {path} is not a YAML mapping with keys such as rtt and loss")
    read = _reader(path.parent)
    losses = {key: expand_traces(values[key], read) for key in _LOSSES if isinstance(values.get(key), str)}
    return from_mapping(values | losses, name=path.stem)


def _reader(folder: Path) -> Callable[[str], str]:
    """Return what reads the trace files of a scenario, whose names count from a folder."""

    def read(name: str) -> str:
        try:
            return (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the trace {folder / name}: {error}") from None

    return read
