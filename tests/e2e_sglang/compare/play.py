"""Plays a case both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from tests.e2e_sglang.compare.answers import Answer, ask
from tests.e2e_sglang.compare.case import CHAT, EMBEDDINGS, JSON_BODY, Case, chat, embed
from tests.e2e_sglang.compare.expected import unexplained
from tests.e2e_sglang.harness import APPLE, PEAR, Engine, Harness

# When SGLang is behind, it puts two tokens into one event, on either way. So only a difference
# that shows each time counts.
_TRIES = 10


class Differs(AssertionError):
    """Two answers differ without an explanation. The message says where."""


class Player:
    def __init__(
        self, session: aiohttp.ClientSession, router: str, engines: Mapping[str, Engine]
    ) -> None:
        self._session, self._router, self._engines = session, router, engines

    async def play(self, case: Case) -> None:
        """Run a case. Raises `Differs`."""
        found: list[str] = []
        for _ in range(_TRIES):
            found = await self._differences(case)
            if not found:
                return
        raise Differs("\n".join(f"  {line}" for line in found))

    async def _differences(self, case: Case) -> list[str]:
        url = self._router + (case.alias or case.path)
        routed = await self._ask(url, case, case.headers)
        if case.own is not None:
            return list(case.own.unlike(routed))
        engine = self._engines[case.model]
        direct = await self._ask(
            engine.url + case.path, case, {**case.headers, **engine.signed}
        )
        return list(unexplained(direct, routed))

    async def _ask(self, url: str, case: Case, headers: Mapping[str, str]) -> Answer:
        await self._empty_cache(case.model)
        return await ask(self._session, url, case.method, case.body, headers)

    async def _empty_cache(self, model: str) -> None:
        """SGLang empties it when idle, which can be a moment after the end of an answer."""
        engine = self._engines[model]
        url, headers = engine.url + "/flush_cache", engine.signed
        async with asyncio.timeout(90):
            while (await ask(self._session, url, "POST", None, headers)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@asynccontextmanager
async def starting(harness: Harness) -> AsyncIterator[Player]:
    """A player for both models, with their engines started."""
    async with aiohttp.ClientSession() as session:
        for path, first in ((CHAT, chat("")), (EMBEDDINGS, embed(""))):
            answer = await ask(
                session, harness.worker.url + path, "POST", first.body, JSON_BODY
            )
            if answer.status != 200:
                raise RuntimeError(f"no engine: {answer}")
        engines = {model: harness.engine(model) for model in (APPLE, PEAR)}
        yield Player(session, harness.worker.url, engines)
