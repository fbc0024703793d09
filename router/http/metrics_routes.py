"""Metrics, for the operator."""

from __future__ import annotations

from typing import Protocol

from router.http.answers import READ, HttpAnswer, method_not_allowed
from router.http.http_request import HttpRequest

PATH = "/metrics"
_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Scraped(Protocol):
    async def text(self) -> bytes:
        """All metrics, in Prometheus's text format."""
        ...


class MetricsRoutes:
    """Implements `OperatorRoutes`."""

    shows_data = True

    def __init__(self, metrics: Scraped, path: str = PATH) -> None:
        self._metrics, self.label = metrics, path

    def has(self, path: str) -> bool:
        return path == self.label

    async def serve(self, request: HttpRequest) -> HttpAnswer:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        headers = {"Content-Type": _FORMAT, "Cache-Control": "no-store"}
        return HttpAnswer(200, headers, await self._metrics.text())
