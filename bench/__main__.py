"""Measure what relays, protocol, wire, simulator and lab cost, side by side: `.venv/bin/python -m bench --help`, or `make bench`.

The medians of several rounds are printed as tables, beside those that were committed last (`bench/baseline.json`), and written
to `bench.md` and `bench.json`.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import protocol, relays, simulator, start, wire
from bench.tables import Rows, Table, medians, render
from eloquent import core

BASELINE = Path(__file__).with_name("baseline.json")


@dataclass(frozen=True)
class Part:
    """A part of the measurement.

    Attributes:
        table: How it is shown.
        measure: Makes one round.
        obstacle: Says why this machine cannot measure it, or None.
    """

    table: Table
    measure: Callable[[], Rows]
    obstacle: Callable[[], str | None] = lambda: None


def parts_of(asked: argparse.Namespace) -> dict[str, Part]:
    """Return the parts that were asked for, by name."""
    load = relays.Load(asked.rate, asked.message, asked.scheme)
    ways = [name for name in relays.WAYS if asked.ways in name]
    trees: dict[str, Path | None] = {"": None}
    if asked.beside is not None:
        trees[" (beside)"] = asked.beside.resolve()
    parts = {
        "relays": Part(
            relays.TABLE, lambda: relays.measure_ways(ways, load, asked.streams, asked.seconds, trees=trees)
        ),
        "protocol": Part(protocol.TABLE, protocol.measure),
        "wire": Part(wire.TABLE, lambda: wire.measure(asked.frames), wire.obstacle),
        "simulator": Part(simulator.TABLE, simulator.measure),
    }
    if asked.hosts:
        parts["start"] = Part(start.TABLE, lambda: start.measure(asked.hosts), start.obstacle)
    if unknown := {*asked.parts} - {*parts}:
        raise SystemExit(f"there is no part {', '.join(unknown)}: {', '.join(parts)} (start needs --hosts)")
    return {name: part for name, part in parts.items() if name in (asked.parts or parts)}


def machine() -> dict[str, Any]:
    """Return where and when it was measured."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "day": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processors": f"{len(names)} × {names[0].partition(':')[2].strip()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "core": core.kind(),
    }


def measure(parts: dict[str, Part], rounds: int) -> Iterator[tuple[str, Rows]]:
    """Yield the name of each part and its medians."""
    for name, part in parts.items():
        if (obstacle := part.obstacle()) is not None:
            print(f"{name} is left out: {obstacle}")
        else:
            yield name, medians(part.measure() for _ in range(rounds))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--parts", type=_names, default=(), help="of relays, protocol, wire, simulator, start; all without this"
    )
    parser.add_argument("--rounds", type=int, default=3, help="whose medians are told")
    parser.add_argument("--streams", type=_numbers, default=relays.STREAMS, help="at once, through relays")
    parser.add_argument("--seconds", type=float, default=relays.SECONDS, help="that count, of each number of streams")
    parser.add_argument("--rate", type=float, default=relays.RATE, help="tokens a second of each stream")
    parser.add_argument(
        "--message", choices=("event", "token"), default="event", help="one of OpenAI's, or of the lab's own"
    )
    parser.add_argument("--scheme", default=relays.SCHEME, help="that carries tokens between relays")
    parser.add_argument(
        "--ways", default="", help="only ways of carrying tokens in whose names this is, such as 'sealed'"
    )
    parser.add_argument("--beside", type=Path, help="a checkout that is measured by turns with this one")
    parser.add_argument("--frames", type=_numbers, default=wire.OFFERED, help="a second, offered to the wire")
    parser.add_argument("--hosts", type=_numbers, default=(), help="clients of labs that are started, such as 8,50,200")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for bench.md and bench.json")
    asked = parser.parse_args()
    committed: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    found: dict[str, Any] = {"machine": {**machine(), "rounds": asked.rounds}}
    text = [f"# Benchmark\n\n{', '.join(map(str, found['machine'].values()))} rounds\n"]
    for name, rows in measure(parts := parts_of(asked), asked.rounds):
        found[name] = {case: {key: round(value, 4) for key, value in row.items()} for case, row in rows.items()}
        text.append(render(parts[name].table, rows, committed.get(name, {})))
        print(text[-1], flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "bench.md").write_text("\n".join(text))
    (asked.out / "bench.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _numbers(text: str) -> Sequence[int]:
    return tuple(map(int, text.split(",")))


def _names(text: str) -> Sequence[str]:
    return tuple(text.split(","))


if __name__ == "__main__":
    main()
