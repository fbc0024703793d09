"""A defect in the router ends the worker loudly."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never

_TEST = "tests/pool/test_fail_hard.py::test_"

GUARDS = (
    Guard(
        "After a defect in the pool, waiting requests get an error",
        "router.pool.pool:EnginePool._fail_hard",
        drop("deliver"),
        _TEST + "after_a_defect_every_request_is_told_and_the_worker_leaves[a_timer_tick]",
    ),
    Guard(
        "After a defect in the pool, later requests are refused",
        "router.pool.pool:EnginePool._begin",
        never("broken"),
        _TEST + "after_a_defect_every_request_is_told_and_the_worker_leaves[an_arrival]",
    ),
    Guard(
        "A defect in the pool makes the worker leave",
        "router.pool.pool:EnginePool._fail_hard",
        drop("at_fault"),
        _TEST + "after_a_defect_every_request_is_told_and_the_worker_leaves[a_release]",
    ),
    Guard(
        "A defect in a task of the pool counts as one",
        "router.pool.task_set:PoolTasks._ended",
        drop("_broke"),
        _TEST + "after_a_defect_every_request_is_told_and_the_worker_leaves[an_executor_task]",
    ),
    Guard(
        "After a defect in the pool, every engine is stopped",
        "router.pool.pool:EnginePool.shut_down",
        drop("abort"),
        _TEST + "after_a_defect_a_shutdown_lets_requests_in_flight_end[an_action]",
    ),
    Guard(
        "After a defect in the pool, requests in flight may end",
        "router.pool.pool:EnginePool.shut_down",
        drop("_unused"),
        _TEST + "after_a_defect_a_shutdown_lets_requests_in_flight_end[an_action]",
    ),
    Guard(
        "A defect in the worker's background work makes it leave",
        "router.running:_or_leave",
        drop("at_fault"),
        "tests/test_app.py::test_background_work_that_breaks_down_makes_the_worker_leave",
    ),
)
