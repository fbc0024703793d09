"""Builds the operator's side of a worker: state, commands, metrics and history."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from router import __version__
from router.access.authorize import Admission
from router.access.keyring import Keyring
from router.admin.admin import Admin
from router.admin.disk_meter import DiskMeter
from router.admin.engine_metrics import EngineMetrics, ScrapedEngine, has_metrics
from router.admin.exposition import Exposition
from router.admin.gauges import PoolGauges
from router.admin.last_hour import LastHour
from router.admin.loads import Loads
from router.admin.names import Names
from router.admin.past import Past
from router.admin.recent import RecentRequests
from router.admin.reload import Reload
from router.admin.state import StateWriter, WorkerFacts
from router.app.configuration import Configuration
from router.app.observers import Observers
from router.app.rights import Rights, repositories
from router.clock import WorkerClock
from router.downloads.disk import Disk
from router.downloads.offline import OfflineHub
from router.hub.client import HuggingFaceHub
from router.pool.pool import EnginePool
from router.requests.service import Service
from router.requests.upstream import HttpUpstream
from router.running import Run


@dataclass(frozen=True, slots=True)
class Basis:
    """The parts that all others use. `stack` closes their resources, in reverse order."""

    configuration: Configuration
    clock: WorkerClock
    stack: AsyncExitStack
    observers: Observers
    keys: Keyring


class OperatorParts:
    """Builds the operator's parts on top of the pool."""

    def __init__(self, basis: Basis) -> None:
        self._configuration, self._settings = basis.configuration, basis.configuration.settings
        self._clock, self._stack, self._observers = basis.clock, basis.stack, basis.observers
        self._keys = basis.keys
        self._rights = Rights(self._configuration, basis.keys, basis.observers)

    def exposition(
        self, pool: EnginePool, admission: Admission, upstream: HttpUpstream, admin: Admin
    ) -> Exposition:
        """The metrics."""
        metrics = self._observers.metrics
        metrics.name_operators(repositories(self._configuration.catalog))
        self._stack.enter_context(pool.watch(metrics.pool, usual=False))
        view = pool.view
        gauges = PoolGauges(view.report, lambda: view.downloaded, metrics.label)

        def targets() -> Iterator[ScrapedEngine]:
            for spec, engine in view.ready():
                if has_metrics(spec.flags):
                    label = metrics.label(spec.model.repo_id)
                    yield ScrapedEngine(label, engine.url, engine.port_key)

        versions = {"version": __version__, "sglang": self._configuration.sglang}
        engines = EngineMetrics(targets, upstream.get)
        collectors = (metrics, gauges, self._observers.request_gauges(admission))
        return Exposition(collectors, versions, (engines.read, admin.standing))

    def reconfigure(
        self,
        admission: Admission,
        service: Service,
        disk: Disk,
        hub: HuggingFaceHub | OfflineHub,
        read: Configuration,
    ) -> None:
        """Apply newly read models and keys."""
        self._rights.become(read, admission, hub)
        service.note_directories()
        disk.name_operators([one.ref for one in read.catalog.models if one.ref is not None])

    def operations(
        self,
        pool: EnginePool,
        service: Service,
        run: Run,
        disk: Disk,
        reload: Reload[Configuration],
    ) -> tuple[Admin, Past]:
        """The operator's view and commands, and the worker's past."""
        configuration, settings = self._configuration, self._settings
        started_at = time.time()

        def facts() -> WorkerFacts:
            health = service.health()
            return WorkerFacts(
                started_at,
                health.ready,
                health.leaving,
                max_queue=settings.max_queue,
                max_loaded=settings.max_loaded_models,
                hub_unavailable_since=self._observers.hub.unavailable_since,
            )

        names = Names(configuration.catalog)
        writer = StateWriter(names, self._observers.redact, self._keys.name_of_shown)
        recent = RecentRequests(self._observers.recorder.activity)
        admin = Admin(
            pool,
            names=names,
            writer=writer,
            disk=DiskMeter(disk.usage, self._clock),
            loads=Loads(service),
            facts=facts,
            leave=run.leave,
            reload=reload,
            recent=recent,
        )
        run.on_hangup = admin.hang_up
        self._stack.push_async_callback(admin.close)
        journal = LastHour()
        self._stack.enter_context(pool.watch(journal.tell, usual=False))
        log = self._observers.engine_log
        past = Past(
            journal, writer, recent, log, names=names, clock=self._clock, wall=time.time
        )
        return admin, past
