"""How many concurrent streams a machine sustains: the load is stepped up until a step is not sustainable, then bisected.

A step is sustainable if nothing failed, the load workers' lag stayed within its bound (so no stall is the tester's own), as did
that of relays and servers, no packet was lost but by a link, and the links changed state in time while the processors had capacity
left (so no stall is the emulator's). A step that is not, while a hypervisor took the processors for somebody else, says nothing
about this machine and is repeated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LOSSES = ("socket_losses", "device_drops", "queue_drops")  # of the manifest, each by place
GROWTH = 2.0  # from step to step while all is well
ATTEMPTS = 3  # of a step that was disturbed
CLOSE = 1.2  # the search ends when the lowest unsustainable step is at most this many times the highest sustainable one


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a step must stay within to be sustainable.

    Attributes:
        lag_s: Largest 99th percentile of the lag of load workers, relays and servers, in seconds.
        lateness_s: Largest 99th percentile of the lateness of state changes, in seconds.
        stolen: Largest share of the processor time that a hypervisor may have taken, 0..1.
        processors: Most processors that the lab may have kept busy.
    """

    lag_s: float
    lateness_s: float
    stolen: float
    processors: float


@dataclass(frozen=True, slots=True)
class Step:
    """One load test of the search.

    Attributes:
        scheme: Name of the scheme.
        streams: Concurrent streams that were asked for.
        mean_streams: Concurrent streams that there were, on average.
        tokens_per_s: Tokens rendered in a second.
        lag_p99_s: 99th percentile of the load workers' lag in seconds; None where it was not measured.
        node_lag_p99_s: The same of relays and servers.
        lateness_p99_s: 99th percentile of the lateness of the links' state changes; None where there were none.
        failed: Sessions that failed.
        is_partial: Whether the test ended early.
        stall_ratio: The scheme's stall ratio.
        lost: Packets lost where no link has lost them.
        busiest: The process that used most processor time, and the share of a processor that it kept busy.
        processors: Processors that the whole lab kept busy.
        stolen: Share of the processor time that a hypervisor took, 0..1.
        bounds: What it must stay within.
    """

    scheme: str
    streams: int
    mean_streams: float
    tokens_per_s: float
    lag_p99_s: float | None
    node_lag_p99_s: float | None
    lateness_p99_s: float | None
    failed: int
    is_partial: bool
    stall_ratio: float | None
    lost: int
    busiest: tuple[str, float]
    processors: float
    stolen: float
    bounds: "Bounds"

    @property
    def refusals(self) -> list[str]:
        """Why the step is not sustainable; empty if it is."""
        found = []
        if self.is_partial:
            found.append("ended early")
        if self.failed:
            found.append(f"{self.failed} failed")
        if self.lag_p99_s is None or self.lag_p99_s > self.bounds.lag_s:
            found.append("lag" if self.lag_p99_s is None else f"lag {self.lag_p99_s * 1e3:.0f} ms")
        if self.node_lag_p99_s is not None and self.node_lag_p99_s > self.bounds.lag_s:
            found.append(f"relays lag {self.node_lag_p99_s * 1e3:.0f} ms")
        if self.lateness_p99_s is not None and self.lateness_p99_s > self.bounds.lateness_s:
            found.append(f"links late by {self.lateness_p99_s * 1e3:.1f} ms")
        if self.lost:
            found.append(f"{self.lost} packets lost in buffers and queues")
        if self.processors > self.bounds.processors:
            found.append("processors full")
        return found

    @property
    def was_disturbed(self) -> bool:
        """Whether the step may have failed because of somebody else's load."""
        return bool(self.refusals) and self.stolen > self.bounds.stolen

    @classmethod
    def read(
        cls, scheme: str, streams: int, summary: dict[str, Any], manifest: dict[str, Any], *, bounds: "Bounds"
    ) -> "Step":
        """Return the step that the files of a load test describe.

        Args:
            scheme: Name of the scheme.
            streams: Streams that were asked for.
            summary: `summary.json`.
            manifest: `manifest.json`.
            bounds: What it must stay within.
        """
        figures, used = summary["schemes"][scheme], manifest["processors_used"]
        going_on, lateness = summary["concurrency"], manifest["lateness"]
        return cls(
            scheme=scheme,
            streams=streams,
            mean_streams=going_on["mean"] if going_on else 0.0,
            tokens_per_s=going_on["tokens_per_s"] if going_on else 0.0,
            lag_p99_s=summary["load_lag_p99_s"],
            node_lag_p99_s=summary.get("node_lag_p99_s"),
            lateness_p99_s=lateness["p99_s"] if lateness else None,
            failed=figures["failed"],
            is_partial=manifest["partial"],
            stall_ratio=figures["stall_ratio"],
            lost=sum(sum(manifest.get(key, {}).values()) for key in LOSSES),
            busiest=next(iter(used.items()), ("nothing", 0.0)),
            processors=sum(used.values()),
            stolen=manifest["processor"]["stolen"],
            bounds=bounds,
        )


def search(run: Callable[[int], Step], *, first: int, most: int) -> Iterator[Step]:
    """Yield the steps of a search for the largest sustainable number of streams.

    Args:
        run: Runs a step with so many streams.
        first: Streams of the first step.
        most: Streams that are not exceeded.
    """
    sustainable, unsustainable, streams = 0, 0, min(first, most)
    while True:
        for _ in range(ATTEMPTS):
            step = run(streams)
            yield step
            if not step.was_disturbed:
                break
        if step.refusals:
            unsustainable = streams
        else:
            sustainable = streams
        if sustainable >= most or (unsustainable and (sustainable * CLOSE >= unsustainable or unsustainable <= 1)):
            return
        following = (
            round((sustainable + unsustainable) / 2) if unsustainable else min(most, round(sustainable * GROWTH))
        )
        if following in {sustainable, unsustainable}:
            return
        streams = following


def markdown(steps: Sequence[Step]) -> str:
    """Write the table of a search: each step, and for each scheme the most that was sustained.

    Args:
        steps: All steps, scheme by scheme.
    """
    lines = ["# Streams that this machine sustains", ""]
    for scheme in dict.fromkeys(step.scheme for step in steps):
        carried = [step for step in steps if step.scheme == scheme and not step.refusals]
        if carried:
            best = max(carried, key=lambda step: step.streams)
            role, share = best.busiest
            lines.append(
                f"- `{scheme}`: **{best.streams}** streams, {best.tokens_per_s:.0f} tokens a second;"
                f" the busiest process there is {role} ({share:.0%} of a processor, of {best.processors:.1f} in use)"
            )
        else:
            lines.append(f"- `{scheme}`: none of the steps")
    lines += [
        "",
        "| scheme | streams | open | tokens/s | lag ms | links late ms | failed | stall ratio | busiest | processors | stolen | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for step in steps:
        role, share = step.busiest
        cells = (
            step.scheme,
            str(step.streams),
            f"{step.mean_streams:.0f}",
            f"{step.tokens_per_s:.0f}",
            _milliseconds(step.lag_p99_s),
            _milliseconds(step.lateness_p99_s),
            str(step.failed),
            "-" if step.stall_ratio is None else f"{step.stall_ratio:.3f}",
            f"{role} {share:.0%}",
            f"{step.processors:.2f}",
            f"{step.stolen:.0%}",
            ", ".join(step.refusals) + " (disturbed)" * step.was_disturbed or "sustained",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"
