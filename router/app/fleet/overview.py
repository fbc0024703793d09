"""The operator's view at an ingress: the ingress itself, and all replicas that it knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import orjson

from router.admin.fleet_metrics import ReplicaLoad
from router.admin.joined_text import joined_text
from router.admin.json_text import to_json
from router.hub.watch import HubWatch
from router.ray.messages import Look, ReplicaState, Shown
from router.ray.replica_call import VisitedReplicas
from router.requests.interfaces import Health


class Overview:
    """Implements `FleetShown` and, with the replicas' own metrics, `Scraped`.

    `states` returns the states of the replicas that answer. Each metric gets a label `replica`.
    """

    def __init__(
        self,
        name: str,
        replicas: VisitedReplicas,
        states: Callable[[], Sequence[ReplicaState]],
        *,
        health: Callable[[], Health],
        hub: HubWatch,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._replicas, self._states = name, replicas, states
        self._health, self._hub, self._wall = health, hub, wall
        self._started_at = wall()

    async def state(self) -> bytes:
        health, found = self._health(), await self._all(Shown.STATE)
        replicas = [
            {"replica": name, "state": None if said is None else orjson.Fragment(said)}
            for name, said in found
        ]
        ingress = {
            "name": self._name,
            "started_at": self._started_at,
            "ready": health.ready,
            "leaving": health.leaving,
            "hub_unavailable_since": self._hub.unavailable_since,
        }
        return to_json({"now": self._wall(), "ingress": ingress, "replicas": replicas})

    async def text(self) -> bytes:
        said = [(name, text) for name, text in await self._all(Shown.METRICS) if text]
        return await asyncio.to_thread(_joined, said)

    def loads(self) -> Iterator[ReplicaLoad]:
        return (
            ReplicaLoad(one.replica, one.in_flight, one.waiting, one.ready)
            for one in self._states()
        )

    async def _all(self, what: Shown) -> list[tuple[str, bytes | None]]:
        names = sorted(one.replica for one in self._states())
        looks = (self._replicas.shown(Look(name, what)) for name in names)
        return list(zip(names, await asyncio.gather(*looks), strict=True))


def _joined(said: Sequence[tuple[str, bytes]]) -> bytes:
    texts = ((name, text.decode(errors="replace")) for name, text in said)
    return joined_text("replica", texts).encode()
