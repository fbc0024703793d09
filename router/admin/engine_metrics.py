"""Passes on the metrics of engines that were started with `--enable-metrics`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from router.secrets import Secret

WITHIN = 2.0  # seconds for all engines together
LARGEST = 1 << 20  # bytes of one engine's metrics
_FLAG = "--enable-metrics"
# The router's own families. Most other characters are written as an underscore.
_OWN = re.compile(r"(router|process)([^A-Za-z0-9:]|$)")


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
            found = list(_parsed(text, label))
        except (ValueError, LookupError, ArithmeticError):  # as the parser and `float` do
            continue
        for family in found:
            known = families.setdefault(family.name, family)
            if known is not family and known.type == family.type:
                known.samples += family.samples
    return iter(families.values())


def _parsed(text: str, label: str) -> Iterator[Metric]:
    for family in text_string_to_metric_families(text):
        if _OWN.match(family.name):
            continue
        family.samples = [_labelled(sample, label) for sample in family.samples]
        yield family


def _labelled(sample: Sample, label: str) -> Sample:
    """The sample as of now: a time of the engine's own could be one that can't be written."""
    return Sample(sample.name, {**sample.labels, "model": label}, float(sample.value))
