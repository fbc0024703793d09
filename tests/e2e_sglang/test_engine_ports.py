"""Only the router gets anything from the real engine's own port."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.changing import opened
from tests.e2e_sglang.harness import APPLE, Engine, Harness
from tests.e2e_sglang.target import Target

pytestmark = pytest.mark.sglang

NOBODY = 65534
PYTHON = shutil.which("python3", path="/usr/bin:/bin")  # one that every user can run

# Headers of a browser on another site's page, and those that another user of the machine may
# send.
STRANGERS = {
    "curl": {},
    "a page": {
        "Origin": "http://page.example",
        "Referer": "http://page.example/",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "cors",
        "Cookie": "session=1",
    },
    "a preflight": {
        "Origin": "http://page.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    },
    "a guess": {"Authorization": "Bearer sk-none"},
}

# Run as another user, with the engine's port and processes.
OTHER_USER = """
import sys, urllib.error, urllib.request
from pathlib import Path

port, *pids = sys.argv[1:]
try:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/model_info")
    print("served")
except urllib.error.HTTPError as error:
    print(error.code)
for pid in pids:
    for name in ("environ", "mem", "fd/0", "cwd/anything"):
        try:
            Path(f"/proc/{pid}/{name}").open("rb").read(1)
            print("read", pid, name)
        except PermissionError:
            pass
"""


async def routes(engine: Engine) -> list[tuple[str, str]]:
    """All routes that SGLang reports itself, and those it omits."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{engine.url}/openapi.json", headers=engine.signed) as answer,
    ):
        paths = (await answer.json())["paths"]
    listed = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [*listed, ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/openapi.json")]


@pytest.mark.parametrize("who", STRANGERS)
async def test_no_route_of_an_engine_answers_a_stranger(
    who: str, harness: Harness, engine: Target
) -> None:
    found = await routes(harness.engine(APPLE))
    assert {("GET", "/flush_cache"), ("POST", "/abort_request")} <= set(found)
    assert {("POST", "/update_weights_from_disk"), ("GET", "/health")} <= set(found)
    methods = {"OPTIONS"} if who == "a preflight" else {"OPTIONS", "HEAD"}
    asked = [*found, *((method, path) for method in methods for _, path in found)]
    async with aiohttp.ClientSession() as session:
        for method, path in asked:
            async with session.request(
                method, engine.url + path, headers=STRANGERS[who], json={}
            ) as answer:
                assert (answer.status, await answer.read()) == (403, b""), (method, path)
                assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await engine.post("/v1/completions", {"prompt": "Hi."})).answer  # the port works


async def test_no_stranger_gets_a_websocket(engine: Target) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/v1/realtime", "/ws", "/"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(engine.url + path)
            assert refusal.value.status == 403


@pytest.mark.skipif(os.geteuid() != 0 or PYTHON is None, reason="can't become another user")
def test_another_user_of_the_machine_gets_nothing(harness: Harness, engine: Target) -> None:
    found = harness.engine(APPLE)
    pids = [str(found.pid), *map(str, children(found.pid))]
    assert len(pids) > 2
    said = subprocess.run(
        [str(PYTHON), "-c", OTHER_USER, found.port, *pids],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["403"]


def test_the_key_is_where_nobody_else_can_read_it(harness: Harness, engine: Target) -> None:
    found = harness.engine(APPLE)
    key = found.key.encode()
    assert len(key) > 30
    for pid in harness.worker.processes():
        for file in ("cmdline", "environ"):
            with suppress(OSError):  # it has ended
                assert key not in Path(f"/proc/{pid}/{file}").read_bytes()
    assert found.key not in harness.worker.log
    assert "server_args=" in harness.worker.log


async def test_the_engine_does_not_know_the_key_itself(harness: Harness) -> None:
    """It can't log a key that it does not know, nor give it to its other processes."""
    found = harness.engine(APPLE)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{found.url}/server_info", headers=found.signed) as answer,
    ):
        assert found.key not in await answer.text()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_no_port_of_an_engine_is_open_to_other_machines(
    harness: Harness, engine: Target
) -> None:
    """Next to the locked port, it opens more ports for torch."""
    found = harness.engine(APPLE)
    pids = (found.pid, *children(found.pid))
    sockets = {file for pid in pids for file in opened(pid)}
    listening = [
        row.split()[1]
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{found.pid}/net/{table}").read_text().splitlines()[1:]
        if row.split()[3] == "0A" and f"socket:[{row.split()[9]}]" in sockets
    ]
    assert f"0100007F:{int(found.port):04X}" in listening
    assert [place for place in listening if not place.startswith("0100007F:")] == []
