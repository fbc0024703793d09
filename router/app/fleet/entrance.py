"""What takes requests for a fleet: keys, admission, a parser. No pool, and no engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from router.access.authorize import Admission
from router.access.keyring import Keyring
from router.app.configuration import Configuration
from router.app.hubs import any_hub
from router.app.witnesses import Witnesses
from router.clock import WorkerClock, watch
from router.downloads.last_used import PUBLIC, LastUsed
from router.hub.cache import CachedHub
from router.hub.measured import MeasuredHub
from router.hub.watch import HubWatch
from router.logs import Redactor
from router.ray.fleet_service import FleetService
from router.ray.replica_call import Replicas
from router.requests.listing import LoadedModel
from router.requests.recorder import Recorder
from router.running import in_background
from router.side_process import SideProcesses
from router.tasks import cancel

_log = logging.getLogger("router")


class Entrance:
    """Its admission, its cache and its questions to the Hub are its own."""

    def __init__(
        self, configuration: Configuration, name: str, redactor: Redactor | None = None
    ) -> None:
        """`name` tells this ingress from others. `redactor`: the log's."""
        self._configuration, self._name, self._clock = configuration, name, WorkerClock()
        settings, named = configuration.settings, configuration.keys.keys
        self._witnesses = Witnesses(
            redactor or Redactor(configuration.secrets_and_keys),
            HubWatch(settings.hf_endpoint, settings.public_grace, self._clock),
            spans=None,
        )
        self.keys = Keyring(
            [key.reveal() for key in settings.api_keys],
            None if settings.api_keys_file is None else named,
            self._clock,
        )

    @property
    def recorder(self) -> Recorder:
        return self._witnesses.recorder

    @asynccontextmanager
    async def open(
        self,
        replicas: Replicas,
        loaded: Callable[[], Sequence[LoadedModel]],
        ready: Callable[[], bool],
    ) -> AsyncIterator[FleetService]:
        """Put everything together; close what it holds when the block ends."""
        configuration, settings = self._configuration, self._configuration.settings
        async with AsyncExitStack() as stack:
            aside = SideProcesses()
            stack.push_async_callback(aside.close)
            direct = any_hub(configuration, LastUsed(settings.hf_hub_cache, PUBLIC), aside)
            stack.push_async_callback(direct.close)
            hub = CachedHub(
                MeasuredHub(direct, self._witnesses.metrics.hub, self._witnesses.hub),
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
                running=lambda _: set(),  # which commit runs is the replicas' matter
                clock=self._clock,
                keys=self.keys,
            )
            stack.push_async_callback(admission.close)

            async def thawed() -> None:
                hub.invalidate()
                admission.invalidate()
                await direct.reconnect()

            works = [partial(watch, self._clock, thawed)]
            background = asyncio.create_task(in_background(works, asyncio.Event()))
            stack.push_async_callback(cancel, background)
            yield FleetService(
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
            )
