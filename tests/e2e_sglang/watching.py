"""Watches the progress of an engine from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.e2e_sglang.harness import APPLE, Engine, Json

# Longer than a test watches.
ENDLESS: Json = {"prompt": "Go on.", "max_tokens": 3500, "ignore_eos": True, "stream": True}


@asynccontextmanager
async def streaming(
    http: aiohttp.ClientSession, path: str, content: Json, token: str | None = None
) -> AsyncIterator[AsyncIterator[str]]:
    """Yield the events' data. Leaving the block before the end closes the connection."""
    asked = {"model": APPLE, "stream": True, **content}
    headers = {} if token is None else {"X-HF-Token": token}
    async with http.post(path, json=asked, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        yield (
            line.decode().removeprefix("data: ").strip()
            async for line in answer.content
            if line.startswith(b"data: ")
        )


def cached_tokens(answer: Json) -> int:
    """The number of cached tokens. Each route has its own place for it."""
    if "meta_info" in answer:
        details = answer["meta_info"]
    else:
        usage = answer["usage"]
        details = usage.get("prompt_tokens_details") or usage["input_tokens_details"]
    found: int = details["cached_tokens"]
    return found


async def engine_runs(engine: Engine, requests: int) -> None:
    """Wait until it runs so many requests."""
    async with asyncio.timeout(90):
        while await engine.running() != requests:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
