"""The summary of a run: its figures, left beside its logs as JSON and as Markdown."""

from dataclasses import asdict
from pathlib import Path

from eloquent.records.run_directory import RunDirectory, write_json, write_whole
from eloquent.report.figures import Summary, compute
from eloquent.report.table import markdown


def summarise(run_dir: Path) -> Summary:
    """Compute the figures of a run and write its `summary.json` and `summary.md`.

    Args:
        run_dir: The run's directory, with a manifest.

    Returns:
        The figures; those that were not measured are None.

    Raises:
        ConfigurationError: The directory holds no run, or a log cannot be read.
    """
    summary = compute(RunDirectory(run_dir))
    write_summary(run_dir, summary)
    return summary


def write_summary(run_dir: Path, summary: Summary) -> None:
    """Write `summary.json` and `summary.md`, which repeats the warnings of the manifest.

    Args:
        run_dir: The run's directory, with a manifest.
        summary: Its figures.

    Raises:
        ConfigurationError: The directory holds no run.
    """
    manifest = RunDirectory(run_dir).read_manifest()
    warnings = (manifest.model_extra or {}).get("warnings", [])
    write_json(run_dir / "summary.json", to_json(summary))
    write_whole(run_dir / "summary.md", markdown(summary, title=f"Run {manifest.run}", warnings=warnings))


def to_json(summary: Summary) -> dict[str, object]:
    """Return the content of `summary.json` (docs/measures.md names each key)."""
    return {
        "schemes": {name: asdict(figures) for name, figures in summary.schemes.items()},
        "rounds": summary.rounds,
        "loss_rate": summary.loss_rate,
        "scheduled_loss_rate": summary.scheduled_loss_rate,
        "load_lag_p99_s": summary.load_lag_p99_s,
        "node_lag_p99_s": summary.node_lag_p99_s,
        "concurrency": None if summary.concurrency is None else asdict(summary.concurrency),
    }
