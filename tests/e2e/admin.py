"""The operator of a worker: reads its state, and follows events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

Json = dict[str, Any]
_PATIENCE = 90.0  # seconds


class Operator:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def state(self) -> Json:
        async with self._session.get(f"{self._url}/admin/state") as response:
            assert response.status == 200, await response.text()
            state: Json = await response.json()
            return state

    async def engine(self, model: str) -> Json:
        """The state of the model's engine; empty if not shown."""
        return engine_of(await self.state(), model)

    async def until(self, model: str, holds: Callable[[Json], object]) -> Json:
        """Wait until the condition is true for the model's engine, and return its state."""
        async with asyncio.timeout(_PATIENCE), self.following() as events:
            async for name, content in events:
                if name == "state" and holds(engine := engine_of(content, model)):
                    return engine
        raise AssertionError("the events have ended")

    async def post(self, path: str) -> tuple[int, Json]:
        """`path`: below `/admin/`."""
        async with self._session.post(f"{self._url}/admin/{path}") as response:
            answer: Json = await response.json()
            return response.status, answer

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        async with self._session.get(f"{self._url}{path}", headers=headers) as response:
            return response.status, await response.read()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[AsyncIterator[tuple[str, Json]]]:
        """Follow the events, by name. Comments have no name."""
        async with self._session.get(f"{self._url}/admin/events") as response:
            assert response.status == 200, await response.text()
            yield _events(response.content)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Json]]:
    while not content.at_eof():
        try:
            event = (await content.readuntil(b"\n\n")).decode()
        except asyncio.IncompleteReadError:
            return
        if event.startswith("event: "):
            name, data = event.strip().split("\n")
            yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def engine_of(state: Json, model: str) -> Json:
    """The state of the model's engine; empty if there is none."""
    return next((one for one in state["engines"] if one["model"] == model), {})


@asynccontextmanager
async def operating(url: str, key: str = "") -> AsyncIterator[Operator]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A state has no length limit.
    async with aiohttp.ClientSession(headers=headers, read_bufsize=1 << 22) as session:
        yield Operator(session, url)
