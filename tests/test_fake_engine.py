"""The fake engine must match the facts about SGLang. Otherwise, tests with it prove nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engines import command
from engines.engine_port import bind_port
from engines.process import EngineProcess, Exit
from router.models import EngineSpec, ResolvedModel
from router.scheduler.actions import Allotment
from tests.fake_engine import FILE, OUT_OF_MEMORY, PYTHON, behaviour
from tests.fake_engine.behaviour import whole_lines
from tests.fake_engine.saver import taken

pytestmark = pytest.mark.process

WITHIN = 90.0  # seconds

CHAT = {"model": "me", "messages": [{"role": "user", "content": "Who are you?"}]}
GENERATION = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/generate",
]


@dataclass
class Fake:
    process: EngineProcess
    http: aiohttp.ClientSession
    journal_file: Path
    lines: list[str] = field(default_factory=list)

    async def ready(self) -> Fake:
        await eventually(lambda: self.status("/ready"), 200)
        return self

    async def status(self, path: str) -> int | None:
        try:
            async with self.http.get(path) as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return None

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as answer:
            return await answer.json()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        async with self.http.post(path, json=body) as answer:
            return answer.status, await answer.json()

    async def stream(self, path: str, body: Mapping[str, object]) -> list[str]:
        received = bytearray()
        await self.receive(path, {**body, "stream": True}, received)
        events = received.decode().split("\n\n")
        return [event.rpartition("data: ")[2] for event in events if event]

    async def receive(self, path: str, body: object, received: bytearray) -> None:
        async with self.http.post(path, json=body) as answer:
            async for chunk in answer.content.iter_any():
                received.extend(chunk)

    async def ends(self) -> Exit:
        return await asyncio.wait_for(self.process.exited(), WITHIN)

    def journal(self, event: str) -> list[dict[str, Any]]:
        if not self.journal_file.exists():  # it has not begun yet
            return []
        lines = map(json.loads, whole_lines(self.journal_file.read_bytes()))
        return [line for line in lines if line["event"] == event]

    async def journaled(self, event: str) -> dict[str, Any]:
        async def is_there() -> bool:
            return bool(self.journal(event))

        await eventually(is_there, True)
        return self.journal(event)[0]


async def eventually(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(WITHIN):
        while True:
            if await ask() == wanted:
                return
            await asyncio.sleep(0.01)


Start = Callable[..., Awaitable[Fake]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    fakes: list[Fake] = []
    model = tmp_path / "model"
    model.mkdir()

    async def start(*flags: str, **options: object) -> Fake:
        journal = tmp_path / "journal"
        (model / FILE).write_bytes(behaviour(journal=str(journal), **options))
        lines: list[str] = []
        with bind_port() as port:
            argv = command.argv(
                EngineSpec(ResolvedModel("me", ""), flags),
                model,
                port,
                Allotment(claim=1, free=1, whole=True),
                python=str(PYTHON),
                device=command.Device.CUDA,
            )
            process = await EngineProcess.spawn(
                argv, {"PATH": os.environ["PATH"]}, lines.append, hand_down=port.files
            )
        session = aiohttp.ClientSession(
            f"http://127.0.0.1:{port.number}",
            headers={"Authorization": f"Bearer {port.key.reveal()}"},
        )
        fakes.append(Fake(process, session, journal, lines))
        return fakes[-1]

    yield start
    for fake in fakes:
        await fake.http.close()
        await fake.process.stop(0)


async def test_it_says_who_it_is(start: Start, tmp_path: Path) -> None:
    fake = await (await start()).ready()
    status, chat = await fake.post("/v1/chat/completions", CHAT)
    assert status == 200
    assert chat["choices"][0]["message"]["content"] == "I am me"
    assert chat["model"] == "me"
    assert chat["usage"]["completion_tokens"] == 3
    assert (await fake.get("/v1/models"))["data"][0]["id"] == "me"
    assert (await fake.get("/model_info"))["model_path"] == str(tmp_path / "model")


@pytest.mark.parametrize("path", GENERATION)
async def test_a_stream_says_the_same_as_the_whole(start: Start, path: str) -> None:
    fake = await (await start(answer="a b c")).ready()
    _, whole = await fake.post(path, CHAT)
    assert "a b c" in json.dumps(whole)
    events = await fake.stream(path, CHAT)
    if path in {"/v1/responses", "/v1/messages"}:
        assert json.loads(events[-1])["type"] in {"response.completed", "message_stop"}
    else:
        assert events.pop() == "[DONE]"
    texts = [_said(json.loads(event)) for event in events]
    assert (texts[-1] if path == "/generate" else "".join(texts)) == "a b c"


def _said(event: dict[str, Any]) -> str:
    """The text in an event of any dialect."""
    if event.get("choices"):
        choice = event["choices"][0]
        return str(choice.get("text") or choice.get("delta", {}).get("content") or "")
    if str(event.get("type")).endswith(".done"):  # it repeats the deltas
        return ""
    delta = event.get("delta", "")
    return str(
        event.get("text") or (delta.get("text", "") if isinstance(delta, dict) else delta)
    )


async def test_usage_is_streamed_where_it_is_asked_for(start: Start) -> None:
    fake = await (await start(tokens=7)).ready()
    asked = CHAT | {"stream_options": {"include_usage": True}}
    *_, usage, _done = await fake.stream("/v1/chat/completions", asked)
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"]["completion_tokens"] == 7
    *_, last, _done = await fake.stream("/v1/chat/completions", CHAT)
    assert "usage" not in json.loads(last)


async def test_a_limit_on_tokens_is_kept(start: Start) -> None:
    fake = await (await start(tokens=100)).ready()
    _, chat = await fake.post("/v1/chat/completions", CHAT | {"max_tokens": 5})
    assert chat["usage"]["completion_tokens"] == 5
    assert chat["choices"][0]["finish_reason"] == "length"


async def test_the_other_tasks_are_served(start: Start) -> None:
    fake = await (await start("--is-embedding")).ready()
    _, embedded = await fake.post("/v1/embeddings", {"model": "me", "input": ["a", "b"]})
    assert [entry["index"] for entry in embedded["data"]] == [0, 1]
    _, ranked = await fake.post("/v1/rerank", {"query": "q", "documents": ["a", "b"]})
    assert [entry["document"] for entry in ranked] == ["a", "b"]
    _, scored = await fake.post("/v1/score", {"items": ["a"], "label_token_ids": [1, 2]})
    assert scored["scores"] == [[0.5, 0.5]]
    _, split = await fake.post("/v1/tokenize", {"prompt": "hé"})
    assert await fake.post("/v1/detokenize", {"tokens": split["tokens"]}) == (
        200,
        {"text": "hé"},
    )


async def test_an_embedding_engine_dies_of_a_generation_request(start: Start) -> None:
    fake = await (await start("--is-embedding")).ready()
    with pytest.raises(aiohttp.ClientConnectionError):
        await fake.post("/v1/chat/completions", CHAT)
    assert await fake.ends() == Exit(signal=signal.SIGKILL)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/v1/classify"])
async def test_a_generation_engine_refuses_to_embed(start: Start, path: str) -> None:
    fake = await (await start()).ready()
    status, error = await fake.post(path, {"model": "me", "input": "a"})
    assert status == 400
    assert error["object"] == "error"


async def test_requests_are_refused_as_sglang_does(start: Start) -> None:
    fake = await (await start()).ready()
    assert await fake.post("/nothing", {}) == (404, {"detail": "Not Found"})
    assert await fake.post("/ready", {}) == (405, {"detail": "Method Not Allowed"})
    status, invalid = await fake.post("/v1/completions", [])
    assert status == 400
    assert 'File "/' in invalid["message"]
    assert (await fake.post("/v1/completions", {"model": "base:adapter"}))[0] == 400
    assert (await fake.post("/v1/score", {}))[0] == 400


async def test_an_error_names_a_local_file(start: Start, tmp_path: Path) -> None:
    fake = await (await start(error=500)).ready()
    status, flat = await fake.post("/v1/chat/completions", CHAT)
    assert status == flat["code"] == 500
    assert str(tmp_path) in flat["message"]
    _, nested = await fake.post("/generate", {"text": "hi"})
    assert str(tmp_path) in nested["error"]["message"]
    in_band, done = await fake.stream("/generate", {"text": "hi"})
    assert str(tmp_path) in json.loads(in_band)["error"]["message"]
    assert done == "[DONE]"


async def test_it_writes_down_what_it_is_sent(start: Start) -> None:
    fake = await (await start("--tp-size", "2", "--enable-metrics")).ready()
    async with fake.http.post("/generate", data=b"{bad", headers={"X-Rid": "7"}):
        pass
    await fake.post("/v1/chat/completions", CHAT)
    bad, good = fake.journal("request")
    assert (bad["path"], bad["body"], bad["headers"]["x-rid"]) == ("/generate", "{bad", "7")
    assert good["body"] == CHAT
    assert fake.journal("start")[0]["unknown"][-3:] == ["--tp-size", "2", "--enable-metrics"]


async def test_it_writes_down_that_a_client_left(start: Start) -> None:
    fake = await (await start(tokens=100_000, interval=0.01)).ready()
    async with fake.http.post("/generate", json={"stream": True}) as answer:
        await answer.content.readany()
    left = await fake.journaled("cancelled")
    assert left["path"] == "/generate"
    assert left["sent"] > 0


async def test_it_refuses_connections_while_it_starts(start: Start) -> None:
    fake = await start(start_delay=600.0)
    await fake.journaled("start")
    assert await fake.status("/ready") is None


async def test_it_warms_up_before_it_is_ready(start: Start) -> None:
    fake = await start(warm_up=600.0)
    await eventually(lambda: fake.status("/ready"), 503)
    await (await start(start_delay=0.01, warm_up=0.01)).ready()


async def test_its_start_and_its_answer_may_wait_for_a_file(
    start: Start, tmp_path: Path
) -> None:
    begin, end = tmp_path / "begin", tmp_path / "end"
    fake = await start(answer="first last", starts_with=str(begin), ends_with=str(end))
    await fake.journaled("start")
    assert await fake.status("/ready") is None
    begin.touch()
    await fake.ready()
    received = bytearray()

    async def first_has_come() -> bool:
        return b"first" in received

    stream = asyncio.create_task(fake.receive("/generate", {"stream": True}, received))
    await eventually(first_has_come, True)
    assert b"last" not in received
    end.touch()
    await stream
    assert b"last" in received


async def test_it_may_never_be_ready(start: Start) -> None:
    fake = await start(never_ready=True)
    await eventually(lambda: fake.status("/ready"), 503)


async def test_it_may_die_at_start_for_want_of_memory(start: Start) -> None:
    fake = await start(die_at_start=1, last_words=OUT_OF_MEMORY)
    assert await fake.ends() == Exit(code=1)
    assert fake.lines == [OUT_OF_MEMORY]


async def test_it_may_die_in_mid_stream(start: Start) -> None:
    fake = await (await start(die_after_bytes=250)).ready()
    received = bytearray()
    with pytest.raises(aiohttp.ClientPayloadError):
        await fake.receive("/v1/chat/completions", CHAT | {"stream": True}, received)
    assert len(received) == 250
    assert await fake.ends() == Exit(signal=signal.SIGKILL)


async def test_it_may_misbehave_in_its_first_life_only(start: Start) -> None:
    options = {"die_before_answer": True, "bad_lives": 1, "answer": "well"}
    fake = await (await start(**options)).ready()
    with pytest.raises(aiohttp.ClientConnectionError):
        await fake.post("/generate", {})
    assert await fake.ends() == Exit(signal=signal.SIGKILL)
    again = await (await start(**options)).ready()
    _, answer = await again.post("/generate", {})
    assert answer["text"] == "well"


@pytest.mark.parametrize(("path", "method"), [("/health", "GET"), ("/generate", "POST")])
async def test_it_may_hang_though_it_is_ready(start: Start, path: str, method: str) -> None:
    fake = await (await start(hang=True)).ready()
    soon = aiohttp.ClientTimeout(total=0.1)
    with pytest.raises(TimeoutError):
        await fake.http.request(method, path, json={}, timeout=soon)


async def test_it_may_serve_another_model(start: Start) -> None:
    fake = await (await start(wrong_model=True)).ready()
    assert (await fake.get("/model_info"))["model_path"] == "/somebody/else"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_drains_when_told_to_end(start: Start, number: signal.Signals) -> None:
    fake = await (await start(tokens=10, interval=0.02)).ready()
    answer = asyncio.create_task(fake.post("/generate", {}))
    await fake.journaled("request")
    os.kill(fake.process.pid, number)
    assert (await answer)[0] == 200
    assert await fake.ends() == Exit(code=0)


async def test_it_may_be_deaf_and_leave_orphans(start: Start) -> None:
    fake = await start(
        ignore_sigint=True, ignore_sigterm=True, spawn_children=2, spawn_daemons=1
    )
    await fake.ready()
    await fake.journaled("child")
    await fake.journaled("daemon")
    await fake.process.stop(grace=0.05)
    assert await fake.ends() == Exit(signal=signal.SIGKILL)
    assert not fake.journal("signal")


async def test_it_may_print_long_lines(start: Start) -> None:
    fake = await (await start(log_bytes=100_000)).ready()
    assert fake.lines[0].startswith("xxx")


async def test_bad_flags_are_refused_as_argparse_does(start: Start) -> None:
    fake = await start("--port", "eighty")
    assert await fake.ends() == Exit(code=2)
    assert "invalid int value" in fake.lines[-1]


def test_an_unknown_behaviour_is_an_error() -> None:
    with pytest.raises(TypeError, match="die_at_strat"):
        behaviour(die_at_strat=1)


# The memory saver: facts about release and resume in SGLang 0.5.23.

SAVER = ("--enable-memory-saver", "--enable-weights-cpu-backup")


async def saver(fake: Fake, what: str, **body: object) -> int | None:
    try:
        async with fake.http.post(f"/{what}_memory_occupation", json=body) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:
        return None


async def test_a_release_while_a_request_runs_kills_it(start: Start) -> None:
    fake = await (await start(*SAVER, hang=True)).ready()
    asked = asyncio.create_task(fake.post(GENERATION[0], CHAT))
    await fake.journaled("request")
    assert await saver(fake, "release") is None
    assert (await fake.ends()).signal == signal.SIGKILL
    with pytest.raises(aiohttp.ClientConnectionError):
        await asked


@pytest.mark.parametrize("flags", [(), SAVER])
async def test_a_second_resume_kills_it_with_or_without_the_saver(
    start: Start, flags: tuple[str, ...]
) -> None:
    fake = await (await start(*flags)).ready()
    assert await saver(fake, "release") == await saver(fake, "resume") == 200
    assert await saver(fake, "resume") is None
    assert (await fake.ends()).signal == signal.SIGKILL


async def test_tags_are_released_and_resumed_each_by_itself(start: Start) -> None:
    fake = await (await start(*SAVER)).ready()
    assert await saver(fake, "release", tags=["weights"]) == 200
    assert await saver(fake, "resume", tags=["kv_cache"]) is None
    assert (await fake.ends()).signal == signal.SIGKILL


async def test_without_the_saver_a_release_does_nothing(start: Start) -> None:
    fake = await (await start()).ready()
    assert await saver(fake, "release") == 200
    assert (await fake.post(GENERATION[0], CHAT))[0] == 200
    assert await fake.status("/health") == 200


async def test_asleep_it_fails_its_health_check_and_dies_of_a_request(start: Start) -> None:
    fake = await (await start(*SAVER)).ready()
    await saver(fake, "release")
    assert await fake.status("/ready") == 200
    assert await fake.status("/health") == 503
    with pytest.raises(aiohttp.ClientConnectionError):
        await fake.post(GENERATION[0], CHAT)
    assert (await fake.ends()).signal == signal.SIGKILL


async def test_without_a_backup_the_weights_are_lost(start: Start) -> None:
    fake = await (await start(SAVER[0], answer="I am me")).ready()
    await saver(fake, "release")
    await saver(fake, "resume")
    _, answer = await fake.post(GENERATION[0], CHAT)
    assert answer["choices"][0]["message"]["content"] == "! ! !"


async def test_a_flush_waits_for_requests_for_as_long_as_it_is_told(start: Start) -> None:
    fake = await (await start(*SAVER, hang=True)).ready()
    async with fake.http.post("/flush_cache") as answer:
        assert answer.status == 200
    asked = asyncio.create_task(fake.post(GENERATION[0], CHAT))
    await fake.journaled("request")
    async with fake.http.post("/flush_cache?timeout=0.1") as answer:
        assert answer.status == 400
    asked.cancel()
    await asyncio.wait({asked})


async def test_memory_comes_free_some_time_after_a_release(
    start: Start, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    device.mkdir()
    engine = {"device": str(device), "memory": 100, "kept_asleep": 7}
    slow = await (await start(*SAVER, **engine, frees_after=600.0)).ready()
    await saver(slow, "release")
    assert taken(device) == 100
    await slow.process.stop(0)

    async def held() -> int:
        return taken(device)

    fake = await (await start(*SAVER, **engine, frees_after=0.2)).ready()
    await saver(fake, "release")
    await eventually(held, 7)
    await saver(fake, "resume")
    assert taken(device) == 100
