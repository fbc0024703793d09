"""What holds for the whole worker at the moment of a scrape: its condition, its disk."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from router.admin.state import WorkerFacts
from router.downloads.disk import DiskUsage


class WorkerGauges:
    """Implements `prometheus_client`'s `Collector`, for one scrape. `disk`: None: not known."""

    def __init__(self, facts: WorkerFacts, disk: DiskUsage | None) -> None:
        self._facts, self._disk = facts, disk

    def collect(self) -> Iterator[Metric]:
        facts = self._facts
        for name, text, value in (
            ("router_worker_ready", "1: the models to preload are up.", facts.ready),
            ("router_worker_leaving", "1: no more requests are taken.", facts.leaving),
            ("router_queue_limit", "Requests that may wait.", facts.max_queue),
            (
                "router_hub_unavailable",
                "1: the Hub can't be asked.",
                facts.hub_unavailable_since is not None,
            ),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        yield _disk(self._disk)


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
