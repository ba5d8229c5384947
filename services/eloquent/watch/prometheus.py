"""Prometheus's HTTP interface, as far as watching needs it."""

import math
from dataclasses import dataclass
from typing import Any

import httpx

from eloquent.errors import EloquentError

TIMEOUT = 5.0  # seconds for an answer


class PrometheusError(EloquentError):
    """Prometheus does not answer, or refuses the query."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer.

    Attributes:
        labels: Its labels.
        points: Instants in seconds of Unix time, and values; None where it is not a number.
    """

    labels: dict[str, str]
    points: tuple[tuple[float, float | None], ...]

    @property
    def latest(self) -> float | None:
        """The latest value."""
        return self.points[-1][1] if self.points else None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that is pending or fires.

    Attributes:
        name: Its name.
        state: `pending` or `firing`.
        severity: `warning` or `critical`.
        summary: A sentence.
    """

    name: str
    state: str
    severity: str
    summary: str


class Prometheus:
    """A Prometheus, and the connections to it.

    Args:
        url: Such as `http://127.0.0.1:9090`.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def instant(self, expr: str, *, at: float | None = None) -> list[Series]:
        """Ask for the present value of each series.

        Args:
            expr: PromQL.
            at: Another instant, in seconds of Unix time.

        Raises:
            PrometheusError: It does not answer, or refuses.
        """
        when = {} if at is None else {"time": f"{at:.3f}"}
        data = await self._get("query", query=expr, **when)
        return [_series(one["metric"], [one["value"]]) for one in data["result"]]

    async def range(self, expr: str, *, start: float, end: float, step: float) -> list[Series]:
        """Ask for values over time.

        Args:
            expr: PromQL.
            start: Begin, in seconds of Unix time.
            end: End, included.
            step: Seconds between two values.

        Raises:
            PrometheusError: It does not answer, or refuses.
        """
        data = await self._get("query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step:g}")
        return [_series(one["metric"], one["values"]) for one in data["result"]]

    async def alerts(self) -> list[Alert]:
        """Ask for the alerts that are pending or fire.

        Raises:
            PrometheusError: It does not answer.
        """
        found = (await self._get("alerts"))["alerts"]
        return [
            Alert(
                name=one["labels"].get("alertname", ""),
                state=one["state"],
                severity=one["labels"].get("severity", ""),
                summary=one["annotations"].get("summary", ""),
            )
            for one in found
        ]

    async def _get(self, what: str, **words: str) -> dict[str, Any]:
        try:
            answer = await self._client.get(f"/api/v1/{what}", params=words)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise PrometheusError(f"Prometheus does not answer ({error or type(error).__name__})") from None
        if body.get("status") != "success":
            raise PrometheusError(f"Prometheus refuses: {body.get('error', answer.status_code)}")
        data: dict[str, Any] = body["data"]
        return data


def _series(labels: dict[str, str], values: list[list[Any]]) -> Series:
    return Series(labels, tuple((float(at), _number(value)) for at, value in values))


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
