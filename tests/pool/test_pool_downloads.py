from __future__ import annotations

from contextlib import AsyncExitStack

from router.errors import (
    InsufficientDisk,
    ModelGated,
    ModelTooLarge,
)
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import world_of


async def test_a_request_downloads_starts_and_gets_the_engine(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    caller = world.call(spec("a"), payer="alice")
    await settle()
    assert world.downloader.calls == [("org/a", "alice")]
    assert world.state() is State.FETCHING
    world.downloader.finish("a")
    await settle()
    assert world.state() is State.STARTING
    world.launcher.ready("a")
    await settle()
    assert caller.lease is not None
    assert caller.lease.engine.url == world.launcher.engine("a").url
    assert world.state() is State.READY


async def test_requests_that_arrive_together_share_one_download_and_one_start(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    callers = [world.call(spec("a"), payer=str(n)) for n in range(20)]
    await settle()
    assert all(caller.lease for caller in callers)
    assert len(world.downloader.calls) == len(world.launcher.starts) == 1


async def test_a_model_larger_than_the_budget_is_refused_before_the_download(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    caller = world.call(spec("a", memory=101 * GIB))
    await settle()
    assert isinstance(caller.error, ModelTooLarge)
    assert not world.downloader.calls


async def test_the_next_entitled_waiter_pays_when_the_payer_is_refused(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    refused = [world.call(spec("a"), payer="mallory") for _ in range(2)]
    heir = world.call(spec("a"), payer="alice")
    await settle()
    world.downloader.fail("a", ModelGated("no"))
    await settle()
    assert all(isinstance(caller.error, ModelGated) for caller in refused)
    assert world.downloader.calls == [("org/a", "mallory"), ("org/a", "alice")]
    world.downloader.finish("a")
    await settle()
    world.launcher.ready("a")
    await settle()
    assert heir.lease


async def test_each_token_pays_once(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    callers = [world.call(spec("a"), payer=name) for name in ("x", "y", "x")]
    await settle()
    world.downloader.fail("a", ModelGated("no"))
    await settle()
    again = world.call(spec("a"), payer="x")
    await settle()
    world.downloader.fail("a", ModelGated("no"))
    await settle()
    assert [payer for _, payer in world.downloader.calls] == ["x", "y"]
    assert all(isinstance(c.error, ModelGated) for c in (*callers, again))


async def test_a_disk_error_fails_everybody_and_the_next_request_tries_again(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    callers = [world.call(spec("a"), payer=name) for name in ("x", "y")]
    await settle()
    world.downloader.fail("a", InsufficientDisk("10 bytes short"))
    await settle()
    assert all(isinstance(caller.error, InsufficientDisk) for caller in callers)
    world.call(spec("a"))
    await settle()
    assert len(world.downloader.calls) == 2


async def test_a_download_goes_on_when_its_payer_leaves(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    payer = world.call(spec("a"), payer="x")
    other = world.call(spec("a"), payer="y")
    await settle()
    await payer.leave()
    world.downloader.finish("a")
    await settle()
    world.launcher.ready("a")
    await settle()
    assert other.lease
    assert len(world.downloader.calls) == 1


async def test_a_download_that_nobody_wants_is_cancelled_after_a_while(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, fetch_linger=60.0)
    caller = world.call(spec("a"))
    await settle()
    await caller.leave()
    await world.later(59.0)
    assert not world.downloader.swept
    await world.later(1.0)
    assert world.downloader.swept == ["org/a"]
    assert world.state() is State.COLD


async def test_files_are_looked_at_again_after_a_start_that_failed(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    world.call(spec("a"))
    await settle()
    world.launcher.fail("a")
    await settle()
    assert world.state() is State.COLD
    again = world.call(spec("a"))
    await settle()
    assert len(world.downloader.calls) == 2
    await world.later(1.0)
    world.launcher.ready("a")
    await settle()
    assert again.lease


async def test_a_token_that_was_refused_hears_its_own_refusal_again(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    world.call(spec("a"), payer="x")
    other = world.call(spec("a"), payer="y")
    await settle()
    world.downloader.fail("a", ModelGated("x is not accepted"))
    await settle()
    again = world.call(spec("a"), payer="x")
    await settle()
    assert again.error is not None
    assert again.error.message == "x is not accepted"
    assert other.waiting


async def test_files_that_nothing_is_up_with_may_go_and_are_fetched_again(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    await world.call(spec("a")).end()
    await world.call(spec("b")).end()
    model = spec("a").model
    assert world.state("a") is State.FETCHED
    assert world.pool.forget_snapshot(model.repo_id, model.commit)
    assert world.state("a") is State.COLD
    again = world.call(spec("a"))
    await settle()
    assert again.lease
    assert [name for name, _ in world.downloader.calls] == ["org/a", "org/b", "org/a"]


async def test_files_that_are_on_their_way_wanted_or_in_use_may_not_go(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1)
    model = spec("a").model
    holder = world.call(spec("b"))
    await settle()
    world.downloader.finish("b")
    await settle()
    world.launcher.ready("b")
    await settle()
    world.call(spec("a"))
    await settle()
    assert not world.pool.forget_snapshot(model.repo_id, model.commit)
    world.downloader.finish("a")
    await settle()
    assert world.state("a") is State.FETCHED  # and waits for room
    assert not world.pool.forget_snapshot(model.repo_id, model.commit)
    assert world.state("a") is State.FETCHED
    await holder.end()
    assert world.state("a") is State.STARTING
    assert not world.pool.forget_snapshot(model.repo_id, model.commit)
    world.launcher.ready("a")
    await settle()
    assert not world.pool.forget_snapshot(model.repo_id, model.commit)
    assert world.state("a") is State.READY
