"""A well-behaved caller of a loaded model, and a probe of the loop: measures what they
notice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from tests.bench.attack.target import SHARED
from tests.bench.ways import CHAT

_PATIENCE = 60.0  # seconds until a request counts as failed


@dataclass(slots=True)
class Felt:
    """Latencies in seconds, and failures by message."""

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Experience:
    whole: Felt = field(default_factory=Felt)
    streamed: Felt = field(default_factory=Felt)
    ping: Felt = field(default_factory=Felt)


async def use(url: str, key: str, seconds: float, rate: float = 5.0) -> Experience:
    """Send whole requests, streamed requests and pings, `rate` of each per second, however long
    the earlier ones take."""
    felt = Experience()
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    async with (
        aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session,
        asyncio.TaskGroup() as tasks,
    ):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            tasks.create_task(_felt(felt.whole, lambda: _chat(session, stream=False)))
            tasks.create_task(_felt(felt.streamed, lambda: _chat(session, stream=True)))
            tasks.create_task(_felt(felt.ping, lambda: _ping(session)))
            await asyncio.sleep(1 / rate)
    return felt


async def _felt(felt: Felt, ask: Callable[[], Awaitable[None]]) -> None:
    began = time.perf_counter()
    try:
        await ask()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        felt.failures[f"{type(error).__name__}: {error}"[:300]] += 1
    else:
        felt.latencies.append(time.perf_counter() - began)


async def _chat(session: aiohttp.ClientSession, *, stream: bool) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": SHARED, "messages": messages, "max_tokens": 8, "stream": stream}
    async with session.post(CHAT, json=body) as answer:
        content = await answer.read()
    whole = b"data: [DONE]" in content if stream else b'"finish_reason"' in content
    if answer.status != 200 or not whole:
        raise ValueError(f"{answer.status} {content[-200:]!r}")


async def _ping(session: aiohttp.ClientSession) -> None:
    async with session.get("/ping") as answer:
        if answer.status != 200:
            raise ValueError(str(answer.status))
