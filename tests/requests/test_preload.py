from __future__ import annotations

import logging

import pytest

from router.config.catalog import Catalog, OperatorModel
from router.errors import (
    EngineFailed,
    EngineUnavailable,
    HubUnavailable,
    ModelGated,
    RouterError,
    UnsupportedModel,
)
from router.models import ModelRef
from router.requests.preload import preload

FIRST = OperatorModel(source=ModelRef("org/first"), preload=True)
SECOND = OperatorModel(source=ModelRef("org/second"), preload=True)
LAZY = OperatorModel(source=ModelRef("org/lazy"))


class Starter:
    """Starts models. Fails with the given errors before it succeeds."""

    def __init__(self, *errors: RouterError) -> None:
        self.errors = list(errors)
        self.started: list[str] = []
        self.slept: list[float] = []

    async def start(self, model: OperatorModel) -> None:
        self.started.append(model.name)
        if self.errors:
            raise self.errors.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def run(self, default: OperatorModel | None = None) -> None:
        await preload(Catalog([LAZY, FIRST, SECOND], default), self.start, self.sleep)


async def test_the_default_comes_first_and_lazy_models_not_at_all() -> None:
    starter = Starter()
    await starter.run(default=SECOND)
    assert starter.started == ["org/second", "org/first"]


@pytest.mark.parametrize("error", [ModelGated("no"), UnsupportedModel("no")])
async def test_a_lasting_failure_is_said_once_loudly_and_others_follow(
    error: RouterError, caplog: pytest.LogCaptureFixture
) -> None:
    starter = Starter(error)
    await starter.run()
    assert starter.started == ["org/first", "org/second"]
    loud = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(loud) == 1
    assert error.code in loud[0].getMessage()


async def test_what_passes_is_waited_for() -> None:
    waits = [HubUnavailable("down", retry_after=7.0)] * 5
    starter = Starter(*waits)
    await starter.run()
    assert starter.slept == [7.0] * 5
    assert starter.started == ["org/first"] * 6 + ["org/second"]


async def test_an_engine_that_fails_again_and_again_is_left_alone() -> None:
    cooling = EngineUnavailable("cooling down", retry_after=2.0)
    starter = Starter(EngineFailed("x"), cooling, EngineFailed("x"), EngineFailed("x"))
    await starter.run()
    assert starter.started == ["org/first"] * 4 + ["org/second"]
