"""Fields and headers that affect an engine or another caller. The engine accepts them all, and
logs what it got."""

from __future__ import annotations

import json
import pickle
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e_sglang.harness import Harness, Json
from tests.e2e_sglang.target import Target
from tests.e2e_sglang.watching import cached_tokens
from tests.eventually import eventually

pytestmark = pytest.mark.sglang

CHAT = "/v1/chat/completions"
NATIVE = "/generate"
PROMPTS: Mapping[str, Json] = {
    CHAT: {"messages": [{"role": "user", "content": "Hi."}]},
    NATIVE: {"text": "Hi."},
}
SECRET = {"text": "A secret that one caller wrote and nobody else is to know of."}

# How to set a field so that a search finds it in the engine's log. A mark is a number.
DROPPED: Mapping[str, Mapping[str, Callable[[str], object]]] = {
    CHAT: {
        **dict.fromkeys(("rid", "session_id", "extra_key", "cache_salt"), str),
        **dict.fromkeys(("priority", "routed_dp_rank", "data_parallel_rank"), int),
        "disagg_prefill_dp_rank": int,
        "custom_params": lambda mark: {"x": mark},
    },
    NATIVE: {
        **dict.fromkeys(("rid", "session_id", "conversation_id", "routing_key"), str),
        **dict.fromkeys(("extra_key", "cache_salt"), str),
        **dict.fromkeys(("priority", "routed_dp_rank", "disagg_prefill_dp_rank"), int),
        "custom_labels": lambda mark: {"x": mark},
        "sampling_params": lambda mark: {"custom_params": {"x": mark}},
    },
}
REFUSED: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys(("bootstrap_host", "lora_path", "lora_id", "http_worker_ipc"), str),
    **dict.fromkeys(("bootstrap_port", "bootstrap_room"), int),
    "session_params": lambda mark: {"id": mark},
}
HEADERS = [
    *("X-Override-Rid", "X-Override-Conversation-Id", "X-Override-Bootstrap-Host"),
    *("X-Override-Bootstrap-Port", "X-Override-Bootstrap-Room", "X-Override-Priority"),
    *("X-Override-Routed-Dp-Rank", "X-Override-Disagg-Prefill-Dp-Rank", "X-SMG-Routing-Key"),
]
LISTED = [(path, name) for path, fields in DROPPED.items() for name in fields]


def a_mark() -> str:
    return str(10**17 + secrets.randbelow(10**17))


@pytest.mark.parametrize(("path", "name"), LISTED)
async def test_ids_and_hints_do_not_reach_the_engine(
    path: str, name: str, harness: Harness, worker: Target, engine: Target
) -> None:
    mine, control, marked = a_mark(), a_mark(), DROPPED[path][name]
    assert (await worker.post(path, PROMPTS[path] | {name: marked(mine)})).answer
    await engine.post(path, PROMPTS[path] | {name: marked(control)})
    await eventually(lambda: control in harness.worker.log)
    assert mine not in harness.worker.log


@pytest.mark.parametrize("name", REFUSED)
async def test_what_would_change_the_answer_is_refused(
    name: str, harness: Harness, worker: Target, engine: Target
) -> None:
    mine, control, marked = a_mark(), a_mark(), REFUSED[name]
    reply = await worker.post(NATIVE, PROMPTS[NATIVE] | {name: marked(mine)})
    assert f"`{name}`" in reply.refusal
    await engine.post(NATIVE, PROMPTS[NATIVE] | {name: marked(control)})
    await eventually(lambda: control in harness.worker.log)
    assert mine not in harness.worker.log


@pytest.mark.parametrize("header", HEADERS)
async def test_headers_do_not_reach_the_engine(
    header: str, harness: Harness, worker: Target, engine: Target
) -> None:
    mine, control = a_mark(), a_mark()
    assert (await worker.post(NATIVE, PROMPTS[NATIVE], {header: mine})).answer
    await engine.post(NATIVE, PROMPTS[NATIVE], {header: control})
    await eventually(lambda: control in harness.worker.log)
    assert mine not in harness.worker.log


async def test_a_header_picks_no_gpu(worker: Target, engine: Target) -> None:
    header = {"X-Data-Parallel-Rank": "7"}
    assert (await engine.post(CHAT, PROMPTS[CHAT], header)).status == 400  # it has one GPU
    assert (await worker.post(CHAT, PROMPTS[CHAT], header)).answer


async def test_a_caller_who_knows_anothers_salt_does_not_get_at_what_it_keeps_apart(
    harness: Harness, worker: Target, engine: Target
) -> None:
    async def cached(target: Target, token: str, salt: str = "") -> int:
        named = {"cache_salt": salt, "extra_key": salt} if target is worker else {}
        return cached_tokens((await target.post(NATIVE, SECRET | named, _by(token))).answer)

    assert await cached(worker, harness.ann) < 10
    await eventually(lambda: _salt(harness.worker.lines))
    salt = _salt(harness.worker.lines)
    assert await cached(worker, harness.ann) > 50
    assert await cached(worker, harness.ben, salt) < 10
    stolen = await engine.post(NATIVE, SECRET | {"cache_salt": salt})
    assert cached_tokens(stolen.answer) > 50


async def test_a_request_brings_no_code(worker: Target, engine: Target, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = json.dumps({"callable": pickle.dumps(Code(ran)).hex()})
    sampling = {"custom_params": {"token_ids": [0]}}
    body = {"text": "Hi.", "custom_logit_processor": code, "sampling_params": sampling}
    assert "code" in (await worker.post(NATIVE, body)).refusal
    assert not ran.exists()
    assert (await engine.post(NATIVE, body)).answer
    assert ran.exists()


class Code:
    """Unpickling it runs code: it writes a file and is a logit processor."""

    def __init__(self, ran: Path) -> None:
        self._ran = ran

    def __reduce__(self) -> tuple[object, tuple[str]]:
        module = "__import__('sglang.srt.sampling.custom_logit_processor', fromlist=['x'])"
        found = f"{module}.DisallowedTokensLogitsProcessor"
        return eval, (f"[open({str(self._ran)!r}, 'w').close(), {found}][1]",)


@pytest.mark.parametrize("path", [CHAT, "/v1/tokenize"])
async def test_a_request_brings_no_chat_template(
    path: str, worker: Target, engine: Target
) -> None:
    """SGLang guards this itself with a flag, which only the operator's models get."""
    body = PROMPTS[CHAT] | {"chat_template_kwargs": {"chat_template": "{{ 6 * 7 }}"}}
    assert "`chat_template_kwargs.chat_template`" in (await worker.post(path, body)).refusal
    assert "--trust-request-chat-template" in (await engine.post(path, body)).text


# Keys that occur twice or are spelled with an escape


async def test_a_key_that_is_there_twice_counts_once(worker: Target) -> None:
    absent, said = '"model": "tests/absent"', '"text": "Hi."'
    there = f'"model": "{worker.model}"'
    served = await worker.send("POST", NATIVE, f"{{{absent}, {said}, {there}}}".encode())
    refused = await worker.send("POST", NATIVE, f"{{{there}, {said}, {absent}}}".encode())
    assert served.answer["text"] == "I am apple."
    assert refused.content["error"]["code"] == "model_not_found"


async def test_a_key_is_known_by_what_it_means_and_not_by_how_it_is_written(
    harness: Harness, worker: Target, engine: Target
) -> None:
    mine, control = a_mark(), a_mark()

    def body(mark: str) -> bytes:
        twice = f'"rid": "{mark}", "r\\u0069d": "{mark}"'
        return f'{{"model": "{worker.model}", "prompt": "Hi.", {twice}}}'.encode()

    assert (await worker.send("POST", "/v1/completions", body(mine))).answer
    await engine.send("POST", "/v1/completions", body(control))
    await eventually(lambda: control in harness.worker.log)
    assert mine not in harness.worker.log


async def test_of_two_tokens_the_last_is_asked_with_and_none_is_sent_on(
    harness: Harness, worker: Target, engine: Target
) -> None:
    wrong, control = "hf_" + secrets.token_hex(17), a_mark()

    async def ask(first: str, last: str) -> int:
        tokens = f'"hf_token": "{first}", "hf_t\\u006fken": "{last}"'
        body = f'{{"model": "{worker.model}", "prompt": "Hi.", {tokens}}}'
        return (await worker.send("POST", "/v1/completions", body.encode())).status

    assert await ask(wrong, harness.ann) == 200
    assert await ask(harness.ann, wrong) == 401
    await engine.post("/v1/completions", {"prompt": "Hi.", "rid": control})
    await eventually(lambda: control in harness.worker.log)
    assert wrong not in harness.worker.log
    assert harness.ann not in harness.worker.log


def _by(token: str) -> dict[str, str]:
    return {"X-HF-Token": token}


def _salt(lines: list[str]) -> str:
    """The salt that the engine last received with the secret."""
    for line in reversed(lines):
        if SECRET["text"] in line and (found := re.search(r"cache_salt='(\w+)'", line)):
            return found[1]
    return ""
