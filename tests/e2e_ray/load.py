"""Callers that send requests without a pause and check each answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.e2e.caller import CHAT, DONE, chat

WORDS = " ".join(f"word-{number}" for number in range(30))
ENGINE: dict[str, Any] = {"answer": WORDS, "interval": 0.03}  # an answer takes a second
TOLD = {"engine_failed", "engine_unavailable", "model_loading", "queue_full"}


class Load:
    """`outcomes`: `whole`; `told` (an error that the route documents); `broke` (the connection
    broke visibly); `refused` (nobody listens). Any other text is a wrong answer."""

    def __init__(self, urls: Sequence[str], models: Sequence[str], callers: int) -> None:
        self._urls, self._models, self._callers = urls, models, callers
        self.outcomes: Counter[str] = Counter()
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send requests until the block ends, then wait for the last answer."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._callers):
                group.create_task(self._ask_on(number))
            yield
            self._ended.set()

    async def seen(self, outcome: str, times: int) -> None:
        """Wait until the outcome occurs so many more times."""
        target = self.outcomes[outcome] + times
        async with asyncio.timeout(120):
            while self.outcomes[outcome] < target:  # noqa: ASYNC110 - many write it
                await asyncio.sleep(0.05)

    @property
    def wrong(self) -> dict[str, int]:
        fine = {"whole", "told", "broke", "refused"}
        return {name: times for name, times in self.outcomes.items() if name not in fine}

    async def _ask_on(self, number: int) -> None:
        timeout = aiohttp.ClientTimeout(120)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            turn = number
            while not self._ended.is_set():
                url, model = (
                    self._urls[turn % len(self._urls)],
                    self._models[turn % 7 % len(self._models)],
                )
                stream = bool(turn // len(self._urls) % 2)
                outcome = await self._ask(session, url, chat(model, stream=stream))
                self.outcomes[outcome] += 1
                if outcome in ("refused", "told"):
                    await asyncio.sleep(0.2)
                turn += 1

    async def _ask(
        self, session: aiohttp.ClientSession, url: str, body: dict[str, object]
    ) -> str:
        try:
            async with session.post(url + CHAT, json=body) as response:
                content = await response.read()
        except aiohttp.ClientConnectorError:
            return "refused"
        except aiohttp.ClientError:
            return "broke"
        if response.status != 200:
            return _told(content)
        return judged_stream(content) if body["stream"] else judged(content)


def judged(content: bytes) -> str:
    said = json.loads(content)["choices"][0]["message"]["content"]
    return "whole" if said == WORDS else f"wrong: {said}"


def judged_stream(content: bytes) -> str:
    lines = content.decode().split("\n\n")
    events = [one.removeprefix("data: ") for one in lines if one.startswith("data: ")]
    if not events or events[-1] != DONE or events.count(DONE) > 1:
        return f"unended: {content[-200:]!r}"
    chunks = [json.loads(one) for one in events[:-1]]
    said = "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk.get("choices", ())
    )
    if "error" in chunks[-1]:
        return (
            _told(events[-2].encode()) if WORDS.startswith(said.strip()) else f"wrong: {said}"
        )
    return "whole" if said == WORDS else f"wrong: {said}"


def _told(content: bytes) -> str:
    code = json.loads(content)["error"]["code"]
    return "told" if code in TOLD else f"code {code}"
