"""A worker, as a transport sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from router.access.keyring import Keyring
from router.admin.admin import Admin
from router.admin.exposition import Exposition
from router.admin.past import Past
from router.app.assembly import Assembly, Parts
from router.app.configuration import Configuration
from router.app.observers import Observers, spans_of
from router.app.operator_parts import Basis
from router.clock import WorkerClock
from router.hub.watch import HubWatch
from router.outbox import Outbox
from router.pool.engine_log import EngineLog
from router.pool.status import PoolStatus
from router.redaction import Redactor
from router.requests.recorder import Recorder
from router.requests.service import Service
from router.running import drain, in_background
from router.tasks import cancel


class Worker:
    """The service and its pool, from opening to the end of the last engine.

    Nothing is opened before an event loop runs, and everything belongs to that loop. The
    transport reports each request to `recorder`.
    """

    def __init__(
        self,
        configuration: Configuration,
        clock: WorkerClock | None = None,
        *,
        redactor: Redactor | None = None,
    ) -> None:
        """`redactor` is the log's, so that both know the same secrets."""
        self._configuration, self._clock = configuration, clock or WorkerClock()
        redactor = redactor or Redactor(configuration.secrets_and_keys)
        self._spans = spans_of(configuration)
        settings, named = configuration.settings, configuration.keys.keys
        hub = HubWatch(settings.hf_endpoint, settings.public_grace, self._clock)
        self._observers = Observers(redactor, hub, self._spans)
        self.keys = Keyring(
            [key.reveal() for key in settings.api_keys],
            None if settings.api_keys_file is None else named,
            self._clock,
        )
        self._parts: Parts | None = None

    @property
    def recorder(self) -> Recorder:
        return self._observers.recorder

    @property
    def engine_log(self) -> EngineLog:
        return self._observers.engine_log

    @property
    def exposition(self) -> Exposition:
        """The metrics. The worker must be open."""
        return self._opened.exposition

    @property
    def outbox(self) -> Outbox:
        """For a transport that writes to callers. The worker must be open."""
        return self._opened.outbox

    @property
    def admin(self) -> Admin:
        """The operator's view and commands. The worker must be open."""
        return self._opened.admin

    @property
    def past(self) -> Past:
        """The worker's past, for the operator. The worker must be open."""
        return self._opened.past

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Service]:
        """Build the parts. They are closed when the block ends."""
        async with AsyncExitStack() as stack:
            stack.callback(self.recorder.flush)
            basis = Basis(self._configuration, self._clock, stack, self._observers, self.keys)
            if self._spans is not None:
                self._spans.start()
                stack.push_async_callback(self._spans.close)
            parts = Assembly(basis).build()
            self._parts = parts
            # Closed last: the clock stands still unless something watches it, and then no
            # drain deadline ever comes.
            background = in_background(parts.background, parts.pool.at_fault)
            stack.push_async_callback(cancel, asyncio.create_task(background))
            yield parts.service

    async def until_leaving(self, service: Service) -> None:
        """Preload models. Returns at a signal, or when the machine is at fault."""
        await self._opened.run.until_leaving(service, self._configuration.catalog)

    async def until_stopped(self, service: Service) -> None:
        """Like `until_leaving`, but handles no signals: it returns after `leave`."""
        await self._opened.run.until_stopped(service, self._configuration.catalog)

    def leave(self) -> None:
        """Take no more work. The worker must be open."""
        self._opened.run.leave()

    def report(self) -> PoolStatus:
        """The state of every engine. The worker must be open."""
        return self._opened.pool.view.report()

    async def drain(self) -> int:
        """Let requests end, then stop every engine. Returns the process's exit status."""
        opened = self._opened
        status = await drain(opened.pool, self._configuration.settings.drain_timeout)
        await opened.admin.close()  # its listeners have seen the drain
        return status

    @property
    def _opened(self) -> Parts:
        assert self._parts is not None, "open first"  # noqa: S101
        return self._parts
