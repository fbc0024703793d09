"""Waits until an engine serves the right model, and checks that it requires its key.

Verified with SGLang 0.5.23. Its port refuses connections while it loads. Then `/ready` answers
503 until the warm-up is done, and 200 after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp

from engines.answers import NoAnswer, ask
from engines.start_phases import start_phases
from router.pool.interfaces import EngineStartError

POLL = 0.1  # seconds between two checks of an engine that is starting
_STATUS_TIMEOUT = aiohttp.ClientTimeout(5.0)  # `/ready` only reads flags, and is asked again
# These only read flags, too. But nobody asks them again, and a busy machine may stand still.
_FACTS_TIMEOUT = aiohttp.ClientTimeout(60.0)
_ENDLESS = 1 << 53  # tokens; larger numbers are not exact in every caller's JSON
_SHOWN = 300  # characters of an answer

Sessions = Callable[[], aiohttp.ClientSession]


class Served(Protocol):
    """A server that must answer at `url`, but only with the headers `signed`."""

    @property
    def url(self) -> str: ...

    @property
    def signed(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine reports about itself.

    `context_length`: the most tokens that a request may have; None if unknown. `phases`: see
    `start_phases`.
    """

    context_length: int | None
    phases: Mapping[str, float]


async def until_ready(engine: Served, model_path: str, sessions: Sessions) -> EngineFacts:
    """Wait, with no time limit, until the engine serves `model_path`.

    Raises `EngineStartError` if it serves another model or answers without the key.
    """
    async with sessions() as session:
        await until_locked(session, engine, "/ready")
        served = await _served_path(session, engine)
        context_length = await _context_length(session, engine)
        phases = await start_phases(session, engine.url, engine.signed)
    if served != model_path:
        raise EngineStartError(f"it serves something else: {repr(served)[:_SHOWN]}")
    return EngineFacts(context_length, phases)


async def until_locked(session: aiohttp.ClientSession, place: Served, path: str) -> None:
    """Wait until `place` answers 200 at `path`, with the key.

    Raises `EngineStartError` if it answers without the key, too.
    """
    while (unsigned := await _unsigned(session, place, path)) is None:  # noqa: ASYNC110
        await asyncio.sleep(POLL)  # another process: no event announces that it answers
    if unsigned != HTTPStatus.FORBIDDEN:
        raise EngineStartError("it answers on its port to anybody, without the key")


async def _unsigned(session: aiohttp.ClientSession, place: Served, path: str) -> int | None:
    """The status without the key; None if it does not answer, or not 200 with the key."""
    url = f"{place.url}{path}"
    with suppress(aiohttp.ClientError, TimeoutError):
        if await _status(session, url, place.signed) == HTTPStatus.OK:
            return await _status(session, url)
    return None


async def _status(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
) -> int:
    async with session.get(
        url, headers=headers, timeout=_STATUS_TIMEOUT, allow_redirects=False
    ) as answer:
        return answer.status


async def _served_path(session: aiohttp.ClientSession, engine: Served) -> object:
    """The model path that the engine reports. Raises `EngineStartError`."""
    try:
        told = await ask(session, f"{engine.url}/model_info", engine.signed, _FACTS_TIMEOUT)
    except NoAnswer as error:
        raise EngineStartError(f"it did not say which model it serves: {error}") from error
    return told.get("model_path") if isinstance(told, dict) else None


async def _context_length(session: aiohttp.ClientSession, engine: Served) -> int | None:
    """The most tokens that the engine accepts; None if it does not say. Never raises."""
    with suppress(NoAnswer):
        match await ask(session, f"{engine.url}/v1/models", engine.signed, _FACTS_TIMEOUT):
            case {"data": [{"max_model_len": length}, *_]}:
                return length if type(length) is int and 0 < length < _ENDLESS else None
    return None
