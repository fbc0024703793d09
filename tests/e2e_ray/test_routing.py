"""Ray's request router follows the plan of a request. Needs no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    ReplicaID,
    RequestMetadata,
)
from ray.serve.request_router import PendingRequest

from router.ray.affinity import AffinityRouter
from router.ray.messages import Receipt, RoutePlan

ENGINES = DeploymentID("engines")
WARM = {"models": {"model": ("loaded", 0)}, "capacity": 64, "room": True}


class Routing:
    """A router that knows two replicas: `a`, where the model is warm, and `b`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.router = AffinityRouter(
            ENGINES, DeploymentHandleSource.REPLICA, get_curr_time_s=lambda: self.now
        )
        self.router.initialize_state()
        self.replicas = {name: replica(name) for name in ("a", "b")}
        self.router._take("a", WARM)
        self.router._take("b", {"models": {}, "capacity": 64, "room": True})

    async def choose(self, plan: object, *without: str) -> list[list[str]]:
        """The chosen replicas, by rank."""
        there = [one for name, one in self.replicas.items() if name not in without]
        ranks = await self.router.choose_replicas(there, pending(plan))
        return [[one.replica_id.unique_id for one in rank] for rank in ranks]

    def loads(self) -> dict[str, int]:
        return {name: one.load for name, one in self.router._fleet._workers.items()}


def replica(name: str) -> Any:
    return SimpleNamespace(replica_id=ReplicaID(name, ENGINES))


def pending(plan: object) -> PendingRequest:
    metadata = RequestMetadata(request_id="request", internal_request_id="request")
    return PendingRequest(args=[plan], kwargs={}, metadata=metadata, created_at=0.0)


@pytest.fixture
async def routing() -> Routing:
    return Routing()


async def test_a_request_goes_where_its_model_is_warm(routing: Routing) -> None:
    assert await routing.choose(RoutePlan("model")) == [["a"]]


async def test_a_replica_that_stays_busy_is_not_waited_for(routing: Routing) -> None:
    routing.now = 5.0
    assert (await routing.choose(RoutePlan("model")))[:2] == [["a"], ["b"]]


async def test_an_attempt_avoids_where_one_before_it_was_lost(routing: Routing) -> None:
    assert await routing.choose(RoutePlan("model", avoid=("a",))) == [["b"], []]
    both = await routing.choose(RoutePlan("model", avoid=("a", "b")))
    assert both == [["a"]], "where all were lost, the best of them"


async def test_ray_pauses_before_it_asks_full_replicas_again(routing: Routing) -> None:
    request = pending(RoutePlan("model"))
    await routing.router.choose_replicas([*routing.replicas.values()], request)
    assert request.routing_context.should_backoff


async def test_word_of_an_answer_goes_to_its_own_replica(routing: Routing) -> None:
    assert await routing.choose(Receipt("b", "answer", 1)) == [["b"]]


async def test_a_replica_that_died_is_forgotten(routing: Routing) -> None:
    routing.router.on_replica_actor_died(ReplicaID("a", ENGINES))
    assert await routing.choose(RoutePlan("model"), "a") == [["b"]]


class Result:
    """The result of a sent request. Ray reports its end from another thread."""

    def __init__(self, *, over: bool = False) -> None:
        self._over, self._callbacks = over, list[Callable[[object], None]]()

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        self._callbacks.append(callback)
        if self._over:
            self.end()

    def end(self) -> None:
        for callback in self._callbacks:
            callback(None)


async def test_a_plan_learns_where_it_went_and_counts_until_it_is_over(
    routing: Routing,
) -> None:
    plan, router, result = RoutePlan("cold"), routing.router, Result()
    router.on_request_routed(pending(plan), ReplicaID("b", ENGINES), result)
    assert plan.replica == "b"
    assert routing.loads() == {"a": 0, "b": 1}
    assert await routing.choose(RoutePlan("cold")) == [["b"]]
    result.end()
    await asyncio.sleep(0)
    assert routing.loads() == {"a": 0, "b": 0}


async def test_a_request_that_is_over_before_ray_says_where_it_went_does_not_count(
    routing: Routing,
) -> None:
    b = ReplicaID("b", ENGINES)
    routing.router.on_request_completed(b, "request")
    routing.router.on_request_routed(pending(RoutePlan("model")), b, Result(over=True))
    await asyncio.sleep(0)
    assert routing.loads() == {"a": 0, "b": 0}
