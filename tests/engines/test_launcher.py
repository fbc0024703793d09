"""The launcher. A real process replaces SGLang."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from engines.launcher import SglangEngine
from router.pool.interfaces import EngineStartError
from tests.engines.workshop import SPEC, WITHIN, Workshop, below, cancelling, eventually
from tests.fake_engine import OUT_OF_MEMORY

pytestmark = pytest.mark.process


async def test_an_engine_that_has_started_answers_under_its_name(workshop: Workshop) -> None:
    engine = await workshop.start()
    try:
        body = {"model": engine.served_name, "messages": [{"role": "user", "content": "?"}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{engine.url}/v1/chat/completions", json=body, headers=engine.signed
            ) as answer,
        ):
            content = (await answer.json())["choices"][0]["message"]["content"]
        assert content == "I am org/name"
        assert await engine.probe()
    finally:
        await engine.stop()


async def test_an_engine_that_warms_up_is_waited_for(workshop: Workshop) -> None:
    engine = await workshop.start(start_delay=0.2, warm_up=0.3)
    await engine.stop()


async def test_a_stopped_engine_leaves_no_process(workshop: Workshop) -> None:
    engine = await workshop.start(spawn_children=2, spawn_daemons=1)
    await engine.stop()
    assert workshop.processes() == []
    await engine.stop()  # safe to call again


async def test_a_dead_engine_says_how_it_ended_and_fails_the_probe(workshop: Workshop) -> None:
    engine = await workshop.start(die_before_answer=True)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(
                f"{engine.url}/generate", json={"text": "x"}, headers=engine.signed
            )
    async with asyncio.timeout(WITHIN):
        assert "SIGKILL" in await engine.exited()
    assert not await engine.probe()
    await engine.stop()


async def test_an_early_exit_fails_the_start_with_the_last_error(workshop: Workshop) -> None:
    with pytest.raises(EngineStartError) as failure:
        await workshop.start(die_at_start=1, last_words="ValueError: no such architecture")
    assert "exit status 1: ValueError: no such architecture" in failure.value.reason
    assert not failure.value.out_of_memory


async def test_running_out_of_memory_is_reported(workshop: Workshop) -> None:
    with pytest.raises(EngineStartError) as failure:
        await workshop.start(die_at_start=1, last_words=OUT_OF_MEMORY)
    assert failure.value.out_of_memory


async def test_an_engine_with_another_model_fails_the_start(workshop: Workshop) -> None:
    with pytest.raises(EngineStartError, match="serves something else"):
        await workshop.start(wrong_model=True)


async def test_an_engine_that_serves_without_the_key_fails_the_start(
    workshop: Workshop,
) -> None:
    with pytest.raises(EngineStartError, match="to anybody, without the key"):
        await workshop.start(without_lock=True)


@pytest.mark.parametrize("path", ["/ready", "/health", "/model_info", "/v1/models"])
async def test_nobody_without_the_key_is_told_anything(workshop: Workshop, path: str) -> None:
    engine = await workshop.start()
    strangers: list[dict[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer none"},
        {"Authorization": f"Basic {engine.port_key.reveal()}"},
        {"X-Api-Key": engine.port_key.reveal()},
    ]
    try:
        async with aiohttp.ClientSession(engine.url) as session:
            for headers in strangers:
                async with session.get(path, headers=headers) as answer:
                    assert (answer.status, await answer.read()) == (403, b"")
            async with session.get(path, headers=engine.signed) as answer:
                assert answer.status == 200
    finally:
        await engine.stop()


async def test_nobody_takes_the_port_while_the_engine_loads(workshop: Workshop) -> None:
    start = asyncio.create_task(workshop.start(start_delay=60.0))
    await eventually(lambda: bool(workshop.processes()))
    try:
        for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
            with socket.socket() as impostor:
                for option in options:
                    impostor.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="Address already in use"):
                    impostor.bind(("127.0.0.1", workshop.port()))
    finally:
        start.cancel()
        with suppress(asyncio.CancelledError):
            await start


async def test_a_port_ends_with_its_engine(workshop: Workshop) -> None:
    engine = await workshop.start(die_before_answer=True, spawn_children=1)
    async with aiohttp.ClientSession() as session:
        for failure in (aiohttp.ClientError, aiohttp.ClientConnectorError):
            with pytest.raises(failure):
                await session.post(
                    f"{engine.url}/generate", json={"text": "x"}, headers=engine.signed
                )
            await engine.exited()
    await engine.stop()


async def test_the_key_is_on_no_command_line_and_in_no_environment(workshop: Workshop) -> None:
    engine = await workshop.start(spawn_children=1)
    try:
        shown = workshop.shown()
        assert workshop.word.encode() in shown
        assert engine.port_key.reveal().encode() not in shown
    finally:
        await engine.stop()


async def test_an_engine_that_never_gets_ready_fails_at_the_deadline(
    workshop: Workshop,
) -> None:
    launcher = workshop.launcher(start_timeout=0.5)
    with pytest.raises(EngineStartError, match=r"not ready after 0\.5 s"):
        await workshop.start(launcher, never_ready=True)


async def test_a_missing_interpreter_fails_the_start(workshop: Workshop) -> None:
    launcher = workshop.launcher(python="/no/such/python")
    with pytest.raises(EngineStartError, match="can't start /no/such/python"):
        await workshop.start(launcher)


@pytest.mark.parametrize("word", ["a\0b", "\ud800"], ids=["null", "surrogate"])
async def test_a_word_that_no_command_line_can_hold_fails_the_start(
    workshop: Workshop, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EngineStartError, match="could not be started"):
        await workshop.start(spec=replace(SPEC, flags=("--chat-template", word)))
    assert not below(tmp_path, "engines-*/*")


async def test_a_failed_start_ends_only_when_no_process_is_left(
    workshop: Workshop,
) -> None:
    launcher = workshop.launcher(start_timeout=1.0)
    with pytest.raises(EngineStartError):
        await workshop.start(
            launcher, never_ready=True, ignore_sigint=True, ignore_sigterm=True, spawn_daemons=1
        )
    assert workshop.processes() == []


async def test_each_line_of_the_log_names_the_model(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=workshop.log.name)
    engine = await workshop.start()
    await engine.stop()
    assert "engine[org/name] The server is fired up and ready to roll!" in caplog.messages


async def test_an_engine_killed_while_it_starts_fails_the_start_at_once(
    workshop: Workshop,
) -> None:
    start = asyncio.create_task(workshop.start(start_delay=60.0))
    await eventually(lambda: bool(workshop.processes()))
    workshop.kill()
    with pytest.raises(EngineStartError, match="killed by SIGKILL"):
        await start


@pytest.mark.parametrize(
    ("path", "moment"),
    [
        ("/ready", "on_request_start"),
        ("/ready", "on_request_exception"),  # the port refuses
        ("/ready", "on_request_end"),
        ("/model_info", "on_request_start"),
        ("/model_info", "on_request_end"),
    ],
)
async def test_a_cancelled_start_leaves_no_engine(
    workshop: Workshop, path: str, moment: str
) -> None:
    start: list[asyncio.Task[SglangEngine]] = []
    launcher = workshop.launcher(sessions=cancelling(start, path, moment))
    delay = 60.0 if moment == "on_request_exception" else 0.0
    start.append(asyncio.create_task(workshop.start(launcher, start_delay=delay)))
    with pytest.raises(asyncio.CancelledError):
        await start[0]
    assert workshop.processes() == []


async def test_repeated_cancellation_of_a_start_leaves_no_engine(
    workshop: Workshop,
) -> None:
    start = asyncio.create_task(workshop.start(start_delay=60.0, ignore_sigterm=True))
    await eventually(lambda: bool(workshop.processes()))
    while not start.done():
        start.cancel()
        await asyncio.sleep(0)
    assert start.cancelled()
    assert workshop.processes() == []


async def test_a_start_cancelled_before_it_began_starts_nothing(workshop: Workshop) -> None:
    start = asyncio.create_task(workshop.start())
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start


async def test_a_start_cancelled_while_its_directories_are_made_leaves_none(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    launcher = workshop.launcher()
    start = asyncio.create_task(workshop.start(launcher))
    await asyncio.sleep(0)  # a thread is making them
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not below(tmp_path, "engines-*/*")


async def test_a_start_leaves_no_task_behind(workshop: Workshop) -> None:
    with pytest.raises(EngineStartError):
        await workshop.start(die_at_start=1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
