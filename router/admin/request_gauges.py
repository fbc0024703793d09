"""Metrics of all requests at the moment of a scrape, for a worker or an ingress."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class RequestGauges:
    """Implements `prometheus_client`'s `Collector`."""

    def __init__(
        self, in_progress: Callable[[], int], admissions: Callable[[], tuple[int, int]]
    ) -> None:
        """`admissions` counts those by a remembered decision, and all others."""
        self._in_progress, self._admissions = in_progress, admissions

    def collect(self) -> list[Metric]:
        """A snapshot of the values, which a thread may read later."""
        running = GaugeMetricFamily(
            "router_requests_in_progress",
            "Requests that have not ended.",
            value=self._in_progress(),
        )
        admissions = CounterMetricFamily(
            "router_admissions",
            "Authorized requests, by whether a cached decision was used.",
            labels=("by",),
        )
        for by, count in zip(("memory", "decision"), self._admissions(), strict=True):
            admissions.add_metric((by,), count)
        return [running, admissions]
