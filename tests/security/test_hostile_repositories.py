"""Hostile repositories, fetched from a loopback Hub by the running worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.caller import CHAT, Caller, chat
from tests.e2e.harness import Harness
from tests.servable import servable
from tests.worker import Worker

UNSUPPORTED = (422, "unsupported_model")


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker(MAX_LOADED_MODELS="2") as worker:
        yield worker


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("pickles", {"pytorch_model.bin": b"pickle", "model.safetensors": None}),
        ("checkpoints", {"weights.ckpt": b"pickle", "model.safetensors": None}),
        ("reads", {"tokenizer_config.json": b'{"vocab_file": "/etc/passwd"}'}),
        ("climbs", servable(mm_vision_tower="../../models--acme--hidden")),
        ("calls", servable(_attn_implementation_internal="mallory/kernel")),
        ("huge", servable(a="x" * (9 << 20))),
        ("listless", {"config.json": b"[]"}),
        ("deep", servable(num_hidden_layers=3000)),
        ("borrows", servable(mm_vision_tower="acme/hidden")),
        ("points", {"model.safetensors.index.json": b'{"weight_map": {"w": "../../x"}}'}),
        ("picks", {"tokenizer_config.json": b'{"fast_tokenizer_files": ["../x/t.json"]}'}),
    ],
)
async def test_it_is_refused_before_an_engine_starts(
    harness: Harness, caller: Caller, name: str, files: dict[str, bytes | None]
) -> None:
    usual = {
        **servable(),
        "model.safetensors": b"weights",
    }
    model = f"mallory/{name}"
    kept = {file: data for file, data in {**usual, **files}.items() if data is not None}
    harness.hub.add_repo(model, kept)
    refused = await caller.chat(model)
    assert refused.refusal == UNSUPPORTED, refused.body
    assert not harness.journal.events("start", model)
    assert str(harness.workers[-1].directory) not in refused.body.decode()


async def test_the_modules_of_an_embedding_model_are_its_own(
    harness: Harness, caller: Caller
) -> None:
    files = {
        **servable(architectures=["Gemma3TextModel"]),
        "modules.json": b'[{"path": "../../../models--acme--hidden/snapshots/x/2_Dense"}]',
        "model.safetensors": b"weights",
    }
    harness.hub.add_repo("mallory/reaches", files)
    body = {"model": "mallory/reaches", "input": "Who are you?"}
    assert (await caller.post("/v1/embeddings", body)).refusal == UNSUPPORTED
    assert not harness.journal.events("start", "mallory/reaches")


async def test_nothing_in_a_request_makes_a_model_trusted(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/asked")
    for field in ("trust_remote_code", "trust-remote-code", "engine_args", "flags"):
        await caller.post(CHAT, chat(model) | {field: True})
    assert (await caller.chat(model)).text == f"I am {model}"
    (start,) = harness.journal.events("start", model)
    assert not [flag for flag in start["argv"] if "trust" in str(flag)]


async def test_the_worker_works_on(harness: Harness, caller: Caller) -> None:
    model = harness.model("acme/after")
    assert (await caller.chat(model)).text == f"I am {model}"
