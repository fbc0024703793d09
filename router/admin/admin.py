"""The operator's view of a running worker, and the operator's commands.

Everything here is for the operator only, because it names callers' private models.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client.core import Metric

from router.admin.disk_meter import DiskMeter
from router.admin.json_text import to_json
from router.admin.listener import ListenerTooSlow, StateListener
from router.admin.loads import Loads
from router.admin.names import Names, id_of
from router.admin.recent import RecentRequests, RequestNews
from router.admin.reload import Reloaded
from router.admin.state import Json, StateWriter, WorkerFacts
from router.admin.worker_gauges import worker_gauges
from router.downloads.disk import DiskUsage
from router.errors import InvalidRequest, ModelNotFound, QueueFull, RouterError
from router.models import EngineKey
from router.pool.pool import EnginePool
from router.pool.status import PoolStatus
from router.requests.activity import Activity
from router.scheduler.report import EngineReport

_log = logging.getLogger(__name__)

MOST_LISTENERS = 8
_KEEP_ALIVE = b": nothing new\n\n"


@dataclass(frozen=True, slots=True)
class EventPace:
    """How often a listener gets the state, in seconds.

    At least `gap` between two states; `refresh` while a model loads or a request runs, because
    times and sizes change; at most `quiet` without a byte. All states together get the `share`
    of the event loop's time, as far as `refresh` allows.
    """

    gap: float = 0.25
    refresh: float = 2.0
    quiet: float = 10.0
    share: float = 0.1

    def pause(self, took: float, listeners: int) -> float:
        """Seconds that each listener waits after a state that took `took` seconds to write.

        With hundreds of waiting models, states would otherwise take all of the loop's time.
        """
        return max(self.gap, min(took * listeners / self.share, self.refresh))


class Admin:
    """Implements `router.http.admin_routes.Operations`.

    `facts` returns facts about the whole worker. `leave` makes the worker leave, as a signal
    does. `reload` reads the operator's models again. `wall` returns seconds since 1970.
    """

    def __init__(
        self,
        pool: EnginePool,
        *,
        names: Names,
        writer: StateWriter,
        disk: DiskMeter,
        loads: Loads,
        facts: Callable[[], WorkerFacts],
        leave: Callable[[], None],
        reload: Callable[[], Awaitable[Reloaded]],
        recent: RecentRequests | None = None,
        wall: Callable[[], float] = time.time,
        pace: EventPace | None = None,
    ) -> None:
        self._pool, self._names, self._writer = pool, names, writer
        self._disk, self._loads, self._leave = disk, loads, leave
        self._facts, self._wall, self._reload = facts, wall, reload
        self._recent = recent or RecentRequests(Activity())
        self._pace = pace or EventPace()
        self._listeners: set[StateListener] = set()
        self._closed = False

    async def state(self) -> bytes:
        """The worker's state, as JSON."""
        usage = await self._disk.look()
        return to_json(self._written(self._pool.view.report(), usage, self._wall()))

    def _written(self, status: PoolStatus, usage: DiskUsage | None, now: float) -> Json:
        rates = self._recent.tokens_a_second(now)
        return self._writer.state(status, self._facts(), usage, now, rates)

    async def standing(self) -> list[Metric]:
        """Metrics of the worker's condition and its disk."""
        return list(worker_gauges(self._facts(), await self._disk.look()))

    async def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events: states, timeline entries, and requests.

        Ends when the worker ends, or if the listener reads too slowly. Raises `QueueFull`.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise QueueFull(f"There are {MOST_LISTENERS} listeners already: close one.")
        listener = StateListener()
        self._listeners.add(listener)
        try:
            with (
                self._pool.watch(listener.tell),
                self._recent.follow(listener.wake) as requests,
                suppress(ListenerTooSlow),
            ):
                async for event in self._follow(listener, requests):
                    yield event
        finally:
            self._listeners.discard(listener)

    async def _follow(
        self, listener: StateListener, requests: RequestNews
    ) -> AsyncGenerator[bytes]:
        while True:
            last, usage = self._closed, await self._disk.look()
            began = time.perf_counter()
            happened, status, now = listener.take(), self._pool.view.report(), self._wall()
            state = self._written(status, usage, now)
            written = _event("state", state)
            took = time.perf_counter() - began
            for one in happened:
                line = self._writer.happening(one, now - status.report.now)
                yield _event("journal", line)
            if (news := requests.news()) is not None:
                yield _event("activity", news)
            yield written
            if last:
                return
            await asyncio.sleep(self._pace.pause(took, len(self._listeners)))
            rated = any(one["tokens_per_second"] for one in state["engines"])
            moves = status.report.moves or requests.runs or rated
            within = self._pace.refresh if moves else self._pace.quiet
            while not await listener.changed(within) and not moves:
                yield _KEEP_ALIVE

    async def load(self, name: str, *, wait: bool) -> bytes:
        """Load a model like a preload. With `wait`, return when it is ready.

        Raises the `RouterError` that a request for it without a token would get.
        """
        return self._shown({await self._loads.load(name, wait=wait)})

    def unload(self, name: str) -> bytes:
        """Unload the engines that `name` matches; return them. Raises `ModelNotFound`."""
        return self._each("unload", self._meant(name), self._pool.operated.unload)

    def pin(self, name: str) -> bytes:
        """Raises `ModelNotFound`, or `InvalidRequest` if no engine runs or starts."""
        up = [one for one in self._meant(name) if one.state.claims]
        if not up:
            raise InvalidRequest("This model has no engine: load it first.")
        return self._each("pin", up, self._pool.operated.pin)

    def unpin(self, name: str) -> bytes:
        """Raises `ModelNotFound`, or `InvalidRequest` if the models file pins the model."""
        meant = self._meant(name)
        if any(one.spec.pinned for one in meant):
            raise InvalidRequest("MODELS_CONFIG pins this model: it can only be unloaded.")
        return self._each("unpin", meant, self._pool.operated.unpin)

    def known(self, name: str) -> str:
        """The repository of a model in the state, by any of its names; "" if there is none."""
        shown = self._pool.view.report().report.engines
        meant = self._names.meant(name, (one.spec for one in shown))
        return meant[0].model.repo_id if meant else ""

    async def reload(self) -> bytes:
        """Read the models file again. Raises `InvalidRequest`, and then changes nothing."""
        _log.info("operator: reload")
        done = await self._reload()
        for model in done.new:
            try:
                await self._loads.load(model.name, wait=False)
            except RouterError as error:
                _log.error("%s can't be loaded: %s", model.name, error.message)
        unloaded = sorted({id_of(key) for key in done.unloaded})
        sources = done.sources
        return to_json(
            {
                "unloaded": unloaded,
                "models": self._names.listed(),
                "models_file": sources.models_file,
                "keys_file": sources.keys_file,
                "keys": sources.keys,
            }
        )

    async def hang_up(self) -> None:
        """Reload, for a signal. If a file is wrong, the log says so."""
        with suppress(InvalidRequest):
            await self.reload()

    def drain(self) -> None:
        """Make the worker leave after its requests in flight."""
        _log.info("operator: drain")
        self._leave()

    def _meant(self, name: str) -> list[EngineReport]:
        shown = self._pool.view.report().report.engines
        meant = self._names.meant(name, (one.spec for one in shown))
        if not meant:
            raise ModelNotFound(
                "No model of this name is loaded, starting or failed: `model-router ps` lists "
                "those, and `model-router load` starts one."
            )
        return [one for one in shown if one.spec in meant]

    def _each(
        self, word: str, engines: Iterable[EngineReport], do: Callable[[EngineKey], None]
    ) -> bytes:
        keys = {one.key for one in engines}
        for key in keys:
            _log.info("operator: %s %s", word, key)
            do(key)
        return self._shown(keys)

    def _shown(self, keys: Collection[EngineKey]) -> bytes:
        """These engines as JSON, as the state shows them now."""
        status = self._pool.view.report()
        shift = self._wall() - status.report.now
        engines = [one for one in status.report.engines if one.key in keys]
        shown = [self._writer.engine(one, status, shift) for one in engines]
        return to_json({"ids": sorted({id_of(key) for key in keys}), "engines": shown})

    async def close(self) -> None:
        """Send the last state to all listeners and end their streams. No engine is left."""
        self._closed = True
        for listener in self._listeners:
            listener.wake()
        await self._loads.close()
        await self._disk.close()


def _event(name: str, content: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(content))
