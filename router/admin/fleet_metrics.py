"""The metrics of a fleet's ingress; docs/ray.md lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric

from router.admin.series import Counts


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """The requests of all ingresses at one replica."""

    replica: str
    in_flight: int
    waiting: int
    ready: bool


class FleetMetrics:
    """Implements `prometheus_client`'s `Collector`. `replicas` returns those that answer."""

    def __init__(self, replicas: Callable[[], Iterable[ReplicaLoad]]) -> None:
        self._replicas = replicas
        self._routed = Counts(
            "router_fleet_routed",
            "Attempts to route a request to a replica, by reason.",
            ("reason",),
        )

    def routed(self, reason: str) -> None:
        """Count a request that was sent to a replica."""
        self._routed.add((reason,))

    def collect(self) -> list[Metric]:
        """A snapshot of the values, which a thread may read later."""
        return [*self._routed.families(), *self._known()]

    def _known(self) -> Iterator[Metric]:
        known = [*self._replicas()]
        there = GaugeMetricFamily(
            "router_fleet_replicas", "Replicas that answer.", labels=("state",)
        )
        ready = sum(one.ready for one in known)
        there.add_metric(("ready",), ready)
        there.add_metric(("starting",), len(known) - ready)
        yield there
        requests = GaugeMetricFamily(
            "router_fleet_requests",
            "Requests at each replica, of all ingresses.",
            labels=("replica", "state"),
        )
        for one in known:
            requests.add_metric((one.replica, "in_flight"), one.in_flight)
            requests.add_metric((one.replica, "waiting"), one.waiting)
        yield requests
