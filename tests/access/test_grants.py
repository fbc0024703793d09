"""When a grant is checked, and how long requests wait for the check."""

from __future__ import annotations

import asyncio

import pytest

from router.access.credentials import ChosenToken
from router.access.grants import AHEAD, RECHECK, Grants
from router.errors import HubUnavailable, ModelNotFound, RouterError
from router.hub.interfaces import Asker, HubAnswer
from router.models import ModelRef, ResolvedModel
from tests.pool.fakes import FakeClock, settle

REF, CHOICE = ModelRef("org/mine"), ChosenToken(None, granted=True)
MODEL = ResolvedModel("org/mine", "1" * 40)


class Operator:
    """Grants, and the questions that they ask."""

    def __init__(self, patience: float = 60.0) -> None:
        self.clock = FakeClock()
        self.refusal: RouterError | None = None
        self.asked: list[Asker] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.grants = Grants(self._ask, self.clock, patience)

    async def _ask(
        self, ref: ModelRef, choice: ChosenToken, asker: Asker
    ) -> HubAnswer[ResolvedModel]:
        self.asked.append(asker)
        await self.answering.wait()
        if self.refusal is not None:
            raise self.refusal
        return HubAnswer(MODEL)

    async def get(self) -> ResolvedModel:
        return (await self.grants.get(REF, CHOICE)).value


async def test_one_that_was_idle_is_checked_before_it_serves() -> None:
    operator = Operator()
    await operator.get()
    operator.refusal = ModelNotFound("withdrawn")
    operator.clock.advance(3600)
    with pytest.raises(ModelNotFound):
        await operator.get()


async def test_one_in_use_is_checked_ahead_and_nobody_waits() -> None:
    operator = Operator()
    await operator.get()
    operator.clock.advance(RECHECK - AHEAD)
    operator.answering.clear()
    assert await operator.get() == MODEL
    await settle()
    assert [asker.fresh for asker in operator.asked] == [False, True]
    operator.answering.set()
    await settle()
    operator.clock.advance(RECHECK - AHEAD - 1)
    await operator.get()
    await settle()
    assert len(operator.asked) == 2


async def test_all_wait_for_the_same_check() -> None:
    operator = Operator()
    await operator.get()
    operator.clock.advance(RECHECK)
    operator.answering.clear()
    waiting = [asyncio.create_task(operator.get()) for _ in range(5)]
    await settle()
    assert len(operator.asked) == 2
    assert not any(task.done() for task in waiting)
    operator.refusal = ModelNotFound("withdrawn")
    operator.answering.set()
    for task in waiting:
        with pytest.raises(ModelNotFound):
            await task


async def test_a_hub_that_hangs_is_not_waited_for_longer_than_that() -> None:
    operator = Operator(patience=0.01)
    await operator.get()
    operator.clock.advance(RECHECK)
    operator.answering.clear()
    assert await operator.get() == MODEL
    assert await operator.get() == MODEL
    operator.refusal = ModelNotFound("withdrawn")
    operator.answering.set()
    await settle()
    with pytest.raises(ModelNotFound):
        await operator.get()
    await operator.grants.close()


async def test_silence_withdraws_nothing_and_is_asked_about_soon() -> None:
    operator = Operator()
    await operator.get()
    operator.refusal = HubUnavailable("silent")
    operator.clock.advance(RECHECK)
    for _ in range(3):
        assert await operator.get() == MODEL
        await settle()
        operator.clock.advance(AHEAD)
    assert len(operator.asked) == 4


async def test_a_thaw_has_it_checked_before_it_serves_whatever_was_being_asked() -> None:
    operator = Operator()
    await operator.get()
    operator.clock.advance(RECHECK - AHEAD)
    operator.answering.clear()
    await operator.get()  # it asks in the background
    operator.grants.invalidate()
    waiting = asyncio.create_task(operator.get())
    await settle()
    assert len(operator.asked) == 3
    operator.refusal = ModelNotFound("withdrawn")
    operator.answering.set()
    with pytest.raises(ModelNotFound):
        await waiting
