"""Loads models for the operator, without a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from router.errors import RouterError
from router.models import EngineKey
from router.requests.service import Loadable
from router.tasks import cancel

_log = logging.getLogger(__name__)


class Loader(Protocol):
    """The part of the request service used here."""

    def to_load(self, name: str) -> Awaitable[Loadable]:
        """Find the model that `name` means. Raises `RouterError`."""
        ...

    def load(self, what: Loadable) -> Awaitable[None]:
        """Return when its engine is ready. Raises `RouterError`."""
        ...


class Loads:
    """The loads in progress, one for each engine. They continue even if nobody waits."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._tasks: dict[EngineKey, asyncio.Task[RouterError | None]] = {}

    async def load(self, name: str, *, wait: bool) -> EngineKey:
        """Load a model. Returns once the load has begun or, with `wait`, once it is done.

        Raises `RouterError`.
        """
        what = await self._loader.to_load(name)
        key = what.spec.key
        task = self._tasks.get(key)
        if task is None:
            _log.info("operator: load %s", key)
            task = asyncio.get_running_loop().create_task(self._load(what))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        # Without `wait`, this still lets the task run until it is in the queue.
        await asyncio.wait({task}, timeout=None if wait else 0)
        if wait and (error := task.result()) is not None:
            raise error
        return key

    async def close(self) -> None:
        for task in tuple(self._tasks.values()):
            await cancel(task)

    async def _load(self, what: Loadable) -> RouterError | None:
        try:
            await self._loader.load(what)
        except RouterError as error:
            _log.error("%s can't be loaded: %s", what.spec.model, error.message)
            return error
        return None
