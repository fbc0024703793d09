"""The operator's view of a fleet at an ingress, and changes while it runs."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.caller import CHAT, Caller, chat, credentials
from tests.e2e.harness import Harness
from tests.e2e_ray.fleet import RayFleet
from tests.eventually import eventually
from tests.traces.loopback_collector import LoopbackCollector

ADMIN, KEY, NEW = (secrets.token_hex(16) for _ in range(3))
TRACE, SPAN = secrets.token_hex(16), secrets.token_hex(8)
MODEL = "org/model"


@pytest.fixture(scope="module")
def collector() -> Iterator[LoopbackCollector]:
    with LoopbackCollector() as collector:
        yield collector


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("keys") / "keys.yaml", KEY)


def write(file: Path, *keys: str) -> Path:
    new = file.with_name("new")
    new.write_text(json.dumps([{"name": f"key{n}", "key": key} for n, key in enumerate(keys)]))
    return new.replace(file)


@pytest.fixture(scope="module")
def fleet(
    harness: Harness,
    tmp_path_factory: pytest.TempPathFactory,
    keys: Path,
    collector: LoopbackCollector,
) -> Iterator[RayFleet]:
    harness.model(MODEL)
    environ = {
        "ADMIN_API_KEY": ADMIN,
        "API_KEYS_FILE": str(keys),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with RayFleet(tmp_path_factory.mktemp("fleet"), harness.hub, environ=environ) as fleet:
        yield fleet


async def test_an_ingress_tells_of_itself_and_of_all_replicas(caller: Caller) -> None:
    sent, routed = 0, dict[str, float]()
    while "warm" not in routed:  # replicas publish their loaded models only now and then
        sent += 1
        assert (await caller.chat(MODEL, key=KEY)).text == f"I am {MODEL}"
        own = await shown(caller, "/metrics")
        routed = dict(by_reason(own))
    assert routed["cold"] >= 1.0
    assert sum(routed.values()) == sent
    assert f'route="{CHAT}"' in own
    state = json.loads(await shown(caller, "/admin/state"))
    names = {one["replica"] for one in state["replicas"]}
    having = [
        one["replica"]
        for one in state["replicas"]
        if [engine["model"] for engine in one["state"]["engines"]] == [MODEL]
    ]
    assert (len(names), len(having)) == (2, 1)
    replicas = (await shown(caller, "/metrics/replicas")).splitlines()
    loaded = [line for line in replicas if line.startswith("router_engines_loaded{")]
    assert {line.split('"')[1] for line in loaded} == names
    assert f'router_engines_loaded{{replica="{having[0]}"}} 1.0' in loaded


async def test_a_trace_goes_from_the_caller_through_ingress_and_replica(
    caller: Caller, collector: LoopbackCollector
) -> None:
    traced = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    await caller.post(CHAT, chat(MODEL), {**credentials(None, KEY), **traced})

    def servers() -> dict[str, str]:
        """The parent of each server's span."""
        spans = [one for one in collector.spans if one.trace == TRACE]
        return {one.id: one.parent for one in spans if one.kind == "server"}

    await eventually(lambda: len(servers()) == 2)
    found = servers()
    (ingress,) = (one for one, parent in found.items() if parent == SPAN)
    assert [parent for one, parent in found.items() if one != ingress] == [ingress]


async def test_a_new_key_is_taken_by_all_and_an_old_one_by_none(
    caller: Caller, other: Caller, keys: Path
) -> None:
    write(keys, NEW)
    for one in (caller, other):
        # The replicas may read the file a moment after the ingress.
        while (await one.chat(MODEL, key=NEW)).status == 401:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert (await one.chat(MODEL, key=KEY)).status == 401
        assert (await one.chat(MODEL, key=NEW)).text == f"I am {MODEL}"


def by_reason(metrics: str) -> Iterator[tuple[str, float]]:
    """The number of requests routed for each reason."""
    for line in metrics.splitlines():
        if line.startswith("router_fleet_routed_total{"):
            _, reason, count = line.split('"')
            yield reason, float(count.removeprefix("} "))


async def shown(caller: Caller, path: str) -> str:
    answer = await caller.get(path, **credentials(None, ADMIN))
    assert answer.status == 200, answer.body
    return answer.body.decode()
