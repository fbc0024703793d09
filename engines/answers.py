"""Reads what an engine answers about itself.

An engine reads files from strangers, so its answer may be anything: endless, too deep, or no
JSON. No answer may end the worker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp

_MOST = 1 << 17  # bytes; a MiB of brackets would hold up the event loop for 80 ms


class NoAnswer(Exception):
    """The engine did not answer with JSON of a usual size."""


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
) -> object:
    """The JSON at `url`. Raises `NoAnswer`.

    It follows no redirect: an engine must not choose what the router asks.
    """
    try:
        async with session.get(
            url, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            if answer.status != HTTPStatus.OK:
                raise NoAnswer(f"status {answer.status}")
            return json.loads(await _content(answer))
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
        # Not its repr: aiohttp's shows the request's headers, and so the engine's key.
        raise NoAnswer(f"{type(error).__name__}: {error}") from error


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for data in answer.content.iter_any():
        content += data
        if len(content) > _MOST:
            raise NoAnswer("it says too much")
    return bytes(content)
