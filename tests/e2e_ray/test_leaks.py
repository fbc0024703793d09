"""Send tokens of every kind through the troubles of a fleet, at the most verbose log level.
Then search everything that Ray has written, and the memory of its processes.

The marker `control` is not a secret, and stands in each place that must not contain secrets. A
search that finds it would have found a secret too.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest

from tests.changing import below
from tests.e2e.caller import CHAT, calling, chat
from tests.e2e.evidence import content
from tests.e2e.harness import ENDLESS, Harness
from tests.e2e_ray.fleet import RayFleet
from tests.eventually import eventually

pytestmark = pytest.mark.long

NOISY = {
    "LOG_LEVEL": "DEBUG",
    "RAY_BACKEND_LOG_LEVEL": "debug",
    "RAY_SERVE_LOG_LEVEL": "DEBUG",
    "PYTHONASYNCIODEBUG": "1",
}
_OF_RAY = ("gcs_server", "raylet", "ray::ServeController", "dashboard", "Agent", "monitor.py")


@dataclass
class Found:
    """Names of markers, by the place where they were found."""

    control: str = field(default_factory=lambda: secrets.token_hex(16))
    marks: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, set[str]] = field(default_factory=dict)
    memory: dict[str, set[str]] = field(default_factory=dict)
    searched: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def found(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Found:
    found = Found()
    operators, key = harness.hub.add_account("operator"), secrets.token_hex(16)
    environ = {**NOISY, "HF_TOKEN": operators, "API_KEYS": key}
    directory = tmp_path_factory.mktemp("fleet")
    with RayFleet(directory, harness.hub, environ=environ) as fleet:
        tokens = asyncio.run(_live(harness, fleet, found, key))
        for name, value in tokens.items():
            found.marks[name] = value.removeprefix("hf_").encode()
        found.marks["prompt"] = b"a prompt that is nobody's business"
        _search_memory(fleet, found)
        fleet.stop()
        found.marks["operators"] = operators.removeprefix("hf_").encode()
        found.marks |= {"key": key.encode(), "control": found.control.encode()}
        for file in (*below(fleet.place), directory / "program.log"):
            if file.is_symlink() or file.is_file():
                _note(found.files, str(file), content(file), found.marks)
    return found


async def _live(harness: Harness, fleet: RayFleet, found: Found, key: str) -> Mapping[str, str]:
    """Run the fleet through its troubles, and return the callers' tokens."""
    accounts = ("header", "body", "large", "killed", "refused")
    tokens = {name: harness.hub.add_account(name) for name in accounts}
    own = {"Authorization": f"Bearer {key}"}
    for name in accounts[:-1]:
        pace = ENDLESS if name == "killed" else {}
        harness.model(f"{name}/private", private=True, **pace)
    prompt = "a prompt that is nobody's business " * 10
    for url in fleet.urls:
        async with calling(url) as caller:
            for name, token in tokens.items():
                model = f"{name}/private"
                body = chat(model, max_tokens=3)
                body["messages"][0]["content"] = prompt
                given = {**own, "X-Request-Id": found.control}
                if name == "header":
                    given["X-HF-Token"] = token
                else:
                    body["hf_token"] = token
                if name == "large":
                    body["user"] = prompt * 40_000  # 14 MB
                if name == "killed":
                    await _kill_under(fleet, url, body, given)
                    continue
                data = io.BytesIO(json.dumps(body).encode())
                sent = {"Content-Type": "application/json", **given}
                answer = await caller.send("POST", CHAT, data, sent)
                served = (401, 404) if name == "refused" else (200,)
                assert answer.status in served, answer.body
                assert (await caller.get("/v1/models", **{**own, "X-HF-Token": token})).status
            await caller.post(CHAT, chat(hf_token=["x", tokens["header"]], model="a/b"), own)
            harness.hub.expire(tokens["refused"])
    return tokens


async def _kill_under(
    fleet: RayFleet, url: str, body: object, headers: Mapping[str, str]
) -> None:
    """Kill a replica while it has the token."""
    async with aiohttp.ClientSession() as session:
        content = {**body, "stream": True, "max_tokens": None}  # type: ignore[dict-item]
        async with session.post(url + CHAT, json=content, headers=headers) as response:
            await response.content.readuntil(b"data:")
            for one in fleet.replicas():
                one.send_signal(signal.SIGKILL)
            assert b"engine_failed" in await response.read()
    await eventually(lambda: len(fleet.replicas()) == fleet.nodes)


def _search_memory(fleet: RayFleet, found: Found) -> None:
    """Search Ray's own processes and its object store."""
    for process in fleet.processes():
        with suppress(psutil.Error, OSError):
            command = " ".join(process.cmdline())
            name = next((one for one in _OF_RAY if one in command), "")
            if name:
                found.searched.add(name)
                for part in _mapped(process.pid):
                    _note(found.memory, f"{name} {process.pid}", part, found.marks)


def _mapped(pid: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if span:
                start, end = (int(one, 16) for one in span.groups())
                with suppress(OSError, ValueError, OverflowError):
                    memory.seek(start)
                    yield memory.read(end - start)


def _note(
    where: dict[str, set[str]], name: str, content: bytes, marks: Mapping[str, bytes]
) -> None:
    for mark, value in marks.items():
        if value in content:
            where.setdefault(name, set()).add(mark)


def test_no_file_of_ray_holds_a_token_or_a_prompt(found: Found) -> None:
    assert any("control" in marks for marks in found.files.values()), "nothing was searched"
    secret = {name: marks - {"control"} for name, marks in found.files.items()}
    assert not {name: marks for name, marks in secret.items() if marks}


@pytest.mark.skipif(os.geteuid() != 0, reason="reads other processes' memory")
def test_no_process_of_ray_holds_a_callers_token(found: Found) -> None:
    assert {"gcs_server", "raylet", "ray::ServeController"} <= found.searched
    assert not found.memory
