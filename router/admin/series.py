"""Counters and histograms that cost a dictionary's look-up, and forget no count.

`prometheus_client` only writes them out: its own take a lock for each increment, and a series
that is removed takes its count along.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

OTHER = "other"
MODELS = 200  # that have series of their own

Labels = tuple[str, ...]


class Counts:
    """One counter, by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self._name, self._text, self.labels = name, text, tuple(labels)
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + amount

    def rename(self, change: Callable[[Labels], Labels]) -> None:
        """Move each count to the labels that `change` gives, and add up what meets there."""
        values, self._values = self._values, {}
        for labels, value in values.items():
            self.add(change(labels), value)

    def families(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._text, labels=self.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Times:
    """One histogram of seconds, by labels. `bounds`: of its buckets, without the last one."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name, self._text, self.labels = name, text, tuple(labels)
        self._bounds = tuple(bounds)
        # By bucket, not added up; and in the last place the sum, so that one look-up finds all.
        self._values: dict[Labels, list[float]] = {}

    def add(self, labels: Labels, seconds: float) -> None:
        values = self._values.get(labels)
        if values is None:
            values = self._values[labels] = [0] * (len(self._bounds) + 2)
        values[bisect_left(self._bounds, seconds)] += 1
        values[-1] += seconds

    def rename(self, change: Callable[[Labels], Labels]) -> None:
        """As `Counts.rename`."""
        before, self._values = self._values, {}
        for labels, values in before.items():
            new = change(labels)
            known = self._values.setdefault(new, [0] * len(values))
            self._values[new] = [a + b for a, b in zip(known, values, strict=True)]

    def families(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self.labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for labels, values in self._values.items():
            buckets = list(zip(bounds, accumulate(values[:-1]), strict=True))
            family.add_metric(labels, buckets, values[-1])
        yield family


class ModelLabels:
    """The models that have series of their own: the operator's, and the latest others. Their
    number is bounded, because callers choose them; all others are one, `other`."""

    def __init__(self, dropped: Callable[[str], None], most: int = MODELS) -> None:
        """`dropped` is called with each model that loses its series."""
        self._dropped, self._most = dropped, most
        self._names: OrderedDict[str, None] = OrderedDict()
        self._operators: frozenset[str] = frozenset()  # in lower case

    def name_operators(self, models: Iterable[str]) -> None:
        """These have series of their own from now on, however many others there are."""
        self._operators = frozenset(map(str.lower, models))

    def of(self, model: str) -> str:
        """The label of a model that is used now. "" is no model."""
        if not model:
            return model
        if model in self._names:
            self._names.move_to_end(model)
            return model
        if model.lower() in self._operators:
            return model
        self._names[model] = None
        if len(self._names) > self._most:
            oldest, _ = self._names.popitem(last=False)
            if oldest.lower() not in self._operators:
                self._dropped(oldest)
        return model

    def known(self, model: str) -> str:
        """The label of a model, without calling it used."""
        known = model in self._names or model.lower() in self._operators
        return model if known else OTHER
