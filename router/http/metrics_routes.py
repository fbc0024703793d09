"""`/metrics`, for the operator."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from router.http.answers import READ, method_not_allowed
from router.http.connection import HEADERS_KEY

PATH = "/metrics"
_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Scraped(Protocol):
    async def text(self) -> bytes:
        """All metrics, in Prometheus's text format."""
        ...


class MetricsRoutes:
    """Implements `OperatorRoutes`."""

    label = PATH
    shows_data = True

    def __init__(self, metrics: Scraped) -> None:
        self._metrics = metrics

    def has(self, path: str) -> bool:
        return path == PATH

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        response = web.Response(body=await self._metrics.text(), headers=request[HEADERS_KEY])
        response.headers.update({"Content-Type": _FORMAT, "Cache-Control": "no-store"})
        return response
