"""Makes an SGLang server release its GPU memory while it is idle, and take it back later.

SGLang 0.5.23 (managers/scheduler_components/weight_updater.py) dies if memory is released
while a request runs, or resumed without a release before. Without its memory saver, it answers
200 and releases nothing. Asleep, it still accepts requests and health checks, which would read
memory that is gone. This module prevents all of that.
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

# Flags of an engine that can sleep. Its weights stay in the host's memory. Without the last
# flag, an engine keeps a core busy even while it sleeps.
FLAGS = ("--enable-memory-saver", "--enable-weights-cpu-backup", "--sleep-on-idle")

# Seconds. An 8B model took 10 to fall asleep and 2 to wake up (with vLLM, which does it the
# same way). The largest models that fit a GPU take about ten times as long.
SLEEP_TIMEOUT = 120.0
WAKE_TIMEOUT = 120.0
_IDLE_TIMEOUT = 20.0  # seconds; abandoned requests must end within them
_SHOWN = 300  # bytes of an answer

# A request that proves that the engine computes again: one token. `/health` does the same, but
# takes at least a second.
_PROOF: Mapping[bool, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        True: (
            "/generate",
            {"input_ids": [0], "sampling_params": {"max_new_tokens": 1, "temperature": 0}},
        ),
        False: ("/encode", {"input_ids": [0]}),
    }
)

_NO_TIMEOUT = aiohttp.ClientTimeout()  # the whole change has a timeout

_Ask = Callable[[str, Mapping[str, Any] | None], Awaitable[None]]


class _Phase(Enum):
    AWAKE = auto()
    CHANGING = auto()  # it stays so if the change failed
    ASLEEP = auto()


class SleepSwitch:
    """Puts one engine to sleep and wakes it. `able`: it was started with `FLAGS`."""

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
        """Whether requests may be sent to the engine."""
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
        """Release the GPU memory. Raises `SleepError`; the engine is then unusable."""
        if not self._able:
            raise SleepError("it was started without SGLang's memory saver")
        self._leave(_Phase.AWAKE)
        async with self._asking("asleep", self._sleep_timeout) as ask:
            await self._unprobed.wait()
            # The KV cache is lost, so the prefix cache must not point to it. This call also
            # waits until no request is in flight: abandoned requests end a little later.
            await ask(f"/flush_cache?timeout={_IDLE_TIMEOUT:g}", None)
            await ask("/release_memory_occupation", {})
        self._phase = _Phase.ASLEEP

    async def wake(self) -> None:
        """Take the memory back and check that the engine computes. Raises `SleepError`."""
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
        """Yield a function that posts to the engine.

        A timeout (`seconds` for the block) or a connection error becomes a `SleepError`.
        """
        try:
            async with asyncio.timeout(seconds), self._sessions() as session:
                yield partial(self._ask, session)
        except TimeoutError as error:
            raise SleepError(f"it is not {aim} after {seconds:g} s") from error
        except aiohttp.ClientError as error:
            # Not its repr: aiohttp's shows the request's headers, and so the engine's key.
            raise SleepError(f"it did not answer: {type(error).__name__}: {error}") from error

    async def _ask(
        self, session: aiohttp.ClientSession, path: str, body: Mapping[str, Any] | None
    ) -> None:
        async with session.post(
            f"{self._url}{path}", json=body, headers=self._signed, timeout=_NO_TIMEOUT
        ) as answer:
            if answer.status != HTTPStatus.OK:
                said = clean((await answer.content.read(_SHOWN)).decode(errors="replace"))
                raise SleepError(f"{path} answered {answer.status}: {said}")
