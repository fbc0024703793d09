from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from router.admin.exposition import Exposition

ODD = "caf\udce9"  # how Python reads a directory's name that is not UTF-8


class Models(Collector):
    """One gauge with a series for each model."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("router_models", "Models.", labels=["model"])
        for name in self._names:
            family.add_metric([name], 1)
        yield family


async def test_a_models_name_that_is_not_utf_8_hides_no_metric() -> None:
    text = await Exposition([Models(ODD, "org/a")], {"sglang": ODD}).text()
    labels = [
        dict(sample.labels)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    ]
    assert {"model": r"caf\udce9"} in labels
    assert {"model": "org/a"} in labels
    assert {"sglang": r"caf\udce9"} in labels
