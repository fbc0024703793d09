"""The real SGLang, on the CPU, with models that say their own names."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from engines.command import Device
from engines.launcher import SglangEngine, SglangLauncher
from router.models import EngineSpec, ResolvedModel
from router.pool.interfaces import EngineStartError
from router.scheduler.actions import Allotment
from tests import tiny_models
from tests.engines.gates import HeldGate
from tests.engines.workshop import port_of

SGLANG_PYTHON = Path(__file__).parents[2] / ".venv-sglang/bin/python"

pytestmark = pytest.mark.sglang


@pytest.fixture
def word() -> Iterator[str]:
    """A word that marks the engine's processes, to find them without the launcher."""
    word = secrets.token_hex(16)
    yield word
    assert processes(word) == []


def processes(word: str) -> list[int]:
    def has(entry: Path) -> bool:
        try:
            return word.encode() in (entry / "environ").read_bytes()
        except OSError:
            return False

    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if has(entry)]


SPEC = EngineSpec(ResolvedModel("tests/apple", "0123456789abcdef0123456789abcdef01234567"))
ALLOTMENT = Allotment(1 << 30, 1 << 30, whole=True)


def launcher_of(word: str) -> SglangLauncher:
    return SglangLauncher(
        python=str(SGLANG_PYTHON),
        environ=os.environ | {"SGLANG_TEST": word},
        hf_token=None,
        start_timeout=600.0,
        device=Device.CPU,
    )


async def test_the_real_engine_starts_says_its_name_streams_and_leaves(
    word: str, tmp_path: Path
) -> None:
    snapshot = tiny_models.make(tmp_path, "apple")
    engine = await launcher_of(word).start(SPEC, snapshot, ALLOTMENT)
    try:
        assert len(processes(word)) > 1
        assert await engine.probe()
        assert await say(engine, "Who are you?") == "I am apple."
        assert await say(engine, "What is 6 times 7? " * 20) == "I am apple."
        assert await stream(engine, "hello") == "I am apple."
    finally:
        await engine.stop()
    assert processes(word) == []
    assert not await engine.probe()


async def test_the_real_engine_waits_at_a_gate_that_only_the_router_opens(
    word: str, tmp_path: Path
) -> None:
    gate, snapshot = HeldGate(), tiny_models.make(tmp_path, "apple")
    start = asyncio.create_task(launcher_of(word).start(SPEC, snapshot, ALLOTMENT, gate))
    reached = asyncio.create_task(gate.reached.wait())
    try:
        await asyncio.wait({start, reached}, return_when=asyncio.FIRST_COMPLETED)
        assert gate.reached.is_set(), start.exception()
        async with aiohttp.ClientSession() as session:
            for method, path in (("GET", "/health"), ("POST", "/gate/activate")):
                for headers in ({}, {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}):
                    url = f"http://127.0.0.1:{port(word, '--gated-launch-port')}{path}"
                    async with session.request(method, url, headers=headers) as answer:
                        assert (answer.status, await answer.read()) == (403, b"")
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://127.0.0.1:{port(word, '--port')}/ready")
        gate.open.set()
        engine = await start
        assert await say(engine, "Who are you?") == "I am apple."
    finally:
        reached.cancel()
        start.cancel()
        with suppress(asyncio.CancelledError, EngineStartError):
            await (await start).stop()
    assert processes(word) == []


def port(word: str, flag: str) -> int:
    return port_of(processes(word), flag)


def question(engine: SglangEngine, text: str, **options: object) -> dict[str, object]:
    return {
        "model": engine.served_name,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        **options,
    }


async def say(engine: SglangEngine, text: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{engine.url}/v1/chat/completions",
            json=question(engine, text),
            headers=engine.signed,
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()
        content: str = (await answer.json())["choices"][0]["message"]["content"]
        return content


async def stream(engine: SglangEngine, text: str) -> str:
    said = []
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{engine.url}/v1/chat/completions",
            json=question(engine, text, stream=True),
            headers=engine.signed,
        ) as answer,
    ):
        async for line in answer.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line.removeprefix(b"data: "))["choices"]
                said += [choice["delta"].get("content") or "" for choice in choices]
    assert len(list(filter(None, said))) > 1, "it did not come as it was generated"
    return "".join(said)
