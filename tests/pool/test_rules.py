"""The operator's rules for an engine, such as its group, change while the worker runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.models import EngineSpec, ModelGroup
from router.scheduler.lifecycle import State
from tests.pool.fakes import settle, spec
from tests.pool.harness import PoolHarness

APART = ModelGroup("apart")


def parted(one: EngineSpec) -> EngineSpec:
    return replace(one, group=APART, max_concurrency=1)


@pytest.fixture
def house() -> PoolHarness:
    return PoolHarness().instant()


async def test_a_request_that_was_authorized_before_a_reload_is_kept_to_the_new_rules(
    house: PoolHarness,
) -> None:
    house.call(spec("a"))
    await settle()
    assert house.pool.operated.rule(parted) == []
    late = house.call(spec("b"))  # as it was authorized: in no group
    await settle()
    assert (late.waiting, house.state("b")) == (True, State.FETCHED)
    assert house.scheduler.slots[spec("b").key].spec == parted(spec("b"))
    await house.close()


async def test_a_request_that_is_tried_again_brings_no_former_rules_back(
    house: PoolHarness,
) -> None:
    first = house.call(spec("a"))
    await settle()
    house.pool.operated.rule(parted)
    house.launcher.engines["org/a"].die()
    await settle()
    await first.end()
    await house.later(60.0)
    assert house.state("a") is State.FETCHED
    again = house.call(spec("a"))
    await settle()
    assert again.lease is not None
    assert house.scheduler.slots[spec("a").key].spec.max_concurrency == 1
    await house.close()


async def test_the_log_says_which_group_parts_an_engine_from_others(
    house: PoolHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in ("a", "b"):
        await house.call(spec(name)).end()
    assert house.state("a") is house.state("b") is State.READY
    (leaves,) = house.pool.operated.rule(parted)
    await settle()
    assert f"stopping {leaves}: unloaded (group apart)" in caplog.text
    await house.close()
