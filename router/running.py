"""Runs an assembled worker: background work, preloading, signals, and the drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from router.config.catalog import Catalog
from router.pool.pool import EnginePool
from router.requests.preload import preload
from router.requests.service import Service

_log = logging.getLogger("router")

Work = Callable[[], Awaitable[None]]


def keep_hangups() -> None:
    """Block SIGHUP until `Run` handles it: during startup it would end the process."""
    if not _hangup_means_the_end():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def _hangup_means_the_end() -> bool:
    """Whether SIGHUP keeps its usual meaning: the terminal was closed."""
    return os.isatty(0)


class Run:
    """Runs the worker until it is told to stop."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._stop = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()
        self.on_hangup: Work | None = None

    async def until_leaving(self, service: Service, catalog: Catalog) -> None:
        """Preload models. Return after a signal, or when the machine is at fault."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        async with asyncio.TaskGroup() as group:
            self._listen_for_hangup(loop, group)
            await self.until_stopped(service, catalog)
            for task in self._reloads:  # they may be waiting for the Hub
                task.cancel()

    async def until_stopped(self, service: Service, catalog: Catalog) -> None:
        """Preload models. Return after `stop` or `leave`, or when the machine is at fault.

        This handles no signals: they belong to the main thread, which may not be this one.
        """

        async def warm_up() -> None:
            await preload(catalog, service.preload)
            # Everything loaded so far is permanent. Freezing it spares the garbage collector
            # from scanning it again.
            gc.collect()
            gc.freeze()
            service.ready = True
            _log.info("ready")

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_or_leave(warm_up, self._pool.at_fault)),
                group.create_task(self._stop_at_fault()),
            ]
            await self._stop.wait()
            for task in tasks:
                task.cancel()
        service.leaving = True

    def _listen_for_hangup(
        self, loop: asyncio.AbstractEventLoop, group: asyncio.TaskGroup
    ) -> None:
        """Reload at SIGHUP, unless the worker is stopping."""
        work = self.on_hangup
        if work is None or _hangup_means_the_end():
            return

        def hang_up() -> None:
            if not self._stop.is_set():
                task = group.create_task(_or_leave(work, self._pool.at_fault))
                self._reloads.add(task)
                task.add_done_callback(self._reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def stop(self) -> None:
        """Stop the worker. A second call cuts off the requests that are still in flight."""
        if self._stop.is_set():
            self._pool.hurry()
        self._stop.set()

    def leave(self) -> None:
        """Stop the worker. A second call does nothing."""
        self._stop.set()

    async def _stop_at_fault(self) -> None:
        await self._pool.at_fault.wait()
        self._stop.set()


async def drain(pool: EnginePool, grace: float) -> int:
    """Give requests `grace` seconds to finish, then stop every engine.

    Returns the exit status of the process: 1 if the machine or the router is at fault.
    """
    _log.info("leaving: requests in flight get %g s", grace)
    await pool.shut_down(grace)
    _log.info("all engines are gone")
    return 1 if pool.at_fault.is_set() else 0


async def in_background(works: Sequence[Work], at_fault: asyncio.Event) -> None:
    """Run all of `works` concurrently until canceled."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(_or_leave(work, at_fault))


async def _or_leave(work: Work, at_fault: asyncio.Event) -> None:
    """Run the work. If it fails, log it and mark the worker at fault, which makes it exit."""
    try:
        await work()
    except Exception as defect:  # noqa: BLE001 - the worker exits after any error
        _log.critical("a task of the worker broke down", exc_info=defect)
        at_fault.set()
