"""Passes on the metrics of engines that were started with `--enable-metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from router.secrets import Secret

WITHIN = 2.0  # seconds for all engines together
LARGEST = 1 << 20  # bytes of one engine's metrics
_FLAG = "--enable-metrics"


@dataclass(frozen=True, slots=True)
class ScrapedEngine:
    """A ready engine. `label` names its model."""

    label: str
    url: str
    key: Secret  # the engine's own


# Takes a URL, the engine's key, and the most bytes to read. Returns the text, or None if there
# is no usable answer.
Read = Callable[[str, Secret, int], Awaitable[str | None]]


def has_metrics(flags: Iterable[str]) -> bool:
    """Whether these flags turn on metrics. SGLang accepts underscores for dashes."""
    return any(flag.replace("_", "-") == _FLAG for flag in flags)


class EngineMetrics:
    """Reads the metrics of the engines in `targets`, each with `read`."""

    def __init__(
        self, targets: Callable[[], Iterable[ScrapedEngine]], read: Read, within: float = WITHIN
    ) -> None:
        self._targets, self._read, self._within = targets, read, within

    async def read(self) -> list[Metric]:
        """The metrics of all engines that answer in time, each with its model as a label."""
        tasks = {asyncio.ensure_future(self._ask(one)): one for one in self._targets()}
        if not tasks:
            return []
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._within)
        finally:
            for task in tasks:
                task.cancel()
        texts = [(tasks[task].label, _text_of(task)) for task in done]
        said = [(label, text) for label, text in texts if text]
        # In a thread: a megabyte takes most of a second to parse, and requests would wait.
        return await asyncio.to_thread(lambda: list(merged(said)))

    async def _ask(self, one: ScrapedEngine) -> str | None:
        return await self._read(f"{one.url}/metrics", one.key, LARGEST)


def _text_of(task: asyncio.Future[str | None]) -> str | None:
    if task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def merged(texts: Iterable[tuple[str, str]]) -> Iterator[Metric]:
    """Merge the metric families of several engines by name. Skips text that is malformed."""
    families: dict[str, Metric] = {}
    for label, text in texts:
        try:
            found = list(text_string_to_metric_families(text))
        except (ValueError, LookupError):  # the parser raises these for a cut line
            continue
        for family in found:
            known = families.get(family.name)
            if known is None:
                known = Metric(family.name, family.documentation, family.type)
                families[family.name] = known
            elif known.type != family.type:
                continue
            known.samples += [_labelled(sample, label) for sample in family.samples]
    return iter(families.values())


def _labelled(sample: Sample, label: str) -> Sample:
    return sample._replace(labels={**sample.labels, "model": label})
