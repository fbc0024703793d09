from __future__ import annotations

import asyncio

import pytest

from router.tasks import cancel, finish


async def test_work_is_finished_however_often_its_caller_is_cancelled() -> None:
    gate, done = asyncio.Event(), list[int]()

    async def work() -> None:
        await gate.wait()
        done.append(1)

    caller = asyncio.create_task(finish(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == [1]


async def test_an_error_of_the_work_is_raised() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await finish(fail())


async def test_a_task_is_cancelled_and_has_ended_even_if_the_caller_is_cancelled() -> None:
    gate, swept = asyncio.Event(), list[int]()

    async def sweeps() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await gate.wait()
            swept.append(1)

    task = asyncio.create_task(sweeps())
    await asyncio.sleep(0)
    caller = asyncio.create_task(cancel(task))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert task.cancelled()
    assert swept == [1]
