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


# Returns what an engine says at this address, with this key, in at most so many bytes; None if
# it does not.
Read = Callable[[str, Secret, int], Awaitable[str | None]]


def has_metrics(flags: Iterable[str]) -> bool:
    """Whether an engine with these flags has metrics. SGLang takes underscores for dashes."""
    return any(flag.replace("_", "-") == _FLAG for flag in flags)


class EngineMetrics:
    """`targets` names the engines to ask, and `read` asks one."""

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
        # A megabyte takes most of a second to parse, which requests would wait for.
        return await asyncio.to_thread(lambda: list(merged(said)))

    async def _ask(self, one: ScrapedEngine) -> str | None:
        return await self._read(f"{one.url}/metrics", one.key, LARGEST)


def _text_of(task: asyncio.Future[str | None]) -> str | None:
    if task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def merged(texts: Iterable[tuple[str, str]]) -> Iterator[Metric]:
    """The families of several engines as one of each name. Text that is none is left out."""
    families: dict[str, Metric] = {}
    for label, text in texts:
        try:
            found = list(text_string_to_metric_families(text))
        except (ValueError, LookupError):  # the parser's, where a line breaks off
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
