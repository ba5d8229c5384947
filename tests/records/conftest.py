"""The made-up run is that of the reports."""

from tests.report.conftest import run

__all__ = ["run"]
