"""An engine waits at its gate. A real process replaces SGLang."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from engines import launcher as launching
from engines.engine_port import EnginePort
from engines.failure import FailureReason
from engines.gate import NOISE, EngineGate
from engines.launcher import SglangEngine, SglangLauncher
from engines.start_watch import StartWatch
from router.pool.interfaces import EngineStartError
from router.secrets import Secret
from tests.engines.gates import HeldGate
from tests.engines.workshop import (
    SPEC,
    WITHIN,
    Workshop,
    below,
    cancelling,
    eventually,
)

pytestmark = pytest.mark.process

GATE_PORT = "--gated-launch-port"

T = TypeVar("T")


@asynccontextmanager
async def standing(
    workshop: Workshop, launcher: SglangLauncher | None = None, **asked: Any
) -> AsyncIterator[tuple[HeldGate, asyncio.Task[SglangEngine]]]:
    """A start that waits at its gate."""
    gate = HeldGate()
    start = asyncio.create_task(workshop.start(launcher, gate, **asked))
    try:
        async with asyncio.timeout(WITHIN):
            await gate.reached.wait()
        yield gate, start
    finally:
        start.cancel()
        with suppress(asyncio.CancelledError, EngineStartError):
            await (await start).stop()


async def test_an_engine_waits_at_its_gate_and_then_answers(workshop: Workshop) -> None:
    async with standing(workshop) as (gate, start):
        with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(("127.0.0.1", workshop.port()))
        gate.open.set()
        engine = await start
        assert await engine.probe()
        assert (gate.stood, engine.context_length) == (1, 4096)


async def test_an_engine_whose_gate_is_open_goes_on_at_once(workshop: Workshop) -> None:
    gate = HeldGate()
    gate.open.set()
    engine = await workshop.start(gate=gate)
    assert gate.stood == 1
    await engine.stop()


async def test_an_engine_that_can_not_wait_is_started_when_its_gate_opens(
    workshop: Workshop,
) -> None:
    gate = HeldGate()
    spec = replace(SPEC, flags=("--data-parallel-size=2",))
    start = asyncio.create_task(workshop.start(None, gate, spec))
    await asyncio.sleep(0)
    assert (workshop.processes(), start.done()) == ([], False)
    gate.open.set()
    engine = await start
    assert gate.stood == 0
    assert GATE_PORT.encode() not in workshop.shown()
    await engine.stop()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/health"), ("POST", "/gate/activate"), ("GET", "/docs")]
)
async def test_nobody_without_the_key_asks_or_opens_a_gate(
    workshop: Workshop, method: str, path: str
) -> None:
    async with standing(workshop) as (_, start):
        url = f"http://127.0.0.1:{workshop.port(GATE_PORT)}{path}"
        async with aiohttp.ClientSession() as session:
            for headers in ({}, {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}):
                async with session.request(method, url, headers=headers) as answer:
                    assert (answer.status, await answer.read()) == (403, b"")
        assert not start.done()


async def test_a_gate_that_lets_anybody_through_fails_the_start(workshop: Workshop) -> None:
    gate = HeldGate()
    gate.open.set()
    with pytest.raises(EngineStartError, match="to anybody, without the key"):
        await (await workshop.start(gate=gate, gate_without_lock=True)).stop()
    assert gate.stood == 0


async def test_nobody_takes_the_port_of_a_gate_before_the_engine_does(
    workshop: Workshop,
) -> None:
    start = asyncio.create_task(workshop.start(gate=HeldGate(), imports=60.0))
    await eventually(lambda: GATE_PORT.encode() in workshop.shown())
    try:
        with socket.socket() as impostor:
            impostor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="Address already in use"):
                impostor.bind(("127.0.0.1", workshop.port(GATE_PORT)))
    finally:
        start.cancel()
        with suppress(asyncio.CancelledError):
            await start


async def test_an_engine_that_dies_at_its_gate_fails_the_start_with_the_reason(
    workshop: Workshop,
) -> None:
    async with standing(workshop) as (_, start):
        workshop.kill()
        with pytest.raises(EngineStartError, match="killed by SIGKILL"):
            await start


async def test_an_engine_that_ends_by_itself_at_its_gate_is_waited_for_no_longer(
    workshop: Workshop,
) -> None:
    with pytest.raises(EngineStartError, match="killed by SIGKILL"):
        await workshop.start(gate=HeldGate(), die_at_gate=0.2)


async def test_an_engine_that_never_comes_to_its_gate_fails_at_the_deadline(
    workshop: Workshop,
) -> None:
    launcher = workshop.launcher(start_timeout=0.5)
    with pytest.raises(EngineStartError, match=r"not ready after 0\.5 s"):
        await workshop.start(launcher, HeldGate(), imports=60.0)


class SoonOver(StartWatch):
    """Leaves little time for the steps after the gate, however long the first one took."""

    async def pause(self, work: Coroutine[Any, Any, T]) -> T:
        result = await super().pause(work)
        self._left = 0.5
        return result


async def test_a_gate_that_jams_fails_the_start_at_the_deadline(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "StartWatch", SoonOver)
    async with standing(workshop, gate_jams=True) as (gate, start):
        gate.open.set()
        with pytest.raises(EngineStartError, match="not ready after"):
            await start


async def test_a_gate_that_refuses_to_open_fails_the_start(workshop: Workshop) -> None:
    async with standing(workshop, gate_refuses=True) as (gate, start):
        gate.open.set()
        with pytest.raises(EngineStartError, match="did not open: status 500"):
            await start


async def test_a_gate_that_is_gone_fails_the_start() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = EnginePort(nobody.getsockname()[1], Secret(secrets.token_hex()), (0, 0))
        with pytest.raises(EngineStartError, match="gate does not answer"):
            await EngineGate(port, aiohttp.ClientSession).open()


@pytest.mark.parametrize(
    ("path", "moment"),
    [
        ("/health", "on_request_start"),
        ("/health", "on_request_exception"),  # the port refuses
        ("/health", "on_request_end"),
        ("/gate/activate", "on_request_start"),
        ("/gate/activate", "on_request_end"),
        ("/ready", "on_request_start"),
        ("/model_info", "on_request_end"),
    ],
)
async def test_a_start_with_a_gate_that_is_cancelled_leaves_no_engine_and_no_directory(
    workshop: Workshop,
    path: str,
    moment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start: list[asyncio.Task[SglangEngine]] = []
    launcher = workshop.launcher(sessions=cancelling(start, path, moment))
    gate = HeldGate()
    gate.open.set()
    imports = 60.0 if moment == "on_request_exception" else 0.0
    start.append(asyncio.create_task(workshop.start(launcher, gate, imports=imports)))
    with pytest.raises(asyncio.CancelledError):
        await start[0]
    assert workshop.processes() == []
    assert below(tmp_path, "engines-*/*") == []


async def test_a_start_that_is_cancelled_at_its_gate_leaves_nothing(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    launcher = workshop.launcher()
    async with standing(workshop, launcher, ignore_sigterm=True) as (_, start):
        while not start.done():
            start.cancel()
            await asyncio.sleep(0)
        assert start.cancelled()
    assert workshop.processes() == []
    assert below(tmp_path, "engines-*/*") == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_key_of_a_gate_is_on_no_command_line_and_in_no_environment(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = secrets.token_urlsafe(32)
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _size: made)
    async with standing(workshop):
        shown = workshop.shown()
    assert workshop.word.encode() in shown
    assert made.encode() not in shown


async def test_an_engine_that_waits_for_long_does_not_fill_the_log(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=workshop.log.name)
    async with standing(workshop) as (gate, start):
        gate.open.set()
        await start
    assert "engine[org/name] Gated launch waiting for activation. rank=0" in caplog.messages
    assert NOISE not in caplog.text


async def never() -> str:
    return await asyncio.Event().wait() and ""


async def test_the_time_at_a_gate_does_not_count() -> None:
    watch = StartWatch(never, FailureReason(), 0.02)
    await watch.pause(asyncio.sleep(0.1))
    await watch.step(asyncio.sleep(0))


async def test_all_steps_of_a_start_share_its_time() -> None:
    watch = StartWatch(never, FailureReason(), 0.02)
    with pytest.raises(EngineStartError, match=r"not ready after 0\.02 s"):
        await watch.step(asyncio.sleep(0.1))
    with pytest.raises(EngineStartError):
        await watch.step(asyncio.sleep(0.001))
