from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from router.core.lease import Lease
from router.core.models import EngineSpec
from router.core.pool import EnginePool
from router.core.slots import Limits
from router.core.states import State
from router.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    InsufficientDisk,
    ModelGated,
    ModelLoading,
    ModelTooLarge,
    NoRoom,
    QueueFull,
    RouterError,
)
from tests.core.fakes import (
    GIB,
    FakeClock,
    FakeDownloader,
    FakeGauge,
    FakeLauncher,
    Payer,
    settle,
    spec,
)
from tests.core.invariants import check


class World:
    """A pool on fakes, and the callers of it."""

    def __init__(self, **limits: float) -> None:
        self.clock, self.gauge = FakeClock(), FakeGauge()
        self.downloader, self.launcher = FakeDownloader(), FakeLauncher(self.gauge)
        settings = {"budget": 100 * GIB, "max_loaded": 2, "min_residency": 0.0} | limits
        self.pool = EnginePool(
            Limits(**settings),  # type: ignore[arg-type]
            downloader=self.downloader,
            launcher=self.launcher,
            gauge=self.gauge,
            clock=self.clock,
        )
        self.callers: list[Caller] = []

    def instant(self) -> World:
        self.downloader.instant = self.launcher.instant = True
        return self

    def call(self, what: EngineSpec, payer: str = "", patience: float = 60.0) -> Caller:
        caller = Caller(self, what, payer, patience)
        self.callers.append(caller)
        return caller

    def state(self, name: str = "a") -> State:
        slot = self.pool._machine.slots.get(spec(name).key)
        return slot.state if slot else State.COLD

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pool.tick()
        await settle()

    async def close(self) -> None:
        for caller in self.callers:
            await caller.leave()
        await self.pool.shut_down(0.0)
        assert not self.launcher.alive, "an engine outlived the pool"
        assert not self.pool._leases
        check(self.pool._machine)


class Caller:
    """One request: waits for a lease and holds it until told to end."""

    def __init__(self, world: World, what: EngineSpec, payer: str, patience: float) -> None:
        self.lease: Lease | None = None
        self.error: RouterError | None = None
        self._world, self._spec, self._patience = world, what, patience
        self._payer = Payer(payer) if payer else None
        self._end = asyncio.Event()
        self._answered = False
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        world = self._world
        deadline = world.clock() + self._patience
        try:
            with world.pool.lease(self._spec, self._payer, deadline=deadline) as lease:
                await lease.granted()
                self.lease = lease
                await self._end.wait()
                lease.answered = self._answered
        except RouterError as error:
            self.error = error

    @property
    def waiting(self) -> bool:
        return self.lease is None and self.error is None and not self.task.done()

    async def end(self) -> None:
        self._answered = True
        self._end.set()
        await settle()

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        await settle()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def world_of(stack: AsyncExitStack, **limits: float) -> World:
    world = World(**limits)
    stack.push_async_callback(world.close)
    return world


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


async def test_the_least_recently_used_idle_engine_makes_room(stack: AsyncExitStack) -> None:
    world = world_of(stack).instant()
    for name in ("a", "b", "a"):
        world.clock.advance(1)
        caller = world.call(spec(name))
        await settle()
        await caller.end()
    world.call(spec("c"))
    await settle()
    assert (world.state("a"), world.state("b")) == (State.READY, State.FETCHED)
    assert world.launcher.most_alive == 2


async def test_an_engine_in_use_drains_for_a_waiter_and_is_never_cut_off(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    streaming = world.call(spec("a"))
    await settle()
    waiting = world.call(spec("b"))
    await settle()
    assert world.state("a") is State.DRAINING
    late = world.call(spec("a"))
    await settle()
    assert waiting.waiting
    assert late.waiting
    await streaming.end()
    assert waiting.lease
    assert late.waiting
    await waiting.end()
    assert late.lease


async def test_a_draining_engine_is_revived_when_its_waiter_leaves(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    world.call(spec("a"))
    await settle()
    waiting = world.call(spec("b"))
    await settle()
    late = world.call(spec("a"))
    await settle()
    assert late.waiting
    await waiting.leave()
    assert world.state("a") is State.READY
    assert late.lease


async def test_pinned_engines_are_never_evicted_and_the_rest_is_told_so(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    pinned = world.call(spec("a", pinned=True))
    await settle()
    await pinned.end()
    refused = world.call(spec("b"))
    await settle()
    assert isinstance(refused.error, NoRoom)
    assert world.downloader.calls == [("org/a", "")]
    assert world.state("a") is State.READY


async def test_engines_of_known_size_share_the_budget_by_bytes(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=0).instant()
    sizes = {"a": 50, "b": 30, "c": 20, "d": 40}
    for name, gib in sizes.items():
        world.clock.advance(1)
        caller = world.call(spec(name, memory=gib * GIB))
        await settle()
        assert caller.lease
        await caller.end()
    loaded = {name for name in sizes if world.state(name) is State.READY}
    assert loaded == {"b", "c", "d"}


async def test_a_model_larger_than_the_budget_is_refused_before_the_download(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    caller = world.call(spec("a", memory=101 * GIB))
    await settle()
    assert isinstance(caller.error, ModelTooLarge)
    assert not world.downloader.calls


async def test_nothing_starts_while_others_hold_the_measured_memory(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    world.gauge.outsiders = 95 * GIB
    caller = world.call(spec("a", memory=10 * GIB))
    await settle()
    assert caller.waiting
    world.gauge.outsiders = 0
    await world.later(1.0)
    assert caller.lease


async def test_memory_that_does_not_come_back_is_written_off(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=0).instant()
    first = world.call(spec("a", memory=60 * GIB))
    await settle()
    world.gauge.taken["leaked"] = 50 * GIB
    await first.end()
    other = world.call(spec("b", memory=60 * GIB))
    await settle()
    assert world.state("a") is State.FETCHED
    assert isinstance(other.error, NoRoom)


async def test_a_cold_start_waits_until_the_evicted_engine_is_gone(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    first = world.call(spec("a"))
    await settle()
    await first.end()
    second = world.call(spec("b"))
    await settle()
    assert second.lease
    assert world.launcher.most_alive == 1


async def test_a_fresh_engine_that_answered_is_safe_for_min_residency(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1, min_residency=15.0).instant()
    first = world.call(spec("a"))
    await settle()
    await first.end()
    second = world.call(spec("b"))
    await settle()
    await world.later(14.0)
    assert world.state("a") is State.READY
    await world.later(1.0)
    assert second.lease


async def test_an_idle_engine_expires_after_its_idle_ttl(stack: AsyncExitStack) -> None:
    world = world_of(stack).instant()
    caller = world.call(spec("a", idle_ttl=30.0))
    await settle()
    await world.later(31.0)
    assert world.state("a") is State.READY
    await caller.end()
    await world.later(29.0)
    assert world.state("a") is State.READY
    await world.later(1.0)
    assert world.state("a") is State.FETCHED


async def test_steady_traffic_for_one_model_does_not_starve_another(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    current = world.call(spec("a"))
    await settle()
    other = world.call(spec("b"))
    for _ in range(5):  # always one in flight, as long as the engine takes them
        following = world.call(spec("a"))
        await settle()
        await current.end()
        current = following
    assert other.lease


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


async def test_a_failed_start_fails_its_waiters_and_cools_down(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    for failures in (1, 2):
        caller = world.call(spec("a"))
        await settle()
        await world.later(1.0)
        world.launcher.fail("a")
        await settle()
        assert isinstance(caller.error, EngineFailed), failures
    refused = world.call(spec("a"))
    await settle()
    assert isinstance(refused.error, EngineUnavailable)
    assert refused.error.retry_after == pytest.approx(2.0)
    assert len(world.launcher.starts) == 2


async def test_a_short_cool_down_is_waited_out(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    world.call(spec("a"))
    await settle()
    world.launcher.fail("a")
    await settle()
    again = world.call(spec("a"))
    await settle()
    assert again.waiting
    assert len(world.launcher.starts) == 1
    await world.later(1.0)
    world.launcher.ready("a")
    await settle()
    assert again.lease


async def test_an_engine_out_of_memory_is_tried_smaller_once(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    caller = world.call(spec("a"))
    await settle()
    world.launcher.fail("a", out_of_memory=True)
    await settle()
    assert caller.waiting
    assert [allotment.smaller for _, allotment in world.launcher.starts] == [False, True]
    world.launcher.fail("a", out_of_memory=True)
    await settle()
    assert isinstance(caller.error, EngineFailed)


async def test_a_crash_is_noticed_at_once_and_the_next_request_gets_a_fresh_engine(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    victim = world.call(spec("a"))
    await settle()
    assert victim.lease
    world.launcher.engine("a").die()
    await settle()
    assert world.state() is State.FETCHED
    await victim.end()
    following = world.call(spec("a"))
    await world.later(1.0)
    assert following.lease
    assert following.lease.grant.incarnation != victim.lease.grant.incarnation


async def test_the_back_off_doubles_with_each_crash_until_a_whole_answer(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    waits = []
    for _ in range(4):
        caller = world.call(spec("a"))
        await settle()
        world.launcher.engine("a").die()
        await settle()
        slot = world.pool._machine.slots[spec("a").key]
        waits.append(slot.retry_at - world.clock())
        await caller.leave()
        await world.later(waits[-1])
    assert waits == [1.0, 2.0, 4.0, 8.0]
    caller = world.call(spec("a"))
    await settle()
    await caller.end()
    assert slot.failures == 0


async def test_those_who_wait_for_an_engine_that_keeps_crashing_are_told(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_concurrency=1).instant()
    for cool_down in (1.0, 2.0):
        world.call(spec("a"))
        await settle()
        waiting = world.call(spec("a"))
        await settle()
        world.launcher.engine("a").die()
        await settle()
        if cool_down == 1.0:
            assert waiting.waiting
            await waiting.leave()
            await world.later(cool_down)
    assert isinstance(waiting.error, EngineUnavailable)
    assert waiting.error.retry_after == pytest.approx(2.0)


async def test_a_broken_connection_to_a_dead_engine_counts_as_its_crash(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    caller = world.call(spec("a"))
    await settle()
    assert caller.lease
    await world.pool.suspect(caller.lease)
    assert world.state() is State.READY
    world.launcher.engine("a").healthy = False
    await world.pool.suspect(caller.lease)
    assert world.state() is State.STOPPING


async def test_a_silent_engine_is_probed_and_a_stalled_one_replaced(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, stall_timeout=120.0).instant()
    world.call(spec("a"))
    await settle()
    await world.later(121.0)
    assert world.state() is State.READY  # slow, but it answered the probe
    world.launcher.engine("a").healthy = False
    await world.later(121.0)
    assert world.state() is State.FETCHED


async def test_after_a_thaw_every_engine_must_show_that_it_works(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    for name in ("a", "b"):
        caller = world.call(spec(name))
        await settle()
        await caller.end()
    world.launcher.engine("a").healthy = False
    world.pool.thawed()
    await settle()
    assert (world.state("a"), world.state("b")) == (State.FETCHED, State.READY)


async def test_an_idle_engine_is_left_alone(stack: AsyncExitStack) -> None:
    world = world_of(stack, stall_timeout=120.0).instant()
    caller = world.call(spec("a"))
    await settle()
    await caller.end()
    world.launcher.engine("a").healthy = False
    await world.later(1000.0)
    assert world.state() is State.READY


async def test_the_queue_is_bounded(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_queue=3)
    callers = [world.call(spec("a")) for _ in range(5)]
    await settle()
    assert [isinstance(c.error, QueueFull) for c in callers] == [False] * 3 + [True] * 2


async def test_an_engine_takes_max_concurrency_requests_and_the_rest_wait_their_turn(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_concurrency=2).instant()
    callers = [world.call(spec("a")) for _ in range(4)]
    await settle()
    assert [bool(caller.lease) for caller in callers] == [True, True, False, False]
    await callers[1].end()
    assert [bool(caller.lease) for caller in callers] == [True, True, True, False]


async def test_a_waiter_is_told_what_it_waited_for(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=1)
    loading = world.call(spec("a"), patience=10.0)
    await settle()
    await world.later(10.0)
    assert isinstance(loading.error, ModelLoading)
    assert loading.error.retry_after
    world.downloader.finish("a")
    world.downloader.instant = world.launcher.instant = True
    world.call(spec("b"))
    await settle()
    queued = world.call(spec("a"), patience=10.0)
    await settle()
    await world.later(10.0)
    assert isinstance(queued.error, DeadlineExceeded)


@pytest.mark.parametrize("stage", ["fetching", "starting", "granted", "in flight"])
async def test_cancelling_one_waiter_leaves_the_work_of_others_alone(
    stack: AsyncExitStack, stage: str
) -> None:
    world = world_of(stack)
    first, second = world.call(spec("a"), payer="x"), world.call(spec("a"), payer="y")
    await settle()
    if stage != "fetching":
        world.downloader.finish("a")
        await settle()
    if stage == "granted":
        world.launcher.ready("a")
        while world.state() is not State.READY:  # noqa: ASYNC110  the very next step
            await asyncio.sleep(0)
        assert first.lease is None
    if stage == "in flight":
        world.launcher.ready("a")
        await settle()
        assert first.lease
    first.task.cancel()
    await asyncio.wait({first.task})
    check(world.pool._machine)
    if stage == "fetching":
        world.downloader.finish("a")
        await settle()
    if stage in ("fetching", "starting"):
        world.launcher.ready("a")
    await settle()
    assert second.lease
    slot = world.pool._machine.slots[spec("a").key]
    assert len(slot.leases) == 1
    assert len(world.launcher.starts) == 1


@pytest.mark.parametrize("stage", ["fetching", "starting", "ready"])
async def test_shutting_down_refuses_who_waits_and_leaves_no_process(stage: str) -> None:
    world = World()
    caller = world.call(spec("a"))
    await settle()
    if stage != "fetching":
        world.downloader.finish("a")
        await settle()
    if stage == "ready":
        world.launcher.ready("a")
        await settle()
        await caller.end()
    await world.pool.shut_down(10.0)
    await settle()
    assert isinstance(caller.error, EngineUnavailable) == (stage != "ready")
    late = world.call(spec("b"))
    await settle()
    assert isinstance(late.error, EngineUnavailable)
    await world.close()


async def test_shutting_down_lets_a_stream_end(stack: AsyncExitStack) -> None:
    world = world_of(stack).instant()
    streaming = world.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(world.pool.shut_down(10.0))
    await settle()
    assert world.state() is State.DRAINING
    await streaming.end()
    await leaving
    assert streaming.error is None


async def test_a_stream_that_outlasts_the_drain_deadline_is_cut_at_once() -> None:
    world = World().instant()
    world.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(world.pool.shut_down(10.0))
    await settle()
    await world.later(10.0)
    await leaving
    assert world.launcher.engine("a").stopped_at_once
    await world.close()


async def test_an_idle_engine_is_asked_to_leave() -> None:
    world = World().instant()
    caller = world.call(spec("a"))
    await settle()
    await caller.end()
    await world.pool.shut_down(10.0)
    assert world.launcher.engine("a").stopped_at_once is False
    await world.close()


async def test_what_falls_due_just_after_a_pass_is_not_missed(stack: AsyncExitStack) -> None:
    """A tick came a moment early; by the time that the next was to be set, it was due."""
    world = world_of(stack)
    world.downloader.instant = True
    world.call(spec("a"))
    await settle()
    world.launcher.fail("a")
    await settle()
    again = world.call(spec("a"))
    await settle()
    slot = world.pool._machine.slots[spec("a").key]
    world.clock.now = slot.retry_at - 1e-9
    late = iter([slot.retry_at - 1e-9])  # what the pass sees; whoever asks later: due
    world.pool._clock = lambda: next(late, slot.retry_at)
    world.pool.tick()
    assert world.pool._timer is not None
    assert world.pool._timer.when() <= asyncio.get_running_loop().time()
    world.pool._clock = world.clock
    world.clock.now = slot.retry_at
    await asyncio.sleep(0.01)
    world.launcher.ready("a")
    await settle()
    assert again.lease


async def test_an_engine_that_cannot_be_killed_makes_the_worker_leave() -> None:
    world = World(max_loaded=1).instant()
    caller = world.call(spec("a"))
    await settle()
    world.launcher.engine("a").killable = False
    await caller.end()
    world.call(spec("b"))
    await settle()
    assert world.pool.at_fault.is_set()
    assert len(world.launcher.starts) == 1
    await world.pool.shut_down(1.0)


async def test_a_request_that_is_tried_again_keeps_its_place(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=1, max_concurrency=1).instant()
    first = world.call(spec("a"))
    await settle()
    second = world.call(spec("a"))
    await settle()
    assert first.lease
    deadline = world.clock() + 60
    retried = asyncio.create_task(_hold(world.pool, deadline, first.lease.age))
    await settle()
    await first.end()
    assert second.waiting
    assert not retried.done()
    retried.cancel()
    await asyncio.wait({retried})
    await settle()
    assert second.lease


async def test_who_waits_can_look_up_now_and_then(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    with world.pool.lease(spec("a"), None, deadline=world.clock() + 60) as lease:
        assert not await lease.granted(within=0.001)
        world.downloader.finish("a")
        await settle()
        world.launcher.ready("a")
        assert await lease.granted(within=5.0)


async def _hold(pool: EnginePool, deadline: float, age: int) -> None:
    with pool.lease(spec("a"), None, deadline=deadline, age=age) as lease:
        await lease.granted()
        await asyncio.Event().wait()


async def test_a_strangers_request_does_not_change_how_the_operators_model_runs(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=0)
    world.downloader.instant = True
    ours = spec("a", memory=40 * GIB, pinned=True, listed=True)
    operators = world.call(ours)
    await settle()
    stranger = world.call(spec("a"))  # claims the whole budget
    await settle()
    world.launcher.ready("a")
    await settle()
    assert operators.lease
    assert isinstance(stranger.error, NoRoom)
    assert world.pool.loaded() == [ours]


async def test_a_device_that_is_lost_does_not_keep_the_worker_from_leaving() -> None:
    world = World().instant()
    caller = world.call(spec("a"))
    await settle()
    await caller.end()

    async def lost(target: int) -> int:
        raise OSError("GPU is lost")

    world.gauge.recovered = lost  # type: ignore[method-assign]
    await asyncio.wait_for(world.pool.shut_down(1.0), 5)
    assert world.pool.at_fault.is_set()


async def test_a_device_that_can_not_be_measured_makes_the_worker_leave() -> None:
    world = World(max_loaded=1).instant()

    def lost() -> int:
        raise OSError("GPU is lost")

    world.gauge.free = lost  # type: ignore[method-assign]
    world.call(spec("a"))
    await settle()
    assert world.pool.at_fault.is_set()
    await world.pool.shut_down(0.0)


async def test_an_engine_that_crashes_beside_a_start_does_not_make_memory_look_missing(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=0).instant()
    world.call(spec("a", memory=60 * GIB))
    await settle()
    world.launcher.instant = False
    second = world.call(spec("b", memory=30 * GIB))
    await settle()
    world.gauge.taken.pop(world.launcher.engine("a").number)  # freed before it is noticed
    world.launcher.engine("a").die()
    await settle()
    world.launcher.ready("b")
    await settle()
    assert second.lease
    assert world.pool._machine._books.written_off == 0


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


async def test_who_needs_less_goes_before_who_waits_for_memory_of_others(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=0).instant()
    world.gauge.outsiders = 60 * GIB
    large = world.call(spec("a", memory=60 * GIB))
    await settle()
    small = world.call(spec("b", memory=20 * GIB))
    await settle()
    assert small.lease
    assert large.waiting


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


async def test_a_hurry_is_not_undone_by_the_grace_that_follows() -> None:
    world = World().instant()
    world.call(spec("a"))
    await settle()
    world.pool.hurry()
    leaving = asyncio.create_task(world.pool.shut_down(1000.0))
    await settle()
    await world.later(0.0)
    await asyncio.wait_for(leaving, 5)
    await world.close()


async def test_a_retry_that_had_a_place_finds_one_in_a_full_queue(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_queue=1)
    world.call(spec("a"))
    await settle()
    retried = asyncio.create_task(_hold(world.pool, world.clock() + 60, age=0))
    await settle()
    assert not retried.done()
    retried.cancel()
    await asyncio.wait({retried})
