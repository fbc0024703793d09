"""Takes requests for a fleet: keys, admission and parsing, without a pool or engines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from prometheus_client.core import Metric

from router import __version__
from router.access.authorize import Admission
from router.access.keyring import Keyring
from router.admin.exposition import Exposition
from router.admin.fleet_metrics import FleetMetrics
from router.admin.reload import Reload
from router.admin.worker_gauges import condition
from router.app.configuration import Configuration
from router.app.fleet.file_watch import FileWatch
from router.app.fleet.overview import Overview
from router.app.hubs import any_hub
from router.app.observers import Observers, spans_of
from router.app.rights import Rights, repositories
from router.clock import WorkerClock, watch
from router.downloads.last_used import PUBLIC, LastUsed
from router.downloads.offline import OfflineHub
from router.errors import InvalidRequest
from router.hub.cache import CachedHub
from router.hub.client import HuggingFaceHub
from router.hub.measured import MeasuredHub
from router.hub.watch import HubWatch
from router.models import EngineKey, EngineSpec
from router.ray.fleet_service import FleetService
from router.ray.replica_call import Replicas
from router.redaction import Redactor
from router.requests.listing import LoadedModel
from router.requests.recorder import Recorder
from router.running import Work, in_background
from router.side_process import SideProcesses
from router.tasks import cancel

_log = logging.getLogger("router")


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of an open entrance that a server needs."""

    service: FleetService
    exposition: Exposition


class Entrance:
    """Admits requests at an ingress. It has its own Hub client and cache."""

    def __init__(
        self, configuration: Configuration, name: str, redactor: Redactor | None = None
    ) -> None:
        """`name` is unique to this ingress. `redactor` is the log's."""
        self._configuration, self._name, self._clock = configuration, name, WorkerClock()
        settings, named = configuration.settings, configuration.keys.keys
        # Made here, right after the files were read, so that no later change is missed.
        self._files = FileWatch(configuration.sources, self._read_anew)
        self._reload: Reload[Configuration] | None = None
        self.hub = HubWatch(settings.hf_endpoint, settings.public_grace, self._clock)
        self._spans = spans_of(configuration)
        self._observers = Observers(
            redactor or Redactor(configuration.secrets_and_keys), self.hub, self._spans
        )
        self.keys = Keyring(
            [key.reveal() for key in settings.api_keys],
            None if settings.api_keys_file is None else named,
            self._clock,
        )

    @property
    def recorder(self) -> Recorder:
        return self._observers.recorder

    @asynccontextmanager
    async def open(
        self,
        replicas: Replicas,
        loaded: Callable[[], Sequence[LoadedModel]],
        ready: Callable[[], bool],
        overview: Overview,
    ) -> AsyncIterator[Opened]:
        """Build the parts. They are closed when the block ends."""
        configuration, settings = self._configuration, self._configuration.settings
        async with AsyncExitStack() as stack:
            if self._spans is not None:
                self._spans.start()
                stack.push_async_callback(self._spans.close)
            aside = SideProcesses()
            stack.push_async_callback(aside.close)
            direct = any_hub(configuration, LastUsed(settings.hf_hub_cache, PUBLIC), aside)
            stack.push_async_callback(direct.close)
            hub = CachedHub(
                MeasuredHub(direct, self._observers.metrics.hub, self.hub),
                self._clock,
                public_grace=settings.public_grace,
                requests=settings.hub_requests,
            )
            stack.push_async_callback(hub.close)
            admission = Admission(
                hub,
                catalog=configuration.catalog,
                credentials=configuration.credentials,
                allowed=settings.allowed_models,
                running=lambda _: set(),  # only replicas know which commits run
                clock=self._clock,
                keys=self.keys,
            )
            stack.push_async_callback(admission.close)

            async def thawed() -> None:
                hub.invalidate()
                admission.invalidate()
                await direct.reconnect()

            self._reload = self._reloading(admission, direct)
            works: list[Work] = [partial(watch, self._clock, thawed), self._files.watch]
            background = asyncio.create_task(in_background(works, asyncio.Event()))
            stack.push_async_callback(cancel, background)
            fleet = FleetMetrics(overview.loads)
            service = FleetService(
                settings,
                catalog=configuration.catalog,
                admission=admission,
                replicas=replicas,
                name=self._name,
                label_of=self.keys.label,
                loaded=loaded,
                ready=ready,
                aside=aside,
                clock=self._clock,
                routed=lambda plan: fleet.routed(plan.why) if plan.why else None,
            )
            yield Opened(service, self._exposition(service, fleet, admission))

    def _exposition(
        self, service: FleetService, fleet: FleetMetrics, admission: Admission
    ) -> Exposition:
        metrics = self._observers.metrics
        metrics.name_operators(repositories(self._configuration.catalog))

        async def standing() -> list[Metric]:
            health, silent = service.health(), self.hub.unavailable_since is not None
            return list(
                condition(ready=health.ready, leaving=health.leaving, hub_silent=silent)
            )

        collectors = (metrics, fleet, self._observers.request_gauges(admission))
        return Exposition(collectors, {"version": __version__}, (standing,))

    def _reloading(
        self, admission: Admission, hub: HuggingFaceHub | OfflineHub
    ) -> Reload[Configuration]:
        first = self._configuration
        rights = Rights(first, self.keys, self._observers)
        return Reload(
            first,
            partial(Configuration.read, first.environ, first.settings.platform),
            lambda read: rights.become(read, admission, hub),
            NoEngines(),
        )

    async def _read_anew(self) -> None:
        """Reload. If a file is wrong, the log says so."""
        if self._reload is not None:
            with suppress(InvalidRequest):
                await self._reload()


class NoEngines:
    """Implements `Engines` for an ingress, which has none."""

    def listed(self) -> list[EngineSpec]:
        return []

    def unload(self, key: EngineKey) -> None:
        raise AssertionError(f"{key} is not here")

    def rule(self, _: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        return []
