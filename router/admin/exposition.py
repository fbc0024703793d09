"""Writes all metrics in Prometheus's text format."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample


class Exposition:
    """Implements `router.http.metrics_routes.Scraped`.

    `collectors`: `collect` must take its values at once; a thread may read what it returns.
    `versions`: of the software that runs here. `awaited`: metrics that take time to read.
    """

    def __init__(
        self,
        collectors: Iterable[Collector],
        versions: dict[str, str],
        awaited: Sequence[Callable[[], Awaitable[Iterable[Metric]]]] = (),
    ) -> None:
        self._awaited = awaited
        process = ProcessCollector(registry=None)
        self._collectors = (process, *collectors, _Versions(versions))

    async def text(self) -> bytes:
        """The metrics now."""
        awaited = await asyncio.gather(*(one() for one in self._awaited))
        taken = [*(one.collect() for one in self._collectors), *awaited]
        # In a thread: the series of 200 models take a tenth of a second.
        return await asyncio.to_thread(_text, chain(*taken))


def _text(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(families))
    text: bytes = generate_latest(registry)
    return text


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            family.samples = [_sendable(sample) for sample in family.samples]
            yield family


def _sendable(sample: Sample) -> Sample:
    """The sample without lone surrogates, as in a directory's name that is not UTF-8.

    One of them would make the whole text impossible to encode.
    """
    if all(map(str.isascii, sample.labels.values())):
        return sample
    labels = {
        name: value.encode(errors="backslashreplace").decode()
        for name, value in sample.labels.items()
    }
    return sample._replace(labels=labels)


class _Versions(Collector):
    def __init__(self, versions: dict[str, str]) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("router", "What runs here.", value=self._versions)
