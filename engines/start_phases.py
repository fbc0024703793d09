"""Reads from an engine how long the phases of its start took.

Verified with SGLang 0.5.23, which reports them at `/server_info`, with all of its settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite

import aiohttp

from engines.answers import NoAnswer, ask

# It asks its scheduler, which is idle then. But a busy machine may stand still.
_TIMEOUT = aiohttp.ClientTimeout(15.0)

# The phases that do not overlap. `scheduler_e2e` and `tokenizer_e2e` include these and the time
# at the gate.
_PARTS = ("load_weight", "kv_cache_allocation", "cuda_graph")


async def start_phases(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> dict[str, float]:
    """Seconds of each phase, by SGLang's names, in order; empty if unknown. Never raises."""
    try:
        return phases_in(await ask(session, f"{url}/server_info", headers, _TIMEOUT))
    except NoAnswer:
        return {}


def phases_in(info: object) -> dict[str, float]:
    """The phases that took any time. The times of several CUDA graphs are added up."""
    told = info.get("startup_time") if isinstance(info, dict) else None
    if not isinstance(told, dict):
        return {}
    found = {name: _seconds(told.get(name)) for name in _PARTS}
    return {name: seconds for name, seconds in found.items() if 0 < seconds < inf}


def _seconds(value: object) -> float:
    return sum(map(_one, value.values())) if isinstance(value, dict) else _one(value)


def _one(value: object) -> float:
    """A number of seconds; 0 for what is none, such as NaN or a number of 400 digits."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    try:
        return float(value) if isfinite(value) else 0.0
    except OverflowError:
        return 0.0
