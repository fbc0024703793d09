"""Counters and histograms that cost a dictionary lookup and never lose a count.

`prometheus_client` only formats them. Its own counters take a lock for each increment, and lose
the count of a series that is removed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

OTHER = "other"
MODELS = 200  # models with their own series, besides the operator's

Labels = tuple[str, ...]


class _ByModel:
    """Finds the labels of one model without a scan of all labels.

    If a caller asks for one new model after another, each request drops a model's series.
    """

    def __init__(self, names: Labels) -> None:
        self._at = names.index("model") if "model" in names else None
        self._known: dict[str, list[Labels]] = {}

    def note(self, labels: Labels) -> None:
        """Add new labels."""
        if self._at is not None:
            self._known.setdefault(labels[self._at], []).append(labels)

    def take(self, model: str) -> Iterator[tuple[Labels, Labels]]:
        """Remove the labels of a model; yield each with its labels for `OTHER`."""
        if self._at is not None and model != OTHER:
            for labels in self._known.pop(model, ()):
                yield labels, (*labels[: self._at], OTHER, *labels[self._at + 1 :])


class Counts:
    """One counter, by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self._name, self._text, self.labels = name, text, tuple(labels)
        self._values: dict[Labels, float] = {}
        self._models = _ByModel(self.labels)

    def add(self, labels: Labels, amount: float = 1) -> None:
        value = self._values.get(labels)
        if value is None:
            self._models.note(labels)
        self._values[labels] = (value or 0) + amount

    def drop(self, model: str) -> None:
        """Add the counts of a model to those of `OTHER`, and remove its series."""
        for labels, other in self._models.take(model):
            self.add(other, self._values.pop(labels))

    def families(self) -> Iterator[CounterMetricFamily]:
        """A snapshot of the values, which a thread may read later."""
        values = tuple(self._values.items())

        def written() -> Iterator[CounterMetricFamily]:
            family = CounterMetricFamily(self._name, self._text, labels=self.labels)
            for labels, value in values:
                family.add_metric(labels, value)
            yield family

        return written()


class Times:
    """One histogram of seconds, by labels. `bounds` are the buckets' upper bounds, but not the
    last one, +Inf."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name, self._text, self.labels = name, text, tuple(labels)
        self._bounds = tuple(bounds)
        # Counts by bucket, not cumulative; then the sum, so that one lookup finds everything.
        self._values: dict[Labels, list[float]] = {}
        self._models = _ByModel(self.labels)

    def add(self, labels: Labels, seconds: float) -> None:
        values = self._values.get(labels)
        if values is None:
            values = self._none_yet(labels)
        values[bisect_left(self._bounds, seconds)] += 1
        values[-1] += seconds

    def drop(self, model: str) -> None:
        """Like `Counts.drop`."""
        for labels, other in self._models.take(model):
            known = self._values.get(other) or self._none_yet(other)
            known[:] = map(add, known, self._values.pop(labels))

    def families(self) -> Iterator[HistogramMetricFamily]:
        """Like `Counts.families`."""
        kept = [(labels, tuple(values)) for labels, values in self._values.items()]

        def written() -> Iterator[HistogramMetricFamily]:
            family = HistogramMetricFamily(self._name, self._text, labels=self.labels)
            bounds = [*map(str, self._bounds), "+Inf"]
            for labels, values in kept:
                buckets = list(zip(bounds, accumulate(values[:-1]), strict=True))
                family.add_metric(labels, buckets, values[-1])
            yield family

        return written()

    def _none_yet(self, labels: Labels) -> list[float]:
        values: list[float] = [0] * (len(self._bounds) + 2)
        self._values[labels] = values
        self._models.note(labels)
        return values


class ModelLabels:
    """The models with their own series: the operator's, and the most recent others.

    The number of others is bounded, because callers choose them. The rest share the label
    `other`.
    """

    def __init__(self, dropped: Callable[[str], None], most: int = MODELS) -> None:
        """`dropped` is called with each model that loses its series."""
        self._dropped, self._most = dropped, most
        self._names: OrderedDict[str, None] = OrderedDict()
        self._operators: frozenset[str] = frozenset()  # in lower case
        self._listed: set[str] = set()  # labels of the operator's models in use

    def name_operators(self, models: Iterable[str]) -> None:
        """Set the operator's models, which always have their own series.

        A model that is no longer listed counts as one of the others.
        """
        self._operators = frozenset(map(str.lower, models))
        before, self._listed = self._listed, set()
        for model in sorted(before):
            self.of(model)

    def of(self, model: str) -> str:
        """The label of a model, which counts as used now. "" is no model."""
        if not model:
            return model
        if model in self._names:
            self._names.move_to_end(model)
            return model
        if model.lower() in self._operators:
            self._listed.add(model)
            return model
        self._names[model] = None
        if len(self._names) > self._most:
            oldest, _ = self._names.popitem(last=False)
            if oldest.lower() not in self._operators:
                self._dropped(oldest)
        return model

    def known(self, model: str) -> str:
        """The label of a model, without counting it as used."""
        known = model in self._names or model.lower() in self._operators
        return model if known else OTHER
