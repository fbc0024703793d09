"""A job in the platform: what was sent to the worker, and everything it returned."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

PATIENCE = 90.0  # seconds, enough for the busiest machine

Status = Literal["COMPLETED", "FAILED", "CANCELLED"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of an answer, or a progress report."""

    at: float  # `time.monotonic()` of its arrival
    output: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `posted` is the SDK's last post, unchanged; canceled jobs have none."""

    status: Status
    at: float  # `time.monotonic()`
    posted: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> Any:
        return self.posted.get("output")

    @property
    def error(self) -> Any:
        return self.posted.get("error")


class Hold:
    """One POST that has come in, but counts as arrived only after `release`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._hangs = threading.Event()
        self._released = asyncio.Event()

    def wait(self, timeout: float = PATIENCE) -> None:
        """Wait until the POST hangs. Raises `TimeoutError`."""
        if not self._hangs.wait(timeout):
            raise TimeoutError("no POST came")

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._released.set)

    async def hang(self) -> None:
        """For the server. Canceled if the worker disconnects."""
        self._hangs.set()
        await self._released.wait()


class Job:
    """Another thread appends to its lists in order of arrival, even after the job's end."""

    def __init__(self, job_id: str, job_input: Any) -> None:
        self.id = job_id
        self.input = job_input
        self.chunks: list[Chunk] = []
        self.progress: list[Chunk] = []
        self.finals: list[dict[str, Any]] = []  # a good worker posts one; none if canceled
        self.refused: list[int] = []  # sizes in bytes of POSTs that were too large
        self.stream_holds: deque[Hold] = deque()  # for its next stream POSTs
        self.output_holds: deque[Hold] = deque()  # for its next progress or final POSTs
        self.taken = threading.Event()
        self._ended = threading.Event()
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome | None:
        """None until the job has ended."""
        return self._outcome

    @property
    def outputs(self) -> list[Any]:
        """The streamed parts so far."""
        return [chunk.output for chunk in self.chunks]

    def wait_until_taken(self) -> None:
        """Wait until a worker has it. Raises `TimeoutError`."""
        if not self.taken.wait(PATIENCE):
            raise TimeoutError(f"nobody took {self.id}")

    def wait(self, timeout: float = PATIENCE) -> Outcome:
        """Wait for the end of the job. Raises `TimeoutError` after so many seconds."""
        self._ended.wait(timeout)
        if self._outcome is None:
            raise TimeoutError(f"{self.id} has not ended; {len(self.chunks)} chunks came")
        return self._outcome

    def end(self, status: Status, posted: dict[str, Any] | None = None) -> None:
        """For the server. Only the first end counts."""
        if self._outcome is None:
            self._outcome = Outcome(status, time.monotonic(), posted or {})
            self._ended.set()
