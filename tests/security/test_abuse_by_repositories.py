"""Repositories with too many files, too much configuration or too many bytes. Others are served
during and after them."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from math import inf, nan

import pytest

from router.repository.listing import MAX_FILES
from tests.e2e.caller import Caller
from tests.e2e.harness import Harness
from tests.e2e.processes import command, resident
from tests.servable import LLAMA, servable
from tests.worker import Worker

MODEL = "acme/model"
AT_ONCE = 60.0  # seconds: far below any deadline of the worker, even on the busiest machine
SERVED, UNSUPPORTED = "", "unsupported_model"


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model(MODEL)
    with harness.worker(MAX_LOADED_MODELS="2", FETCH_LINGER="0") as worker:
        yield worker


@pytest.fixture
async def other(caller: Caller) -> AsyncIterator[Caller]:
    async with served_meanwhile(caller):
        yield caller


@asynccontextmanager
async def served_meanwhile(caller: Caller) -> AsyncIterator[None]:
    assert (await caller.chat(MODEL)).status == 200
    longest, over = 0.0, asyncio.Event()

    async def ask() -> None:
        nonlocal longest
        while not over.is_set():
            began = time.monotonic()
            assert (await caller.chat(MODEL)).text == f"I am {MODEL}"
            longest = max(longest, time.monotonic() - began)

    asking = asyncio.create_task(ask())
    yield
    over.set()
    await asking
    assert longest < AT_ONCE


async def code_for(caller: Caller, model: str) -> str:
    answer = await caller.chat(model)
    return SERVED if answer.status == 200 else answer.refusal[1]


class Sized(bytes):
    """Bytes that claim a larger size."""

    claim = 10**15

    def __len__(self) -> int:
        return self.claim


def memory_of_downloads(worker: Worker) -> list[int]:
    pids = worker.processes()
    downloads = [pid for pid in pids if "router.downloads.child" in command(pid)]
    found: list[int] = []
    for pid in downloads:
        with suppress(OSError, ValueError):  # it has ended meanwhile
            found.append(resident(pid))
    return found


async def test_a_repository_of_very_many_files_is_refused_after_some_pages(
    harness: Harness, worker: Worker, other: Caller
) -> None:
    harness.hub.list_by(1000)
    files = {f"{number:06}.safetensors": b"x" for number in range(100_000)}
    harness.hub.add_repo("mallory/many", files | servable())
    harness.hub.faults.add("/api/models/mallory/many/tree/.*", "hang")
    before, asked = resident(worker.pid), len(harness.hub.requests)
    refusal = asyncio.create_task(code_for(other, "mallory/many"))
    children: list[int] = []
    while not refusal.done():
        children += await asyncio.to_thread(memory_of_downloads, worker)
        if children:
            harness.hub.faults.clear()
        await asyncio.wait([refusal], timeout=0.02)
    assert refusal.result() == UNSUPPORTED
    pages = [r for r in harness.hub.requests[asked:] if "/tree/" in r.path]
    assert len(pages) == MAX_FILES // 1000 + 1
    assert max(children) < 250 << 20
    assert resident(worker.pid) - before < 100 << 20


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (b"{" + b'"a":{' * 100_000 + b"}" * 100_001, UNSUPPORTED),
        (b'{"a":' + b"[" * 100_000, UNSUPPORTED),
        (json.dumps({**LLAMA} | {f"key-{n}": n for n in range(100_000)}).encode(), SERVED),
        (json.dumps({**LLAMA, "a": [nan, -inf]}).encode(), SERVED),
        (b'{"a": "\xff\xfe"}', UNSUPPORTED),
        (b'{"a": ' + b"9" * 5000 + b"}", UNSUPPORTED),
        (b"", UNSUPPORTED),
        (b"null", UNSUPPORTED),
        (b"[1]", UNSUPPORTED),
        (b'{"num_hidden_layers": 1000000000000}', UNSUPPORTED),
        (b'{"num_hidden_layers": 3000, "hidden_size": 8}', UNSUPPORTED),
        (b'{"text_config": {"n_layer": 500, "n_embd": 4096}}', UNSUPPORTED),
        (b'{"vocab_size": -1}', UNSUPPORTED),
        (b'{"architectures": 5, "model_type": [[]]}', UNSUPPORTED),
        (b'{"architectures": [1, null, {}], "model_type": "llama"}', UNSUPPORTED),
        (b'{"architectures": [1, "LlamaForCausalLM"], "model_type": "llama"}', SERVED),
        (b'{"hidden_size": "4096"}', UNSUPPORTED),
    ],
    ids=[
        *("deep", "open", "wide", "no numbers", "no text", "long number", "empty", "null"),
        *("list", "layers", "some layers", "no weights", "words", "number", "numbers", "some"),
        "text",
    ],
)
async def test_an_absurd_configuration_is_the_engines_matter_or_refused(
    harness: Harness, other: Caller, config: bytes, code: str
) -> None:
    model = f"mallory/{secrets.token_hex(4)}"
    files = {**servable(), "config.json": config, "model.safetensors": model.encode()}
    harness.hub.add_repo(model, files)
    assert await code_for(other, model) == code
    fetched = [r for r in harness.hub.requests if f"{model}/resolve" in r.path]
    weights = [r for r in fetched if r.path.endswith(".safetensors")]
    assert bool(weights) == (code == SERVED)


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        ((2**63).to_bytes(8, "little") + b"{}", SERVED),
        (Sized(b"x"), "model_too_large"),
    ],
    ids=["long header", "size"],
)
async def test_weights_that_lie_are_the_engines_matter_or_refused(
    harness: Harness, other: Caller, weights: bytes, code: str
) -> None:
    model = f"mallory/{secrets.token_hex(4)}"
    files = {**servable(), "model.safetensors": weights}
    harness.hub.add_repo(model, files)
    assert await code_for(other, model) == code
