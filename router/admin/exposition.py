"""Writes all metrics in Prometheus's text format."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from router.admin.engine_metrics import EngineMetrics


class Exposition:
    """Implements `router.http.metrics_routes.Scraped`.

    `collectors`: their `collect` takes what it tells at once; what it returns may be read in a
    thread. `standing`: takes what has to be waited for. `versions`: of what runs here.
    """

    def __init__(
        self,
        collectors: Iterable[Collector],
        engines: EngineMetrics,
        standing: Callable[[], Awaitable[Collector]],
        versions: dict[str, str],
    ) -> None:
        self._engines, self._standing = engines, standing
        process = ProcessCollector(registry=None)
        self._collectors = (process, *collectors, _Versions(versions))

    async def text(self) -> bytes:
        """The metrics now, with those of the engines that have some."""
        engines, standing = await asyncio.gather(self._engines.read(), self._standing())
        taken = [one.collect() for one in (*self._collectors, standing)]
        # Series of 200 models take a tenth of a second, which requests would wait for.
        return await asyncio.to_thread(_text, chain(*taken, engines))


def _text(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(families))
    text: bytes = generate_latest(registry)
    return text


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Versions(Collector):
    def __init__(self, versions: dict[str, str]) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("router", "What runs here.", value=self._versions)
