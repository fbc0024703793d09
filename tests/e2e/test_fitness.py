"""A model that no engine can serve is refused before any weights are downloaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.harness import Harness
from tests.fake_engine import FILE, behaviour
from tests.servable import servable
from tests.worker import Worker

UNSUPPORTED = (422, "unsupported_model")
OWN_CODE = {
    "architectures": ["OwnForCausalLM"],
    "model_type": "own",
    "auto_map": {"AutoConfig": "configuration_own.Own", "AutoModel": "modeling_own.Own"},
}
CODE = {"configuration_own.py": b"", "modeling_own.py": b""}


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker() as worker:
        yield worker


def weights_asked_for(harness: Harness, model: str) -> int:
    return sum(
        f"/{model}/resolve/" in one.path and one.path.endswith(".safetensors")
        for one in harness.hub.requests
    )


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("unheard", servable(architectures=["UnheardForCausalLM"]), "`UnheardForCausalLM`"),
        ("t5", servable(architectures=["T5ForConditionalGeneration"]), "`T5ForCond"),
        ("null", servable(architectures=None), "no `architectures`"),
        ("type", servable(model_type="unheard"), "type `unheard`"),
        ("code", {**servable(**OWN_CODE), **CODE}, "--trust-remote-code"),
        ("mute", {"config.json": servable()["config.json"]}, "no tokenizer"),
        ("empty", {"tokenizer.json": b"{}"}, "config.json"),
        ("small", servable(quantization_config={"quant_method": "bitsandbytes"}), "CPU"),
        ("nvidia", {**servable(), "hf_quant_config.json": b'{"quant_algo": "FP8"}'}, "CPU"),
        ("packed", {**servable(), "quantize_config.json": b'{"bits": 4}'}, "--quantization"),
        ("apple", servable(quantization={"group_size": 64, "bits": 4}), "Apple's MLX"),
    ],
)
async def test_an_unfit_model_is_refused_with_the_reason_before_its_weights_come(
    harness: Harness, caller: Caller, name: str, files: dict[str, bytes], reason: str
) -> None:
    model = f"acme/{name}"
    harness.hub.add_repo(model, {**files, "model.safetensors": bytes(1000)})
    refused = await caller.chat(model)
    assert refused.refusal == UNSUPPORTED
    assert reason in refused.json["error"]["message"]
    assert weights_asked_for(harness, model) == 0
    assert not harness.journal.events("start", model)


async def test_a_caller_hears_why_an_engine_did_not_start(
    harness: Harness, caller: Caller
) -> None:
    words = "OSError: /root/model/weights.bin is broken"
    model = harness.model("acme/broken", die_at_start=1, last_words=words)
    answers = await caller.chat_until((503, "engine_unavailable"), model)
    assert len(answers) > 2
    for answer in answers:
        assert answer.refusal in ((502, "engine_failed"), (503, "engine_unavailable"))
        assert "OSError: <path> is broken" in answer.json["error"]["message"]


async def test_what_sglang_does_not_support_is_started_once(
    harness: Harness, caller: Caller
) -> None:
    words = "ValueError: Unknown quantization method: odd. Must be one of ['fp8']."
    model = harness.model("acme/odd", die_at_start=1, last_words=words)
    for _ in range(3):
        refused = await caller.chat(model)
        assert refused.refusal == UNSUPPORTED
        assert "Unknown quantization method: odd" in refused.json["error"]["message"]
    assert len(harness.journal.events("start", model)) == 1


async def test_an_unfit_directory_of_the_operator_is_refused_with_the_reason(
    harness: Harness, tmp_path: Path
) -> None:
    for name, content in servable(architectures=["UnheardForCausalLM"]).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / FILE).write_bytes(behaviour(answer="I am new."))
    with harness.worker(MODEL_NAME=str(tmp_path)) as worker:
        async with calling(worker.url) as caller:
            refused = await caller.chat(None)
    assert refused.refusal == UNSUPPORTED
    assert "`UnheardForCausalLM`" in refused.json["error"]["message"]
    flags = "--model-impl transformers"
    with harness.worker(MODEL_NAME=str(tmp_path), ENGINE_ARGS=flags) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).text == "I am new."


async def test_code_of_its_own_is_judged_by_each_entrys_own_permission(
    harness: Harness,
) -> None:
    """Even if the snapshot is already on disk for an entry that may run the code."""
    model = "acme/coded"
    files = {**servable(**OWN_CODE), **CODE, "model.safetensors": bytes(1000)}
    commit = harness.hub.add_repo(model, files)
    models = json.dumps([{"model": model, "trust_remote_code": True}])
    with harness.worker(MODELS_CONFIG=models) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(model)).text == f"I am {model}"
            refused = await caller.chat(f"{model}@{commit}")
    assert refused.refusal == UNSUPPORTED
    assert "--trust-remote-code" in refused.json["error"]["message"]
