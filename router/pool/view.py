"""Read-only queries about the pool's engines."""

from __future__ import annotations

from router.clock import Clock
from router.models import EngineKey, EngineSpec
from router.pool.executor import Executor
from router.pool.interfaces import Engine
from router.pool.status import Known, PoolStatus
from router.scheduler.forecast import NO_DOWNLOAD, Download, Forecast
from router.scheduler.lifecycle import State
from router.scheduler.machine import Scheduler


class PoolView:
    """Created by `EnginePool`. Combines what the scheduler and the executor know."""

    def __init__(self, scheduler: Scheduler, executor: Executor, clock: Clock) -> None:
        self._scheduler, self._executor, self._clock = scheduler, executor, clock

    def running(self, repo_id: str) -> set[str]:
        """The commits of a repository for which an engine runs or starts."""
        return {
            slot.key.commit
            for slot in self._scheduler.in_states(State.STARTING, State.READY, State.DRAINING)
            if slot.key.repo_id == repo_id
        }

    def unused_for(self) -> dict[EngineKey, float]:
        """For each known model, the seconds since a request held it or waited for it; 0 if one
        does now."""
        now = self._clock()
        return {
            slot.key: 0.0 if slot.leases or slot.queue else now - slot.last_used
            for slot in self._scheduler.slots.values()
        }

    def in_use(self) -> set[tuple[str, str]]:
        """The repositories and commits whose files an engine, a download or a request needs."""
        return {
            (key.repo_id, key.commit)
            for key, slot in self._scheduler.slots.items()
            if slot.queue or slot.state not in (State.COLD, State.FETCHED)
        }

    def loaded(self) -> list[EngineSpec]:
        """The ready models, in the order of their first requests."""
        return [s.spec for s in self._scheduler.slots.values() if s.state is State.READY]

    def context_length(self, key: EngineKey) -> int | None:
        """The maximum tokens of a request to the engine; None if it is not ready or unknown."""
        slot = self._scheduler.slots.get(key)
        engine = self._executor.engines.get(slot.generation) if slot else None
        return engine.context_length if engine else None

    def forecast(self, key: EngineKey) -> tuple[Forecast, Download]:
        """What the requests for this engine wait for and how long, and its download's
        progress."""
        slot = self._scheduler.slots.get(key)
        fetches = slot is not None and slot.state is State.FETCHING
        download = self._executor.progress.of(slot.attempt) if slot and fetches else NO_DOWNLOAD
        return self._scheduler.forecast(key, self._clock(), download), download

    def report(self) -> PoolStatus:
        """The state of every engine, for the operator."""
        now, executor = self._clock(), self._executor
        report = self._scheduler.report(now, executor.progress.of)
        engines = executor.engines
        return PoolStatus(
            report,
            measured=executor.devices.held(),
            context_lengths={n: one.context_length for n, one in engines.items()},
            phases={n: one.phases for n, one in engines.items()},
        )

    @property
    def downloaded(self) -> int:
        """Bytes of models that were downloaded so far."""
        return self._executor.progress.downloaded

    def ready(self) -> list[tuple[EngineSpec, Engine]]:
        """The engines that take requests."""
        engines = self._executor.engines
        return [
            (slot.spec, engines[slot.generation])
            for slot in self._scheduler.slots.values()
            if slot.state is State.READY and slot.generation in engines
        ]

    def known(self) -> list[Known]:
        """The operator's models that were requested, loaded or not."""
        return [
            Known(slot.spec, slot.state, bool(slot.queue))
            for slot in self._scheduler.slots.values()
            if slot.spec.listed
        ]
