"""Gauges of the whole worker at the moment of a scrape: its condition, its disk."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from router.admin.state import WorkerFacts
from router.downloads.disk import DiskUsage


def worker_gauges(facts: WorkerFacts, disk: DiskUsage | None) -> Iterator[Metric]:
    """`disk` is None if unknown."""
    yield from condition(
        ready=facts.ready,
        leaving=facts.leaving,
        hub_silent=facts.hub_unavailable_since is not None,
    )
    yield GaugeMetricFamily(
        "router_queue_limit", "Requests that may wait.", value=facts.max_queue
    )
    yield _disk(disk)


def condition(*, ready: bool, leaving: bool, hub_silent: bool) -> Iterator[Metric]:
    """The condition of a worker, or of an ingress in front of several workers."""
    for name, text, value in (
        ("router_worker_ready", "1: the models to preload are up.", ready),
        ("router_worker_leaving", "1: no more requests are taken.", leaving),
        ("router_hub_unavailable", "1: the Hub can't be asked.", hub_silent),
    ):
        yield GaugeMetricFamily(name, text, value=value)


def _disk(usage: DiskUsage | None) -> Metric:
    family = GaugeMetricFamily(
        "router_disk_bytes",
        "The download directory: used by models, their budget, free, and kept free.",
        labels=("kind",),
    )
    if usage is not None:
        values = {
            "used": usage.used,
            "budget": usage.budget,
            "free": usage.free,
            "reserve": usage.reserve,
        }
        for kind, value in values.items():
            if value is not None:
                family.add_metric((kind,), value)
    return family
