"""Fuzz the targets with atheris (libFuzzer): `make fuzz SECONDS=…`, or with names, some of them.

Every target runs in a process of its own, as many at once as there are processors. What libFuzzer finds interesting is kept in
`.build/fuzz`. A fault, a hang or a process that grows is exit status 1, and the input that shows it is left there, which
`--input FILE` runs again.
"""

import argparse
import importlib
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(__file__).parents[2] / ".build" / "fuzz"
INSTRUMENTED = [
    "eloquent.calls",
    "eloquent.http3",
    "eloquent.nodes.token_server",
    "eloquent.protocol",
    "eloquent.relay",
]
OPTIONS = (
    "-max_len=4096",  # bytes of an input
    "-timeout=5",  # seconds for one, beyond which it counts as a hang
    "-rss_limit_mb=400",  # of which 90 are what is imported
    "-print_final_stats=1",
)


@dataclass(frozen=True)
class Verdict:
    """What became of a target.

    Attributes:
        name: Of the target.
        status: Exit status of its process; 0 if there is no fault.
        seconds: How long it ran.
        log: What libFuzzer said.
    """

    name: str
    status: int
    seconds: float
    log: str

    def number(self, pattern: str) -> int:
        """Return the last number that the log tells so, or 0."""
        found = re.findall(pattern, self.log)
        return int(found[-1]) if found else 0

    def __str__(self) -> str:
        inputs = self.number(r"number_of_executed_units:\s+(\d+)")
        edges, memory = self.number(r"\scov: (\d+)"), self.number(r"peak_rss_mb:\s+(\d+)")
        return f"{self.name:14}{inputs:12,}{self.seconds:9.0f}{edges:7}{memory:6}"


def names() -> list[str]:
    """Return the names of the targets, each of which has a corpus."""
    return sorted(path.stem for path in CORPUS.glob("*.hex"))


def fuzz(chosen: list[str], limits: list[str], found: Path) -> Iterator[Verdict]:
    """Run targets, and yield what becomes of them.

    Args:
        chosen: Their names.
        limits: The options of libFuzzer that say how long.
        found: Where what it finds is kept.
    """
    import atheris

    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("targets").TARGETS
    waiting, running = list(chosen), {}
    while waiting or running:
        while waiting and len(running) < len(os.sched_getaffinity(0)):
            name = waiting.pop(0)
            options = [*OPTIONS, *limits, f"-artifact_prefix={found / name}/", *_corpus(name, found)]
            if not (child := os.fork()):
                log = os.open(found / name / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(log, sys.stdout.fileno())
                os.dup2(log, sys.stderr.fileno())
                atheris.Setup([sys.argv[0], *options], targets[name])
                atheris.Fuzz()  # and end
            running[child] = name, time.monotonic()
        child, status = os.wait()
        name, began = running.pop(child)
        log = (found / name / "log").read_text(errors="replace")
        yield Verdict(name, os.waitstatus_to_exitcode(status), time.monotonic() - began, log)


def _corpus(name: str, found: Path) -> tuple[str, str]:
    """Return the folders of a target's inputs: where new ones are kept, and those that are committed."""
    kept, seeds = found / name / "kept", found / name / "seeds"
    for folder in (kept, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate((CORPUS / f"{name}.hex").read_text().splitlines()):
        (seeds / f"{number}").write_bytes(bytes.fromhex(line))
    return str(kept), str(seeds)


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TARGET", help=f"of {', '.join(names())}; all by default")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=int, default=60, help="for each target")
    how_long.add_argument("--inputs", type=int, help="for each target, the same ones each time")
    how_long.add_argument("--input", type=Path, metavar="FILE", help="run one target on this alone, without atheris")
    parser.add_argument("--found", type=Path, default=FOUND, metavar="FOLDER", help="where what is found is kept")
    asked = parser.parse_args()
    if unknown := set(asked.names) - {*names()}:
        parser.error(f"no target {', '.join(sorted(unknown))}: choose from {', '.join(names())}")
    if asked.input is not None:
        importlib.import_module("targets").TARGETS[asked.names[0]](asked.input.read_bytes())
        return 0
    limits = [f"-max_total_time={asked.seconds}"] if asked.inputs is None else [f"-runs={asked.inputs}", "-seed=1"]
    faults = []
    print(f"{'target':14}{'inputs':>12}{'seconds':>9}{'edges':>7}{'MiB':>6}", flush=True)
    for verdict in fuzz(asked.names or names(), limits, asked.found):
        print(verdict, flush=True)
        if verdict.status:
            faults.append(verdict)
    for verdict in faults:
        print(f"\n{verdict.name} is at fault:\n{verdict.log[-4000:]}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
