"""Writes all metrics in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from router.admin.engine_metrics import EngineMetrics


class Exposition:
    """Implements `router.http.metrics_routes.Scraped`. `versions`: of what runs here."""

    def __init__(
        self,
        collectors: Iterable[Collector],
        engines: EngineMetrics,
        versions: dict[str, str],
    ) -> None:
        self._engines = engines
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        for collector in (*collectors, _Versions(versions)):
            self._registry.register(collector)

    async def text(self) -> bytes:
        """The metrics now, with those of the engines that have some."""
        engines = await self._engines.read()
        own: bytes = generate_latest(self._registry)
        if not engines:
            return own
        theirs = CollectorRegistry(auto_describe=False)
        theirs.register(_Given(engines))
        return own + generate_latest(theirs)


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
