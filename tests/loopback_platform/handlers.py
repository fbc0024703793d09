"""Small workers on the real SDK, to observe the SDK. Run with a worker's name."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import runpod
from runpod.http_client import AsyncClientSession
from runpod.serverless.modules.rp_http import send_result
from runpod.serverless.modules.worker_state import JobsProgress

Job = dict[str, Any]


def say(text: str) -> None:
    print(f"@ {text}", flush=True)


async def take_steps(job: Job) -> AsyncGenerator[Any, None]:
    """Execute the steps of the input, and report the result of each."""
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda _: say(f"{job['id']} released"))
    try:
        for number, step in enumerate(job["input"]["steps"], 1):
            if step[0] == "yield":
                yield step[1]
            elif step[0] == "yield bytes":
                yield b"bytes"
            else:
                await act(job, step)
            say(f"{job['id']} step {number}")
    finally:
        say(f"{job['id']} finally")


async def answer(job: Job) -> Any:
    """Execute the steps of the input, then return its `answer`."""
    for step in job["input"].get("steps", ()):
        await act(job, step)
    return job["input"]["answer"]


async def act(job: Job, step: list[Any]) -> None:
    match step:
        case ["raise", text]:
            raise RuntimeError(text)
        case ["raise cancelled"]:
            raise asyncio.CancelledError
        case ["progress", value]:
            runpod.serverless.progress_update(job, value)
        case ["progress and wait", value]:
            async with AsyncClientSession() as session:
                await send_result(session, {"status": "IN_PROGRESS", "output": value}, job)
        case ["pause", seconds]:
            await asyncio.sleep(seconds)
        case ["collect garbage"]:
            gc.collect()
        case ["until", path]:
            while not await asyncio.to_thread(Path(path).exists):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        case _:
            raise ValueError(step)


class CallableObject:
    async def __call__(self, job: Job) -> AsyncGenerator[Any, None]:
        yield job["input"]


class ReadyLate:
    """Not ready at the first call."""

    def __init__(self) -> None:
        self._asked = False

    def modifier(self, current: int) -> int:
        asyncio.get_running_loop()
        say(f"modifier {current}")
        self._asked, again = True, self._asked
        return 8 if again else 0


def as_the_file_says(current: int) -> int:
    say(f"modifier {current}")
    return int(Path(os.environ["CONCURRENCY_FILE"]).read_text())


class Leaving:
    """Loses no job that it took, waits for no poll, and frees a job's memory at once."""

    def __init__(self) -> None:
        self._take: asyncio.Task[Any] | None = None
        self._draining = False
        self._closing: set[asyncio.Task[None]] = set()

    async def handle(self, job: Job) -> AsyncGenerator[Any, None]:
        steps = take_steps(job)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: self._let_go(steps))
        async for item in steps:
            yield item

    def modifier(self, _: int) -> int:
        if self._take is None:
            # The task that calls this method. `start` ends when it is canceled.
            self._take = asyncio.current_task()
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self._drain)
        # Report no free slots. A plain 0 would strand the jobs that have not begun.
        return JobsProgress().get_job_count() if self._draining else 8

    def _let_go(self, steps: AsyncGenerator[Any, None]) -> None:
        closing = asyncio.create_task(_close(steps))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._leave_if_idle()

    def _drain(self) -> None:
        say("draining")
        self._draining = True
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._draining and not JobsProgress() and self._take is not None:
            self._take.cancel()


async def _close(steps: AsyncGenerator[Any, None]) -> None:
    await steps.aclose()


def main(name: str) -> None:
    gc.disable()  # garbage is collected only by a job that asks for it
    config: dict[str, Any] = {"handler": take_steps, "return_aggregate_stream": True}
    match name:
        case "generator":
            config["concurrency_modifier"] = ReadyLate().modifier
        case "coroutine":
            config |= {"handler": answer, "concurrency_modifier": lambda _: 8}
        case "unmodified":
            config["handler"] = answer
        case "callable":
            config["handler"] = CallableObject()
        case "refreshing":
            config |= {"refresh_worker": True, "concurrency_modifier": lambda _: 8}
        case "scaled":
            config["concurrency_modifier"] = as_the_file_says
        case "early":
            reader, _writer = os.pipe()
            say(f"pipe {Path(f'/proc/self/fd/{reader}').readlink()}")
            signal.signal(signal.SIGTERM, lambda *_: say("my own handler"))
        case "leaving":
            leaving = Leaving()
            config |= {"handler": leaving.handle, "concurrency_modifier": leaving.modifier}
    try:
        runpod.serverless.start(config)
        say("start() returned")
    except asyncio.CancelledError:
        say("start() was cancelled")


if __name__ == "__main__":
    main(sys.argv[1])
