from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from router.admin.fleet_metrics import FleetMetrics, ReplicaLoad
from router.admin.joined_text import joined_text

LOADS = (ReplicaLoad("a", 3, 1, ready=True), ReplicaLoad("b", 0, 0, ready=False))


def written(metrics: FleetMetrics) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    text: bytes = generate_latest(registry)
    return text.decode()


def values(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_an_ingress_tells_how_it_routes_and_how_replicas_are() -> None:
    metrics = FleetMetrics(lambda: LOADS)
    for reason in ("warm", "warm", "cold"):
        metrics.routed(reason)
    found = values(written(metrics))
    assert found["router_fleet_routed_total", ("warm",)] == 2
    assert found["router_fleet_replicas", ("ready",)] == 1
    assert found["router_fleet_replicas", ("starting",)] == 1
    assert found["router_fleet_requests", ("a", "in_flight")] == 3
    assert found["router_fleet_requests", ("b", "waiting")] == 0


def test_the_document_lists_each_metric_of_an_ingress() -> None:
    listed = set(re.findall(r"`(router_fleet_\w+)`", Path("docs/ray.md").read_text()))
    families = FleetMetrics(lambda: LOADS).collect()
    assert listed == {one.name + "_total" * (one.type == "counter") for one in families}


def test_metrics_of_several_workers_are_one_text_with_one_family_of_each_name() -> None:
    texts = []
    for name in ("x", "y"):
        metrics = FleetMetrics(lambda: LOADS[:1])
        metrics.routed(f'{name} with {{ "quotes" and }}')
        texts.append((name, written(metrics) + "process_open_fds 7.0\n"))
    text = joined_text("worker", texts)
    lines = text.splitlines()
    assert len([one for one in lines if one.startswith("# TYPE")]) == 3
    found = values(text)
    assert found["router_fleet_routed_total", ("x", 'x with { "quotes" and }')] == 1
    assert found["router_fleet_routed_total", ("y", 'y with { "quotes" and }')] == 1
    assert found["process_open_fds", ("x",)] == found["process_open_fds", ("y",)] == 7


@pytest.mark.parametrize("end", ["\u2028", "\x0b", "\x85", "\r"])
def test_a_label_with_another_end_of_line_stays_in_one_piece(end: str) -> None:
    metrics = FleetMetrics(lambda: LOADS[:1])
    metrics.routed(f"x{end}y")
    found = values(joined_text("worker", [("a", written(metrics))]))
    assert found["router_fleet_routed_total", ("a", f"x{end}y")] == 1


def test_no_worker_has_no_metrics() -> None:
    assert joined_text("worker", []) == ""
