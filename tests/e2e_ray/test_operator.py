"""The operator's view of a fleet at an ingress, and changes while it runs."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from itertools import chain
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
    listed = dict[str, list[str]]()
    while len(listed) < 2:  # a replica that is slow to answer is left out
        listed = await engines_by_replica(caller)
    assert [MODEL] in listed.values()
    assert {*chain(*listed.values())} == {MODEL}
    loaded = dict[str, float]()
    while len(loaded) < 2:
        loaded = await loaded_by_replica(caller)
    assert loaded == {name: len(engines) for name, engines in listed.items()}


async def test_a_model_is_started_once_for_all_ingresses(
    harness: Harness, caller: Caller, other: Caller
) -> None:
    model = harness.model("org/once")
    before = await elsewhere(caller, other)
    answers = [await one.chat(model, key=KEY) for one in (caller, other) * 3]
    assert {answer.text for answer in answers} == {f"I am {model}"}
    # A replica that does not answer for seconds is not waited for.
    more = await elsewhere(caller, other) - before
    assert 1 <= len(harness.journal.events("start", model)) <= 1 + more


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
        # Each replica may read the file a moment after the ingress.
        while (answer := await one.chat(MODEL, key=NEW)).status == 401:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert answer.text == f"I am {MODEL}"
        assert (await one.chat(MODEL, key=KEY)).status == 401


def by_reason(metrics: str) -> Iterator[tuple[str, float]]:
    """The number of requests routed for each reason."""
    for line in metrics.splitlines():
        if line.startswith("router_fleet_routed_total{"):
            _, reason, count = line.split('"')
            yield reason, float(count.removeprefix("} "))


async def elsewhere(*ingresses: Caller) -> float:
    """The number of requests that went to another replica than the best one."""
    reasons = [dict(by_reason(await shown(one, "/metrics"))) for one in ingresses]
    return sum(one.get("elsewhere", 0.0) for one in reasons)


async def engines_by_replica(caller: Caller) -> dict[str, list[str]]:
    """The models of the engines of each replica that shows them."""
    replicas = json.loads(await shown(caller, "/admin/state"))["replicas"]
    return {
        one["replica"]: [engine["model"] for engine in one["state"]["engines"]]
        for one in replicas
        if one["state"] is not None
    }


async def loaded_by_replica(caller: Caller) -> dict[str, float]:
    """How many engines each replica counts as loaded."""
    lines = (await shown(caller, "/metrics/replicas")).splitlines()
    loaded = [one.split('"') for one in lines if one.startswith("router_engines_loaded{")]
    return {replica: float(count.removeprefix("} ")) for _, replica, count in loaded}


async def shown(caller: Caller, path: str) -> str:
    answer = await caller.get(path, **credentials(None, ADMIN))
    assert answer.status == 200, answer.body
    return answer.body.decode()
