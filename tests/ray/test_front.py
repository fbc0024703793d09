"""An ingress over HTTP, in front of replicas that only report their state."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from router.app.configuration import Configuration
from router.app.fleet.front import Front
from router.config.platform import Platform
from router.ray.messages import AnswerEnd, Errand, Look, ReplicaState, RoutePlan, Shown
from router.side_process import Body
from tests.e2e.caller import Answer, Caller, calling
from tests.eventually import eventually
from tests.ray.test_replica_call import Scripted

ADMIN = secrets.token_hex(16)
METRICS = "# HELP router_x A text.\n# TYPE router_x gauge\nrouter_x 1.0\n"


class TellingReplicas:
    """`b` shows nothing."""

    def __init__(self) -> None:
        self.visits = 0

    async def send(self, plan: RoutePlan, errand: Errand, body: Body) -> Scripted:
        return Scripted([AnswerEnd()])

    async def visit(self, ingress: str) -> Sequence[ReplicaState]:
        self.visits += 1
        return [
            ReplicaState(True, replica="a", in_flight=2, waiting=1),
            ReplicaState(False, replica="b"),
        ]

    async def shown(self, look: Look) -> bytes | None:
        if look.replica == "b":
            return None
        return METRICS.encode() if look.at is Shown.METRICS else b'{"engines": []}'


def configuration(tmp_path: Path, environ: Mapping[str, str]) -> Configuration:
    common = {
        "HF_HOME": str(tmp_path),
        "HOST": "127.0.0.1",
        "PORT": "0",
        "ADMIN_API_KEY": ADMIN,
        "DRAIN_TIMEOUT": "1",
    }
    return Configuration.read({**common, **environ}, Platform.PLAIN)


@asynccontextmanager
async def ingress(tmp_path: Path, **environ: str) -> AsyncIterator[Caller]:
    replicas = TellingReplicas()
    async with (
        Front(configuration(tmp_path, environ), replicas).open() as port,
        calling(f"http://127.0.0.1:{port}") as caller,
    ):
        await eventually(lambda: replicas.visits)
        yield caller


async def shown(caller: Caller, path: str, key: str = ADMIN) -> Answer:
    return await caller.get(path, Authorization=f"Bearer {key}")


async def test_the_operator_sees_the_ingress_and_all_replicas(tmp_path: Path) -> None:
    async with ingress(tmp_path) as caller:
        state = (await shown(caller, "/admin/state")).json
        own = (await shown(caller, "/metrics")).body.decode()
        replicas = (await shown(caller, "/metrics/replicas")).body.decode()
    assert state["ingress"]["ready"] is True
    assert state["replicas"] == [
        {"replica": "a", "state": {"engines": []}},
        {"replica": "b", "state": None},
    ]
    assert 'router_fleet_requests{replica="a",state="in_flight"} 2.0' in own
    assert "router_admissions_total" in own
    assert "router_worker_ready 1.0" in own
    assert replicas == METRICS.replace("router_x 1.0", 'router_x{replica="a"} 1.0')


@pytest.mark.parametrize("path", ["/admin/state", "/metrics", "/metrics/replicas"])
async def test_nobody_else_does(tmp_path: Path, path: str) -> None:
    key = secrets.token_hex(16)
    async with ingress(tmp_path, API_KEYS=key) as caller:
        refused = [await shown(caller, path, key), await caller.get(path)]
    assert {answer.status for answer in refused} == {401}


async def test_what_a_worker_alone_can_do_is_not_there(tmp_path: Path) -> None:
    async with ingress(tmp_path) as caller:
        answer = await shown(caller, "/admin/events")
    assert (answer.status, "/admin/state" in str(answer.json)) == (404, True)


async def test_a_key_that_is_written_into_the_file_is_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.app.fleet.file_watch._EVERY", 0.01)
    file, old, new = tmp_path / "keys.yaml", secrets.token_hex(16), secrets.token_hex(16)

    def write(*keys: str) -> None:
        entries = [{"name": f"caller{n}", "key": key} for n, key in enumerate(keys)]
        (tmp_path / "next").write_text(json.dumps(entries))
        (tmp_path / "next").replace(file)

    write(old)
    async with ingress(tmp_path, API_KEYS_FILE=str(file)) as caller:
        assert (await shown(caller, "/v1/models", old)).status == 200
        assert (await shown(caller, "/v1/models", new)).status == 401
        write(new)
        while (await shown(caller, "/v1/models", new)).status == 401:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await shown(caller, "/v1/models", old)).status == 401


async def test_an_ingress_that_can_not_listen_says_why_and_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        front = Front(
            configuration(tmp_path, {"PORT": str(port)}), TellingReplicas(), port_patience=0
        )
        gc.collect()  # garbage of earlier tests
        open_before = _open_files()
        with caplog.at_level(logging.CRITICAL), pytest.raises(OSError, match="address"):
            async with front.open():
                pass
        assert _open_files() <= open_before
    assert asyncio.all_tasks() == before
    assert not front.is_seen
    (said,) = caplog.messages
    assert said.startswith(f"can't listen on 127.0.0.1:{port}: Address already in use")


async def test_an_ingress_that_ends_listens_no_more(tmp_path: Path) -> None:
    async with ingress(tmp_path) as caller:
        assert (await caller.get("/ping")).status == 200
        left = caller
    with pytest.raises((aiohttp.ClientError, RuntimeError)):
        await left.get("/ping")


def _open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])
