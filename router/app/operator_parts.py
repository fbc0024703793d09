"""Builds what the operator sees of a worker, and steers it by."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
from router.admin.metrics import Metrics
from router.admin.names import Names
from router.admin.past import Past
from router.admin.recent import RecentRequests
from router.admin.reload import Reload
from router.admin.state import StateWriter, WorkerFacts
from router.app.configuration import Configuration
from router.clock import WorkerClock
from router.config.catalog import Catalog
from router.downloads.disk import Disk
from router.downloads.offline import OfflineHub
from router.hub.client import HuggingFaceHub
from router.hub.watch import HubWatch
from router.logs import Redactor
from router.pool.engine_log import EngineLog
from router.pool.pool import EnginePool
from router.requests.activity import Activity
from router.requests.record import Record
from router.requests.recorder import Observer, Recorder
from router.requests.service import Service
from router.requests.upstream import HttpUpstream
from router.running import Run

if TYPE_CHECKING:  # its packages are there only where it is used
    from router.traces.spans import Spans

_log = logging.getLogger("router")


class Witnesses:
    """What hears of all that happens, and tells the operator."""

    def __init__(self, redact: Redactor, hub: HubWatch, spans: Spans | None) -> None:
        self.redact, self.hub, self.spans = redact, hub, spans
        self.metrics, self.engine_log = Metrics(), EngineLog(redact)
        observers: list[Observer] = [self.metrics.request]
        new: Callable[..., Record] = Record
        if spans is not None:
            observers.append(spans.tell)
            new = spans.open
        self.recorder = Recorder(Activity(), observers, new=new, redact=redact)


@dataclass(frozen=True, slots=True)
class Basis:
    """What all parts stand on. `stack` closes what they hold, in reverse order."""

    configuration: Configuration
    clock: WorkerClock
    stack: AsyncExitStack
    witnesses: Witnesses
    keys: Keyring


class OperatorParts:
    """Builds them on top of the pool."""

    def __init__(self, basis: Basis) -> None:
        self._configuration, self._settings = basis.configuration, basis.configuration.settings
        self._clock, self._stack, self._witnesses = basis.clock, basis.stack, basis.witnesses
        self._keys = basis.keys
        self._tokens = dict(self._configuration.credentials.of_models)

    def exposition(
        self, pool: EnginePool, admission: Admission, upstream: HttpUpstream, admin: Admin
    ) -> Exposition:
        """The metrics."""
        metrics, activity = self._witnesses.metrics, self._witnesses.recorder.activity
        metrics.name_operators(_repositories(self._configuration.catalog))
        self._stack.enter_context(pool.watch(metrics.pool, usual=False))
        gauges = PoolGauges(
            pool.report,
            downloaded=lambda: pool.downloaded,
            in_progress=lambda: len(activity.running),
            admissions=lambda: (admission.remembered, admission.decided),
            label=metrics.label,
        )

        def targets() -> Iterator[ScrapedEngine]:
            for spec, engine in pool.ready():
                if has_metrics(spec.flags):
                    label = metrics.label(spec.model.repo_id)
                    yield ScrapedEngine(label, engine.url, engine.door_key)

        versions = {"version": __version__, "sglang": self._configuration.sglang}
        engines = EngineMetrics(targets, upstream.get)
        return Exposition((metrics, gauges), engines, admin.standing, versions)

    def reconfigure(
        self,
        admission: Admission,
        service: Service,
        disk: Disk,
        hub: HuggingFaceHub | OfflineHub,
        read: Configuration,
    ) -> None:
        """Take on other models and keys. What has begun may need former tokens."""
        self._witnesses.redact.learn(read.keys.secrets)
        self._witnesses.recorder.forget_names()
        if read.keys.warning:
            _log.warning("%s", read.keys.warning)
        self._keys.become(read.keys.keys)
        self._configuration.catalog.become(read.catalog)
        self._witnesses.metrics.name_operators(_repositories(read.catalog))
        self._tokens |= read.credentials.of_models
        admission.configure(replace(read.credentials, of_models=self._tokens))
        service.note_directories()
        refs = [model.ref for model in read.catalog.models if model.ref is not None]
        disk.name_operators(refs)
        if isinstance(hub, OfflineHub):
            hub.name_operators(refs)

    def operations(
        self,
        pool: EnginePool,
        service: Service,
        run: Run,
        disk: Disk,
        reload: Reload[Configuration],
    ) -> tuple[Admin, Past]:
        """What the operator sees and does, and what has happened."""
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
                hub_unavailable_since=self._witnesses.hub.unavailable_since,
            )

        names = Names(configuration.catalog)
        writer = StateWriter(names, self._witnesses.redact, self._keys.name_of_shown)
        recent = RecentRequests(self._witnesses.recorder.activity)
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
        log = self._witnesses.engine_log
        past = Past(
            journal, writer, recent, log, names=names, clock=self._clock, wall=time.time
        )
        return admin, past


def _repositories(catalog: Catalog) -> Iterator[str]:
    """What the operator's models are called where they run."""
    return (one.ref.repo_id if one.ref else one.name for one in catalog.models)
