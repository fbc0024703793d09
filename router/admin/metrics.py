"""The worker's counters, for the operator's Prometheus; docs/observability.md lists them.

Requests, events of the pool and questions to the Hub are counted as they happen, which is
cheap. Gauges are read at each scrape (`router/admin/gauges.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from prometheus_client.core import Metric

from router.admin.series import Counts, ModelLabels, Times
from router.requests.record import OPERATOR, Record
from router.scheduler import actions, events
from router.scheduler.lifecycle import Cause

_MOMENTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WAITS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_EVICTIONS = {str(Cause.EVICTED), str(Cause.EXPIRED), str(Cause.DRAINED), str(Cause.SHUT_DOWN)}


class Metrics:
    """Counters and histograms. Implements `prometheus_client`'s `Collector`."""

    def __init__(self) -> None:
        self._models = ModelLabels(self._drop)
        self._requests = Counts(
            "router_requests",
            "Requests and jobs that have ended.",
            ("transport", "route", "model", "outcome"),
        )
        self._temperatures = Counts(
            "router_model_uses",
            "Requests that got an engine: it was up, slept, or had to start.",
            ("model", "temperature"),
        )
        self._queue = Times(
            "router_request_queue_seconds", "Waiting for room.", ("model",), _WAITS
        )
        self._load = Times(
            "router_request_load_seconds",
            "Waiting for the download, the start or the waking of the model.",
            ("model",),
            _WAITS,
        )
        self._first = Times(
            "router_request_first_byte_seconds",
            "From the request to the engine's first bytes.",
            ("model",),
            _MOMENTS,
        )
        self._total = Times(
            "router_request_seconds", "From the request to its end.", ("model",), _MOMENTS
        )
        self._tokens = Counts(
            "router_tokens", "Tokens, as engines count them.", ("model", "kind")
        )
        self._retries = Counts(
            "router_retries",
            "Requests that the router retried; the caller noticed nothing.",
            ("model",),
        )
        self._starts = Counts(
            "router_engine_starts", "Starts that have ended.", ("model", "outcome")
        )
        self._changes = Counts(
            "router_engine_sleeps",
            "Engines that fell asleep or woke.",
            ("model", "change"),
        )
        self._evictions = Counts(
            "router_evictions", "Engines that stopped, by reason.", ("model", "reason")
        )
        self._crashes = Counts("router_engine_crashes", "Engines that died.", ("model",))
        self._fetches = Counts(
            "router_downloads", "Downloads that have ended.", ("model", "outcome")
        )
        self._hub = Counts(
            "router_hub_requests", "Requests to the Hub.", ("question", "outcome")
        )
        self._hub_times = Times(
            "router_hub_request_seconds", "Requests to the Hub.", ("question",), _MOMENTS
        )
        self._counts = (
            self._requests,
            self._temperatures,
            self._tokens,
            self._retries,
            self._starts,
            self._changes,
            self._evictions,
            self._crashes,
            self._fetches,
            self._hub,
        )
        self._times = (self._queue, self._load, self._first, self._total, self._hub_times)

    def collect(self) -> Iterator[Metric]:
        """A snapshot of the values, which a thread may read later."""
        return chain.from_iterable(
            [series.families() for series in (*self._counts, *self._times)]
        )

    def name_operators(self, models: Iterable[str]) -> None:
        """Set the operator's models; they keep their own series from now on."""
        self._models.name_operators(models)

    def label(self, model: str) -> str:
        """The label of a model: its name, or `other`."""
        return self._models.known(model)

    def request(self, record: Record) -> None:
        """Count a request that has ended."""
        # An operator's command does not count as use of the model.
        model = self._models.of("" if record.caller == OPERATOR else record.model)
        self._requests.add((record.transport, record.route, model, record.outcome))
        if not model:
            return
        only = (model,)
        self._total.add(only, record.total or 0.0)
        if record.queue is not None:
            self._queue.add(only, record.queue)
        if record.load:
            self._load.add(only, record.load)
        if record.first is not None:
            self._first.add(only, record.first)
        if record.temperature:
            self._temperatures.add((model, record.temperature))
        if record.prompt_tokens:
            self._tokens.add((model, "prompt"), record.prompt_tokens)
        if record.completion_tokens:
            self._tokens.add((model, "completion"), record.completion_tokens)
        if record.attempts > 1:
            self._retries.add(only, record.attempts - 1)

    def pool(self, _now: float, event: events.Event, done: Sequence[actions.Action]) -> None:
        """Count an event of the pool and the actions that it caused."""
        self._event(event)
        for action in done:
            if type(action) is actions.Stop:
                self._stop(action)

    def hub(self, question: str, outcome: str, seconds: float) -> None:
        """Count a question to the Hub. `outcome` is `ok` or an error's code."""
        self._hub.add((question, outcome))
        self._hub_times.add((question,), seconds)

    def _event(self, event: events.Event) -> None:
        match event:
            case events.Healthy(key):
                self._starts.add((self._models.of(key.repo_id), "ok"))
            case events.StartFailed(key):
                self._starts.add((self._models.of(key.repo_id), _failure(event)))
            case events.Crashed(key):
                self._crashes.add((self._models.of(key.repo_id),))
            case events.Asleep(key):
                self._changes.add((self._models.of(key.repo_id), "asleep"))
            case events.Awake(key):
                self._changes.add((self._models.of(key.repo_id), "awake"))
            case events.Fetched(key):
                self._fetches.add((self._models.of(key.repo_id), "ok"))
            case events.FetchFailed(key, _, error):
                self._fetches.add((self._models.of(key.repo_id), error.code))
            case _:
                pass

    def _stop(self, action: actions.Stop) -> None:
        reason = action.why.partition(": ")[0]
        if reason in _EVICTIONS:
            self._evictions.add((self._models.of(action.key.repo_id), reason))

    def _drop(self, model: str) -> None:
        for series in (*self._counts, *self._times):
            series.drop(model)


def _failure(event: events.StartFailed) -> str:
    if event.out_of_memory:
        return "out_of_memory"
    return "unsupported" if event.unsupported else "failed"
