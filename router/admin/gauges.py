"""Gauges of the pool at the moment of a scrape: engines, memory, queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from router.pool.status import PoolStatus
from router.scheduler.lifecycle import State
from router.scheduler.report import EngineReport


class PoolGauges:
    """Implements `prometheus_client`'s `Collector`. `label` returns a model's label."""

    def __init__(
        self,
        status: Callable[[], PoolStatus],
        downloaded: Callable[[], int],
        label: Callable[[str], str],
    ) -> None:
        """`downloaded` returns the bytes downloaded so far."""
        self._status, self._downloaded, self._label = status, downloaded, label

    def collect(self) -> list[Metric]:
        """A snapshot of the values, which a thread may read later."""
        return list(self._families())

    def _families(self) -> Iterator[Metric]:
        status = self._status()
        report = status.report
        yield from self._engines(status)
        yield from _devices(status)
        yield _gauge("router_engines_loaded", "Engines with memory.", report.loaded)
        yield _gauge("router_requests_waiting", "Requests without an engine.", report.waiting)
        yield CounterMetricFamily(
            "router_downloaded_bytes", "Bytes of models from the Hub.", value=self._downloaded()
        )

    def _engines(self, status: PoolStatus) -> Iterator[Metric]:
        engines = status.report.engines
        states = GaugeMetricFamily("router_models", "Models by state.", labels=("state",))
        found = Counter(one.state for one in engines)
        for state in State:
            states.add_metric((state.value.replace(" ", "_"),), found[state])
        yield states
        kinds = {
            "claim": lambda one: one.claim * len(one.devices),
            "held": lambda one: one.held * len(one.devices),
            "measured": lambda one: status.measured.get(one.generation, 0),
        }
        memory = GaugeMetricFamily(
            "router_engine_memory_bytes",
            "Device memory of a model's engines: set aside, counted, and measured.",
            labels=("model", "kind"),
        )
        for kind, of in kinds.items():
            for model, value in self._by_model(engines, of).items():
                memory.add_metric((model, kind), value)
        yield memory
        phases = GaugeMetricFamily(
            "router_engine_start_phase_seconds",
            "Duration of each phase of the running engine's start, as the engine reports it.",
            labels=("model", "phase"),
        )
        for (model, phase), seconds in self._phases(status).items():
            phases.add_metric((model, phase), seconds)
        yield phases
        failures = GaugeMetricFamily(
            "router_model_failures",
            "Consecutive failures of downloads, starts and engines.",
            labels=("model",),
        )
        for model, value in self._failures(engines).items():
            failures.add_metric((model,), value)
        yield failures
        for name, text, of in (
            ("router_model_in_flight", "Requests in flight.", _in_flight),
            ("router_model_waiting", "Requests that wait.", _waiting),
        ):
            family = GaugeMetricFamily(name, text, labels=("model",))
            for model, value in self._by_model(engines, of).items():
                family.add_metric((model,), value)
            yield family

    def _phases(self, status: PoolStatus) -> dict[tuple[str, str], float]:
        """Seconds by model and phase; of several engines of a model, the slowest counts."""
        found: dict[tuple[str, str], float] = {}
        for one in status.report.engines:
            for phase, seconds in status.phases.get(one.generation, {}).items():
                at = self._label(one.key.repo_id), phase
                found[at] = max(found.get(at, 0.0), seconds)
        return found

    def _failures(self, engines: tuple[EngineReport, ...]) -> dict[str, int]:
        """Failures by model; of several engines of a model, the worst counts."""
        found: dict[str, int] = {}
        for one in engines:
            if one.failures:
                model = self._label(one.key.repo_id)
                found[model] = max(found.get(model, 0), one.failures)
        return found

    def _by_model(
        self, engines: tuple[EngineReport, ...], of: Callable[[EngineReport], int]
    ) -> Counter[str]:
        found: Counter[str] = Counter()
        for one in engines:
            if one.devices or one.waiting.requests:
                found[self._label(one.key.repo_id)] += of(one)
        return found


def _in_flight(one: EngineReport) -> int:
    return one.in_flight.requests


def _waiting(one: EngineReport) -> int:
    return one.waiting.requests


def _devices(status: PoolStatus) -> Iterator[Metric]:
    memory = GaugeMetricFamily(
        "router_device_memory_bytes",
        "Each device: the budget of engines, what they hold, what is missing, what was free.",
        labels=("device", "kind"),
    )
    for one in status.report.devices:
        values = {
            "budget": one.budget,
            "held": one.held,
            "standby": one.standby,
            "missing": one.written_off,
            "free": one.free,
        }
        for kind, value in values.items():
            if value is not None:
                memory.add_metric((str(one.index), kind), value)
    yield memory


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
