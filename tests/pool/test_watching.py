from __future__ import annotations

from router.scheduler import events
from tests.pool.fakes import spec
from tests.pool.harness import PoolHarness


async def test_a_watcher_need_not_hear_of_requests_that_are_served_at_once() -> None:
    pool = PoolHarness().instant().pool
    everything, rare = list[events.Event](), list[events.Event]()
    with (
        pool.watch(lambda _, event, __: everything.append(event)),
        pool.watch(lambda _, event, __: rare.append(event), usual=False),
    ):
        for _ in range(3):
            with pool.lease(spec("a"), None, deadline=1e9) as lease:
                await lease.granted()
        await pool.shut_down(0.0)
    assert sum(isinstance(event, events.Wanted) for event in everything) == 3
    assert sum(isinstance(event, events.Wanted) for event in rare) == 1
    assert any(isinstance(event, events.Healthy) for event in rare)
