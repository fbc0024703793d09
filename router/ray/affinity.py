"""A request router for Ray Serve that uses the fleet's policy: affinity first, load second."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from router.fleet.report import WorkerReport
from router.fleet.routing import Fleet
from router.ray.messages import Look, Receipt, RoutePlan
from router.ray.warm_models import report_of

_PATIENCE = 3.0  # seconds for the best replica to say how many requests it has

# Reasons besides the policy's:
_ANY = "any"  # the request has no model, or no replica is known
_ELSEWHERE = "elsewhere"  # the best replica was full, silent, or had lost the request


class AffinityRouter(RequestRouter):  # type: ignore[misc]  # Ray has no types
    """The router of one ingress. Ray calls all its methods in one event loop."""

    def initialize_state(self, *, at_random: bool = False) -> None:
        """`at_random`: choose at random, for comparisons."""
        self._fleet, self._at_random = Fleet(), at_random
        self._published: dict[str, object] = {}

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        there = {one.replica_id.unique_id: one for one in replicas}
        for name in [name for name in self._published if name not in there]:
            self._forget(name)
        for name, replica in there.items():
            self._take(name, replica.routing_stats)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._forget(replica_id.unique_id)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        if pending_request is not None:
            # Without this, Ray asks again without a pause if all replicas are full.
            pending_request.routing_context.should_backoff = True
        plan = pending_request.args[0] if pending_request and pending_request.args else None
        by_name = {one.replica_id.unique_id: one for one in candidate_replicas}
        if isinstance(plan, Receipt | Look) and plan.replica in by_name:
            return [[by_name[plan.replica]]]
        if not isinstance(plan, RoutePlan):
            # For example, a receipt or a look for a replica that is gone. Other replicas
            # ignore it.
            return [candidate_replicas]
        usable = {name: one for name, one in by_name.items() if name not in plan.avoid}
        usable = usable or by_name
        plan.meant, plan.why = "", _ANY
        if self._at_random or not plan.model:
            return [random.sample([*usable.values()], len(usable))]
        choice = self._fleet.choose(plan.model, plan.session)
        if choice is None:
            return [[*usable.values()]]
        plan.meant, plan.why = choice.worker, choice.reason.value
        if choice.worker in usable and self._waited(pending_request) < _PATIENCE:
            # Waiting for a busy replica is better than a cold start elsewhere.
            return [[usable[choice.worker]]]
        best = [name for name in (choice.worker, *choice.others) if name in usable]
        rest = [one for name, one in usable.items() if name not in best]
        return [*([usable[name]] for name in best), rest]

    def _waited(self, request: PendingRequest) -> float:
        waited: float = self._get_curr_time_s() - request.created_at
        return waited

    def on_request_routed(
        self,
        pending_request: PendingRequest,
        replica_id: ReplicaID,
        result: Any,  # noqa: ANN401 - Ray has no types
    ) -> None:
        super().on_request_routed(pending_request, replica_id, result)
        plan = pending_request.args[0] if pending_request.args else None
        if isinstance(plan, RoutePlan):
            name = plan.replica = replica_id.unique_id
            if plan.meant not in ("", name):
                plan.why = _ELSEWHERE
            self._fleet.sent(name, plan.model)
            # `on_request_completed` would not do: for a short answer, Ray can call it before
            # this method.
            soon = asyncio.get_running_loop().call_soon_threadsafe
            result.add_done_callback(lambda _: soon(self._fleet.ended, name, plan.model))

    def _take(self, name: str, stats: dict[str, object]) -> None:
        """Apply new statistics. Old ones would undo this router's own counts since then."""
        if name in self._published and self._published[name] == stats:
            return
        self._published[name] = stats
        self._fleet.report(name, report_of(stats) or WorkerReport())

    def _forget(self, name: str) -> None:
        self._published.pop(name, None)
        self._fleet.forget(name)
