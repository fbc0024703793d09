"""`check` before an operator pays for a model."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
from errno import ENOSPC
from typing import Any

import pytest

from engines.interpreter import Finding
from router.app.configuration import Configuration, history_file
from router.commands.check.checker import Checker
from router.models import EngineKey
from router.scheduler.history import History, Stage
from tests.commands.harness import PATIENCE, Operator
from tests.eventually import eventually
from tests.tiny_models import Kind, make

pytestmark = pytest.mark.process

ADAPTER = {
    "config.json": b"{}",
    "adapter_config.json": json.dumps({"base_model_name_or_path": "acme/base"}).encode(),
    "adapter_model.safetensors": b"x" * 100,
}
UNKNOWN = {
    "config.json": json.dumps({"architectures": ["Nope"], "model_type": "nope"}).encode(),
    "model.safetensors": b"x" * 100,
}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def test_a_model_that_fits_is_described(operator: Operator) -> None:
    commit = operator.publish("acme/chat")
    done = operator.run("check", "Acme/Chat", "--gpu-memory", "24GiB", "--json")
    assert done.code == 0, done.err
    found = done.json
    [model] = found["models"]
    assert found["can_be_served"]
    assert found["budget_bytes"] == 24 << 30
    assert (model["repository"], model["commit"]) == ("acme/chat", commit)
    assert (model["access"], model["task"]) == ("public", "generate")
    weights = (operator.root / "made/chat/model.safetensors").stat().st_size
    sizes = {file["name"]: file["bytes"] for file in model["files"]}
    assert sizes["model.safetensors"] == weights
    assert model["bytes_to_download"] == model["bytes"] == sum(sizes.values())
    memory = model["memory"]
    assert memory["kv_bytes_per_token"] == 2 * 2 * 2 * 16 * 2  # K and V, layers, heads, width
    assert memory["weights_bytes"] < weights  # fp32 is loaded as 16 bits
    assert memory["longest_request"] == memory["model_context"] == 4096
    least = memory["weights_bytes"] + memory["overhead_bytes"]
    assert least < memory["claim_bytes"] < 24 << 30
    assert model["start_seconds"] is None


def test_nothing_but_the_small_files_is_downloaded_and_nothing_stays(
    operator: Operator,
) -> None:
    operator.publish("acme/chat")
    assert operator.run("check", "acme/chat").code == 0
    fetched = {
        one.path.rpartition("/")[2] for one in operator.hub.requests if one.method == "GET"
    }
    assert "tokenizer.json" in fetched
    assert "model.safetensors" not in fetched
    assert not (operator.root / "cache").exists()


def test_what_is_on_the_disk_needs_no_download(operator: Operator) -> None:
    operator.publish("acme/chat")
    assert operator.run("prefetch", "acme/chat", "--into", str(operator.cache)).code == 0
    [model] = operator.run("check", "acme/chat", "--json").json["models"]
    assert model["bytes_to_download"] == 0
    assert model["bytes_on_disk"] == model["bytes"] > 400_000
    weights = next(operator.cache.glob("models--*/snapshots/*/model.safetensors"))
    weights.resolve().unlink()
    shutil.rmtree(operator.cache / "router-manifests")
    [model] = operator.run("check", "acme/chat", "--json").json["models"]
    on_disk = {file["name"]: file["on_disk"] for file in model["files"]}
    assert [name for name, found in on_disk.items() if not found] == ["model.safetensors"]


REFUSED = {
    "acme/gated": ("model_gated", "ask for access on"),
    "acme/private": ("model_not_found", "does not exist, or it is private"),
    "acme/missing": ("model_not_found", "does not exist, or it is private"),
    "acme/gguf": ("unsupported_model", "only as .gguf"),
    "acme/adapter": ("unsupported_model", "acme/base"),
    "acme/unknown": ("unsupported_model", "does not support the model type `nope`"),
    "acme/../chat": ("invalid_model_id", "must be a Hugging Face id"),
}


def test_models_that_can_not_be_served_are_told_with_what_to_do(operator: Operator) -> None:
    operator.publish("acme/chat")
    operator.publish("acme/gated", gated="manual")
    operator.publish("acme/private", private=True)
    operator.hub.add_repo("acme/gguf", {"config.json": b"{}", "model.gguf": b"x"})
    operator.hub.add_repo("acme/adapter", ADAPTER)
    operator.hub.add_repo("acme/unknown", UNKNOWN)
    done = operator.run("check", *REFUSED, "acme/chat")
    assert done.code == 1
    assert done.err == ""
    for name, (code, says) in REFUSED.items():
        assert re.search(rf"^{name} +{code}\b", done.out, re.MULTILINE)
        [reason] = re.findall(rf"^{name}: (.*)$", done.out, re.MULTILINE)
        assert says in reason
    assert re.search(r"^acme/chat +ok\b", done.out, re.MULTILINE)


def test_a_token_is_asked_with_and_shown_nowhere(operator: Operator) -> None:
    operator.publish("acme/gated", gated="manual")
    operator.publish("acme/private", private=True)
    ann, bob = operator.hub.add_account("ann"), operator.hub.add_account("bob")
    operator.hub.accept("acme/gated", "ann")
    operator.hub.share("acme/private", "ann")
    file = operator.file("token", f"{ann}\n")
    for how in ({"HF_TOKEN": ann}, {"HF_TOKEN": bob, "ALLOWED_MODELS": "*"}):
        given = [] if how["HF_TOKEN"] == ann else ["--token-file", file]
        done = operator.run("check", "acme/gated", "acme/private", "--json", *given, **how)
        assert done.code == 0, done.all
        assert [one["access"] for one in done.json["models"]] == ["gated", "private"]
        assert ann not in done.all
        assert bob not in done.all
    refused = operator.run("check", "acme/gated", "acme/private", "--json", HF_TOKEN=bob)
    codes = [one["refusal"]["code"] for one in refused.json["models"]]
    assert codes == ["model_gated", "model_not_found"]


def test_a_token_that_serves_no_other_callers_is_told_of(operator: Operator) -> None:
    operator.publish("acme/private", private=True)
    token = operator.hub.add_account("acme")
    done = operator.run("check", "acme/private", HF_TOKEN=token, HOST="0.0.0.0")
    assert done.code == 0
    assert "callers without a token do not get it: anyone can call 0.0.0.0" in done.out


def test_a_token_that_the_hub_does_not_know_is_refused(operator: Operator) -> None:
    operator.publish("acme/chat")
    token = "hf_" + secrets.token_hex(16)
    done = operator.run("check", "acme/chat", "--token-file", operator.file("token", token))
    assert done.code == 1
    assert "invalid_hf_token" in done.out
    assert token not in done.all


@pytest.mark.parametrize("content", ["Bearer of bad news", None])
def test_a_token_file_that_can_not_be_used_is_wrong_use(
    operator: Operator, content: str | None
) -> None:
    file = str(operator.root / "none") if content is None else operator.file("token", content)
    done = operator.run("check", "acme/chat", "--token-file", file)
    assert done.code == 2
    assert "Nothing can be checked" in done.err
    assert "bad news" not in done.all


def test_a_model_that_is_too_large_is_told_with_its_numbers(operator: Operator) -> None:
    operator.publish("acme/chat")
    small = operator.run("check", "acme/chat", "--gpu-memory", "1GiB")
    assert small.code == 1
    assert "model_too_large" in small.out
    assert "This worker has 1.0 GiB" in small.out
    capped = operator.run("check", "acme/chat", "--json", MAX_MODEL_BYTES="100kB")
    [model] = capped.json["models"]
    assert model["refusal"]["code"] == "model_too_large"
    assert model["bytes"] > 400_000  # the files are listed anyway
    shared = operator.run(
        "check", "acme/chat", "--gpu-memory", "24GiB", "--json", GPU_MEMORY_BUDGET="1GiB"
    )
    assert shared.json["models"][0]["refusal"]["code"] == "model_too_large"
    assert shared.json["models"][0]["memory"]["claim_bytes"] > 1 << 30


def test_a_hub_that_is_down_is_told(operator: Operator) -> None:
    operator.hub.faults.add(".*", "500", times=None)
    done = operator.run("check", "acme/chat")
    assert done.code == 1
    assert "hub_unavailable" in done.out


def test_a_cache_that_can_not_be_written_is_told_where_a_download_is_due(
    operator: Operator,
) -> None:
    operator.publish("acme/chat")
    file = operator.file("file", "")
    done = operator.run("check", "acme/chat", HF_HUB_CACHE=f"{file}/hub")
    assert done.code == 1
    assert "storage_failed" in done.out
    assert "its operator has to act" in done.out


def test_too_small_a_disk_budget_is_told(operator: Operator) -> None:
    operator.publish("acme/chat")
    done = operator.run("check", "acme/chat", DISK_BUDGET="100kB")
    assert done.code == 1
    assert "insufficient_disk" in done.out


def test_a_models_file_is_checked_entry_by_entry(operator: Operator) -> None:
    operator.publish("acme/chat")
    operator.publish("acme/private", private=True)
    make(operator.root / "made", "own", Kind.EMBED)
    token = operator.hub.add_account("acme")
    file = operator.file(
        "models.yaml",
        f"""
- model: acme/chat
  aliases: [talk]
  flags: {{context-length: 2048}}
  memory: 3GiB
  max_queue: 4
- model: acme/private
  token_env: ACME_TOKEN
  group: large
- model: {operator.root}/made/own
""",
    )
    done = operator.run(
        "check", file, "--gpu-memory", "24GiB", "--json", ACME_TOKEN=token, MODEL_NAME="acme/x"
    )
    assert done.code == 0, done.all
    chat, private, own = done.json["models"]
    assert [one["model"] for one in (chat, private, own)] == ["talk", "acme/private", "own"]
    assert [one["asked_with"] for one in (chat, private)] == ["no token", "ACME_TOKEN"]
    assert (own["access"], own["task"]) == ("local", "embed")
    assert chat["memory"]["claim_bytes"] == 3 << 30
    assert chat["memory"]["model_context"] == 2048
    assert chat["engine_flags"] == ["--context-length", "2048"]
    assert (chat["group"], chat["max_queue"], chat["max_concurrency"]) == (None, 4, None)
    assert private["group"] == {"name": "large", "max_loaded": 1, "exclusive": False}
    assert token not in done.all
    table = operator.run("check", file, "--gpu-memory", "24GiB", ACME_TOKEN=token).out
    assert table.splitlines()[0].endswith("group")
    assert table.splitlines()[2].endswith("large")


def test_a_mistake_in_a_models_file_is_wrong_use_with_its_line(operator: Operator) -> None:
    file = operator.file(
        "models.yaml", "- model: acme/chat\n- model: acme/other\n  pin: maybe\n"
    )
    done = operator.run("check", file)
    assert done.code == 2
    assert f"{file}:3: entry 2 (acme/other): `pin` is 'maybe'" in done.err
    assert "must be true or false" in done.err


def test_without_a_name_the_configured_models_are_checked(operator: Operator) -> None:
    operator.publish("acme/chat")
    found = operator.run("check", "--json", MODEL_NAME="acme/chat")
    assert [one["model"] for one in found.json["models"]] == ["acme/chat"]
    nothing = operator.run("check")
    assert nothing.code == 2
    assert "name a model or a models file, or set MODEL_NAME or MODELS_CONFIG" in nothing.err


def test_what_earlier_starts_took_is_told(operator: Operator) -> None:
    commit = operator.publish("acme/chat")
    environ = {"HOME": str(operator.root), "HF_HOME": str(operator.root / "cache")}
    history = History()
    key = EngineKey("acme/chat", commit)
    history.took(Stage.START, key, 440_574, 42.0)
    facts = {(fact.kind, fact.model): (1.0, fact) for fact in history.take_news()}
    version = operator.run("check", "acme/chat", "--json").json["sglang"]
    configuration = Configuration.read(environ)
    for_engines = configuration.with_engines(Finding("", is_warning=False, version=version))
    file = history_file(for_engines, "CPU")
    assert file is not None
    file.merge(facts)
    done = operator.run("check", "acme/chat")
    assert re.search(r"^start +42 s, by earlier starts$", done.out, re.MULTILINE)


def test_without_sglang_it_is_judged_for_the_tested_one(operator: Operator) -> None:
    operator.publish("acme/chat")
    done = operator.run("check", "acme/chat", ENGINE_PYTHON="/not/there")
    assert done.code == 0
    assert "no SGLang here (ENGINE_PYTHON): judged for SGLang" in done.out


def test_without_a_terminal_the_text_is_plain(operator: Operator) -> None:
    operator.publish("acme/chat")
    done = operator.run("check", "acme/chat", "acme/none", FORCE_COLOR="1")
    assert not CONTROL.search(done.out)
    head, first, second, *_ = done.out.splitlines()
    column = head.index("verdict")
    assert first[column:].startswith("ok")
    assert second[column:].startswith("model_not_found")


def test_a_terminal_gets_colors_unless_it_wants_none(operator: Operator) -> None:
    operator.publish("acme/chat")
    colored = operator.on_terminal("check", "acme/chat", "acme/none")
    plain = operator.on_terminal("check", "acme/chat", "acme/none", NO_COLOR="1")
    assert "\x1b[1;31mmodel_not_found\x1b[0m" in colored.out
    assert "\x1b[31" not in plain.out
    assert "\x1b[1;31" not in plain.out
    assert "model_not_found" in plain.out


async def test_a_disk_that_fails_is_part_of_the_verdict() -> None:
    class FailingDisk:
        async def admit(self, *_: object) -> None:
            raise OSError(ENOSPC, "No space left on device")

    parts: Any = (Configuration.read({}), FailingDisk(), None, None, None, None)
    verdict = await Checker(*parts).check("acme/chat", None, "no token")
    assert verdict.as_json()["refusal"] == {
        "code": "storage_failed",
        "message": "This machine's disk can't be used: No space left on device.",
    }


async def test_ctrl_c_ends_it_without_a_traceback(operator: Operator) -> None:
    struck = operator.hub.faults.add(".*", "hang", times=None)
    with operator.running("check", "acme/chat") as process:
        await eventually(struck)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, "", "")
