"""Builds the parts of a worker and connects them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from router.access.authorize import Admission
from router.admin.admin import Admin
from router.admin.exposition import Exposition
from router.admin.past import Past
from router.admin.reload import Reload
from router.app.configuration import Configuration
from router.app.hubs import any_hub
from router.app.operator_parts import Basis, OperatorParts
from router.app.pool_parts import PoolParts
from router.clock import watch
from router.hub.cache import CachedHub
from router.hub.measured import MeasuredHub
from router.outbox import Outbox
from router.pool.pool import EnginePool
from router.requests.service import Service
from router.requests.upstream import HttpUpstream
from router.running import Run, Work
from router.side_process import SideProcesses


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that `Assembly` builds. `background` is the work to run while it is open."""

    pool: EnginePool
    service: Service
    run: Run
    admin: Admin
    past: Past
    exposition: Exposition
    outbox: Outbox
    background: Sequence[Work]


class Assembly:
    """Builds the parts."""

    def __init__(self, basis: Basis) -> None:
        self._configuration, self._settings = basis.configuration, basis.configuration.settings
        self._clock, self._stack, self._observers = basis.clock, basis.stack, basis.observers
        self._keys = basis.keys
        self._operators = OperatorParts(basis)

    def build(self) -> Parts:
        own = PoolParts(
            self._configuration, self._clock, self._stack, self._observers.engine_log
        )
        pool, disk = own.pool, own.disk
        direct = any_hub(self._configuration, disk.public, own.aside)
        self._stack.push_async_callback(direct.close)
        hub = CachedHub(
            MeasuredHub(direct, self._observers.metrics.hub, self._observers.hub),
            self._clock,
            public_grace=self._settings.public_grace,
            requests=self._settings.hub_requests,
        )
        self._stack.push_async_callback(hub.close)
        admission = self._admission(hub, pool)

        async def thawed() -> None:
            hub.invalidate()
            admission.invalidate()
            pool.thawed()
            await direct.reconnect()

        background: list[Work] = [
            partial(watch, self._clock, thawed),
            *disk.kept_in_order(pool.view, pool.forget_snapshot, own.downloads),
            partial(own.history.run, pool.learned),
        ]
        outbox = Outbox()
        upstream = HttpUpstream(outbox)
        self._stack.push_async_callback(upstream.close)
        service = self._service(pool, admission, own.aside, upstream)
        reload = Reload(
            self._configuration,
            partial(Configuration.read, self._configuration.environ, self._settings.platform),
            partial(self._operators.reconfigure, admission, service, disk, direct),
            pool.operated,
        )
        run = Run(pool)
        admin, past = self._operators.operations(pool, service, run, disk, reload)
        exposition = self._operators.exposition(pool, admission, upstream, admin)
        return Parts(pool, service, run, admin, past, exposition, outbox, background)

    def _admission(self, hub: CachedHub, pool: EnginePool) -> Admission:
        admission = Admission(
            hub,
            catalog=self._configuration.catalog,
            credentials=self._configuration.credentials,
            allowed=self._settings.allowed_models,
            running=pool.view.running,
            clock=self._clock,
            keys=self._keys,
        )
        self._stack.push_async_callback(admission.close)
        return admission

    def _service(
        self,
        pool: EnginePool,
        admission: Admission,
        aside: SideProcesses,
        upstream: HttpUpstream,
    ) -> Service:
        return Service(
            self._settings,
            catalog=self._configuration.catalog,
            admission=admission,
            pool=pool,
            upstream=upstream,
            aside=aside,
            flags=self._configuration.engine_flags,
            salt=secrets.token_bytes(32),
            clock=self._clock,
        )
