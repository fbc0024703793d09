"""Lets an SGLang server give its GPU memory back while it is not used, and take it again.

Of SGLang 0.5.23 (managers/scheduler_components/weight_updater.py): a release while a request
runs ends the engine, and so does a resume of what was not released. Without its memory saver it
answers 200 and releases nothing. Asleep, it still accepts requests, and a request or a health
check would read memory that is gone. So all of that is kept from it here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import aiohttp

from engines.failure import clean
from engines.readiness import Sessions
from router.models import Task
from router.pool.interfaces import SleepError

# For the engine that is to fall asleep: the weights stay in the host's memory. Without the last
# one, each engine keeps a core busy, also asleep.
FLAGS = ("--enable-memory-saver", "--enable-weights-cpu-backup", "--sleep-on-idle")

# Seconds. An 8B model was seen to take 10 to fall asleep, and 2 to wake (vLLM, whose
# way is the same); the largest that fit a GPU take some ten times as long.
SLEEP_TIMEOUT = 120.0
WAKE_TIMEOUT = 120.0
_IDLE_TIMEOUT = 20.0  # for what its callers have left behind, and for a health check
_SHOWN = 300  # characters of an answer

# What shows that it computes again: one token. `/health` does the same in a second at least.
_PROOF: Mapping[bool, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        True: (
            "/generate",
            {"input_ids": [0], "sampling_params": {"max_new_tokens": 1, "temperature": 0}},
        ),
        False: ("/encode", {"input_ids": [0]}),
    }
)

_NO_TIMEOUT = aiohttp.ClientTimeout()  # the whole change has one

_Ask = Callable[[str, Mapping[str, Any] | None], Awaitable[None]]


class _Phase(Enum):
    AWAKE = auto()
    CHANGING = auto()  # for good, where the change failed
    ASLEEP = auto()


class SleepSwitch:
    """Of one engine. `able`: it was started with `FLAGS`."""

    def __init__(
        self,
        url: str,
        signed: Mapping[str, str],
        task: Task,
        *,
        able: bool,
        sessions: Sessions,
        sleep_timeout: float = SLEEP_TIMEOUT,
        wake_timeout: float = WAKE_TIMEOUT,
    ) -> None:
        self._url, self._signed, self._sessions = url, signed, sessions
        self._proof = _PROOF[task is Task.GENERATE]
        self._able = able
        self._sleep_timeout, self._wake_timeout = sleep_timeout, wake_timeout
        self._phase = _Phase.AWAKE
        self._probes = 0
        self._unprobed = asyncio.Event()
        self._unprobed.set()

    @property
    def awake(self) -> bool:
        """Whether the engine may be asked anything."""
        return self._phase is _Phase.AWAKE

    @contextmanager
    def probing(self) -> Iterator[None]:
        """The engine does not fall asleep before the block ends."""
        self._probes += 1
        self._unprobed.clear()
        try:
            yield
        finally:
            self._probes -= 1
            if not self._probes:
                self._unprobed.set()

    async def sleep(self) -> None:
        """Release the GPU's memory. Raises `SleepError`; then the engine is of no more use."""
        if not self._able:
            raise SleepError("it was started without SGLang's memory saver")
        self._leave(_Phase.AWAKE)
        async with self._asking("asleep", self._sleep_timeout) as ask:
            await self._unprobed.wait()
            # What the cache held is lost, and must not be found again. This also waits until
            # no request is in flight: those whose callers have left end a little later.
            await ask(f"/flush_cache?timeout={_IDLE_TIMEOUT:g}", None)
            await ask("/release_memory_occupation", {})
        self._phase = _Phase.ASLEEP

    async def wake(self) -> None:
        """Take the memory again, and see that the engine computes. Raises `SleepError`."""
        self._leave(_Phase.ASLEEP)
        async with self._asking("awake", self._wake_timeout) as ask:
            await ask("/resume_memory_occupation", {})
            await ask(*self._proof)
        self._phase = _Phase.AWAKE

    def _leave(self, phase: _Phase) -> None:
        if self._phase is not phase:
            raise SleepError(f"it is {self._phase.name.lower()}, not {phase.name.lower()}")
        self._phase = _Phase.CHANGING

    @asynccontextmanager
    async def _asking(self, aim: str, seconds: float) -> AsyncIterator[_Ask]:
        """Asks the engine. Whatever fails within the block is a `SleepError`."""
        try:
            async with asyncio.timeout(seconds), self._sessions() as session:
                yield partial(self._ask, session)
        except TimeoutError as error:
            raise SleepError(f"it is not {aim} after {seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise SleepError(f"it did not answer: {error!r}") from error

    async def _ask(
        self, session: aiohttp.ClientSession, path: str, body: Mapping[str, Any] | None
    ) -> None:
        async with session.post(
            f"{self._url}{path}", json=body, headers=self._signed, timeout=_NO_TIMEOUT
        ) as answer:
            if answer.status != HTTPStatus.OK:
                said = clean((await answer.text(errors="replace"))[:_SHOWN])
                raise SleepError(f"{path} answered {answer.status}: {said}")
