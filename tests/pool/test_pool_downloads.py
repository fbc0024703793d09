from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from router.errors import (
    InsufficientDisk,
    ModelGated,
    ModelTooLarge,
)
from router.models import MemoryPlan
from router.pool.interfaces import Snapshot
from router.scheduler import events
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import pool_harness


async def test_a_request_downloads_starts_and_gets_the_engine(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack)
    caller = harness.call(spec("a"), token="alice")
    await settle()
    assert harness.downloader.calls == [("org/a", "alice")]
    assert harness.state() is State.FETCHING
    harness.downloader.finish("a")
    await settle()
    assert harness.state() is State.STARTING
    harness.launcher.ready("a")
    await settle()
    assert caller.lease is not None
    assert caller.lease.engine.url == harness.launcher.engine("a").url
    assert harness.state() is State.READY


async def test_the_scheduler_hears_once_that_the_small_files_are_there(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    caller = harness.call(spec("a"))
    await settle()
    snapshot = Snapshot(Path("/snapshots/a"), MemoryPlan(15 * GIB, 1 << 17, 2 * GIB, 8192))
    for done in range(1, 4):
        harness.downloader.tell("a", done, 4, snapshot)
    story = list(harness.scheduler.slots[spec("a").key].tell_story())
    (told,) = (line for line in story if "Described" in line)
    assert "/snapshots/a" in told
    assert f"weights={15 * GIB}" in told
    assert harness.state() is State.FETCHING
    harness.downloader.finish("a")
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert caller.lease


async def test_requests_that_arrive_together_share_one_download_and_one_start(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack).instant()
    callers = [harness.call(spec("a"), token=str(n)) for n in range(20)]
    await settle()
    assert all(caller.lease for caller in callers)
    assert len(harness.downloader.calls) == len(harness.launcher.starts) == 1


async def test_a_model_larger_than_the_budget_is_refused_before_the_download(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    caller = harness.call(spec("a", memory=101 * GIB))
    await settle()
    assert isinstance(caller.error, ModelTooLarge)
    assert not harness.downloader.calls


async def test_when_a_token_is_refused_the_next_waiting_requests_token_downloads(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    refused = [harness.call(spec("a"), token="mallory") for _ in range(2)]
    other = harness.call(spec("a"), token="alice")
    await settle()
    harness.downloader.fail("a", ModelGated("no"))
    await settle()
    assert all(isinstance(caller.error, ModelGated) for caller in refused)
    assert harness.downloader.calls == [("org/a", "mallory"), ("org/a", "alice")]
    harness.downloader.finish("a")
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert other.lease


async def test_each_token_is_tried_once(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack)
    callers = [harness.call(spec("a"), token=name) for name in ("x", "y", "x")]
    await settle()
    harness.downloader.fail("a", ModelGated("no"))
    await settle()
    again = harness.call(spec("a"), token="x")
    await settle()
    harness.downloader.fail("a", ModelGated("no"))
    await settle()
    assert [token for _, token in harness.downloader.calls] == ["x", "y"]
    assert all(isinstance(c.error, ModelGated) for c in (*callers, again))


async def test_a_disk_error_fails_all_waiting_requests_and_the_next_one_tries_again(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    callers = [harness.call(spec("a"), token=name) for name in ("x", "y")]
    await settle()
    harness.downloader.fail("a", InsufficientDisk("10 bytes short"))
    await settle()
    assert all(isinstance(caller.error, InsufficientDisk) for caller in callers)
    harness.call(spec("a"))
    await settle()
    assert len(harness.downloader.calls) == 2


async def test_what_keeps_a_model_from_the_disk_is_told_to_the_operator(
    stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    harness = pool_harness(stack)
    for name, error in (("a", InsufficientDisk("10 bytes short")), ("b", ModelGated("no"))):
        harness.call(spec(name), token="x")
        await settle()
        harness.downloader.fail(name, error)
        await settle()
    (told,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert told.endswith(" was not downloaded: 10 bytes short")
    assert "org/a" in told


async def test_a_download_continues_when_its_first_caller_leaves(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack)
    first = harness.call(spec("a"), token="x")
    other = harness.call(spec("a"), token="y")
    await settle()
    await first.leave()
    harness.downloader.finish("a")
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert other.lease
    assert len(harness.downloader.calls) == 1


async def test_a_download_without_waiting_requests_is_cancelled_after_a_while(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, fetch_linger=60.0)
    caller = harness.call(spec("a"))
    await settle()
    await caller.leave()
    await harness.later(59.0)
    assert not harness.downloader.swept
    await harness.later(1.0)
    assert harness.downloader.swept == ["org/a"]
    assert harness.state() is State.COLD


async def test_files_are_verified_again_after_a_failed_start(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    harness.call(spec("a"))
    await settle()
    harness.launcher.fail("a")
    await settle()
    assert harness.state() is State.COLD
    again = harness.call(spec("a"))
    await settle()
    assert len(harness.downloader.calls) == 2
    await harness.later(1.0)
    harness.launcher.ready("a")
    await settle()
    assert again.lease


async def test_a_refused_token_gets_the_same_error_while_the_download_runs(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    harness.call(spec("a"), token="x")
    other = harness.call(spec("a"), token="y")
    await settle()
    harness.downloader.fail("a", ModelGated("x is not accepted"))
    await settle()
    again = harness.call(spec("a"), token="x")
    await settle()
    assert again.error is not None
    assert again.error.message == "x is not accepted"
    assert other.waiting


async def test_no_frame_of_a_refused_download_or_request_is_kept(stack: AsyncExitStack) -> None:
    """Frames hold tokens, and a download's errors are kept while it runs."""
    harness = pool_harness(stack)
    refused = [harness.call(spec("a"), token="x") for _ in range(2)]
    harness.call(spec("a"), token="y")
    await settle()
    harness.downloader.fail("a", ModelGated("no"))
    await settle()
    first, second = (caller.error for caller in refused)
    assert first is not None
    assert first is not second
    slot = harness.scheduler.slots[spec("a").key]
    told = [what.error for _, what in slot.story if isinstance(what, events.FetchFailed)]
    for error in (*told, *slot.refused.values()):
        assert error.message == first.message
        assert (error.__traceback__, error.__context__, error.__cause__) == (None,) * 3


async def test_the_snapshot_of_an_unloaded_model_can_be_forgotten_and_is_fetched_again(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1).instant()
    await harness.call(spec("a")).end()
    await harness.call(spec("b")).end()
    model = spec("a").model
    assert harness.state("a") is State.FETCHED
    assert harness.pool.forget_snapshot(model.repo_id, model.commit)
    assert harness.state("a") is State.COLD
    again = harness.call(spec("a"))
    await settle()
    assert again.lease
    assert [name for name, _ in harness.downloader.calls] == ["org/a", "org/b", "org/a"]


async def test_a_snapshot_that_is_being_fetched_wanted_or_in_use_is_not_forgotten(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1)
    model = spec("a").model
    holder = harness.call(spec("b"))
    await settle()
    harness.downloader.finish("b")
    await settle()
    harness.launcher.ready("b")
    await settle()
    harness.call(spec("a"))
    await settle()
    assert not harness.pool.forget_snapshot(model.repo_id, model.commit)
    harness.downloader.finish("a")
    await settle()
    assert harness.state("a") is State.FETCHED  # and waits for room
    assert not harness.pool.forget_snapshot(model.repo_id, model.commit)
    assert harness.state("a") is State.FETCHED
    await holder.end()
    assert harness.state("a") is State.STARTING
    assert not harness.pool.forget_snapshot(model.repo_id, model.commit)
    harness.launcher.ready("a")
    await settle()
    assert not harness.pool.forget_snapshot(model.repo_id, model.commit)
    assert harness.state("a") is State.READY
