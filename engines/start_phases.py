"""Reads from an engine how long the phases of its start took.

Verified with SGLang 0.5.23, which reports them at `/server_info`, with all of its settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from math import isfinite

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(2.0)  # it asks its scheduler, which is idle then
_MOST = 1 << 20  # bytes

# The phases that do not overlap. `scheduler_e2e` and `tokenizer_e2e` include these and the time
# at the gate.
_PARTS = ("load_weight", "kv_cache_allocation", "cuda_graph")


async def start_phases(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> dict[str, float]:
    """Seconds of each phase, by SGLang's names, in order; empty if unknown. Never raises."""
    with suppress(aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        async with session.get(
            f"{url}/server_info", headers=headers, timeout=_TIMEOUT
        ) as answer:
            if answer.status == HTTPStatus.OK:
                return phases_in(json.loads(await _content(answer)))
    return {}


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for data in answer.content.iter_any():
        content += data
        if len(content) > _MOST:
            raise ValueError("it says too much")
    return bytes(content)


def phases_in(info: object) -> dict[str, float]:
    """The phases that took any time. The times of several CUDA graphs are added up."""
    told = info.get("startup_time") if isinstance(info, dict) else None
    if not isinstance(told, dict):
        return {}
    found = {name: _seconds(told.get(name)) for name in _PARTS}
    return {name: seconds for name, seconds in found.items() if seconds > 0}


def _seconds(value: object) -> float:
    if isinstance(value, dict):
        return sum(map(_seconds, value.values()))
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and isfinite(value) else 0.0  # type: ignore[arg-type]
