"""The operator's side of a pool that is built on fakes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from router.admin.admin import Admin, EventPace
from router.admin.disk_meter import DiskMeter
from router.admin.loads import Loads
from router.admin.names import Names
from router.admin.reload import Reloaded
from router.admin.state import StateWriter, WorkerFacts
from router.config.catalog import Catalog, OperatorModel
from router.downloads.disk import DiskUsage
from router.errors import RouterError
from router.models import ModelRef
from router.redaction import Redactor
from router.requests.service import Loadable
from router.secrets import Secret
from tests.pool.fakes import GIB, spec
from tests.pool.harness import PoolHarness

Json = dict[str, Any]
WALL = 1_700_000_000.0  # when the pool's clock shows 1000


class Listening:
    """One listener's events, by name. Comments have no name."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        self._events = events

    async def next(self) -> tuple[str, Json]:
        event = (await anext(self._events)).decode()
        if event.startswith(":"):
            return "", {}
        name, data = event.strip().split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def until(self, name: str) -> list[tuple[str, Json]]:
        """The events up to the first of this name."""
        got = [await self.next()]
        while got[-1][0] != name:
            got.append(await self.next())
        return got


class AdminHarness:
    def __init__(
        self, pool: PoolHarness, secret: Secret, pace: EventPace | None = None
    ) -> None:
        self.pool = pool
        self.usage = DiskUsage(10, None, 90, 5)
        self.measured = 0
        self.models = [OperatorModel(source=ModelRef("org/a"), aliases=("first",))]

        async def measure() -> DiskUsage:
            self.measured += 1
            return self.usage

        names = Names(Catalog(self.models))
        self.left = False
        self.reloaded = Reloaded((), ())
        self.refusals: dict[str, RouterError] = {}
        self.admin = Admin(
            pool.pool,
            names=names,
            writer=StateWriter(names, Redactor([secret])),
            disk=DiskMeter(measure, pool.clock),
            loads=Loads(self),
            facts=lambda: WorkerFacts(
                WALL, ready=True, leaving=False, max_queue=9, max_loaded=2
            ),
            leave=self._leave,
            reload=self._reload,
            wall=lambda: pool.clock() - 1000.0 + WALL,
            pace=pace or EventPace(gap=0.0),
        )

    async def _reload(self) -> Reloaded:
        return self.reloaded

    def _leave(self) -> None:
        self.left = True

    async def to_load(self, name: str) -> Loadable:
        """Implements `Loader`. Each name is a model of `org`, unless it is refused."""
        if name in self.refusals:
            raise self.refusals[name]
        return Loadable(spec(name, memory=GIB), None)

    async def load(self, what: Loadable) -> None:
        deadline = self.pool.clock() + 60
        with self.pool.pool.lease(what.spec, None, deadline=deadline) as lease:
            await lease.granted()

    async def state(self) -> Json:
        state: Json = json.loads(await self.admin.state())
        return state

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listening]:
        async with aclosing(self.admin.events()) as events:
            yield Listening(events)
