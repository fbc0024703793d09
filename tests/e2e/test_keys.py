"""Keys with names, models and rates, from a file that changes while the worker runs."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.config.caller_keys import sha256_of
from tests.e2e.admin import Operator, operating
from tests.e2e.caller import Answer, Caller
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.worker import Worker


@dataclass(frozen=True)
class Keys:
    """The keys in the file; `extra` is added later."""

    narrow: str
    busy: str
    wordy: str
    leaving: str
    extra: str
    operators: str

    def file(self, *more: str) -> str:
        lines = [
            f"- {{name: narrow, key: {self.narrow}, models: [acme/allowed, mine]}}",
            f"- {{name: busy, sha256: {sha256_of(self.busy)}, requests_per_minute: 1}}",
            "- {name: wordy, key_env: WORDY_KEY, tokens_per_minute: 5}",
        ]
        return "\n".join([*lines, *more])

    @property
    def with_leaving(self) -> str:
        return self.file(f"- {{name: leaving, key: {self.leaving}}}")

    @property
    def with_extra(self) -> str:
        return self.file(f"- {{name: extra, key: {self.extra}}}")


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys(*(secrets.token_hex(16) for _ in range(6)))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


@pytest.fixture(scope="module")
def worker(harness: Harness, keys: Keys, file: Path) -> Iterator[Worker]:
    harness.model("acme/allowed")
    harness.model("acme/other")
    harness.model("acme/listed")
    file.write_text(keys.with_leaving)
    file.chmod(0o644)
    with harness.worker(
        API_KEYS_FILE=str(file),
        WORDY_KEY=keys.wordy,
        ADMIN_API_KEY=keys.operators,
        MODELS_CONFIG="[{model: acme/listed, aliases: [mine]}]",
        MAX_LOADED_MODELS="4",
    ) as worker:
        yield worker
    assert not [one for one in vars(keys).values() if one in worker.log]


async def chat(caller: Caller, key: str, model: str = "acme/allowed") -> Answer:
    return await caller.chat(model, key=key)


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def hang_up(worker: Worker, file: Path, text: str) -> None:
    write(file, text)
    before = worker.log.count("reloaded: ")
    worker.send(signal.SIGHUP)
    await eventually(lambda: worker.log.count("reloaded: ") > before)


async def test_a_file_of_keys_that_others_can_read_is_warned_of(worker: Worker) -> None:
    assert "others can read" in worker.log


async def test_a_key_is_for_its_models_alone_and_the_hub_is_not_asked_for_others(
    harness: Harness, worker: Worker, keys: Keys, caller: Caller
) -> None:
    assert (await chat(caller, keys.narrow)).status == 200
    assert (await chat(caller, keys.narrow, "mine")).status == 200
    before = len(harness.hub.requests)
    assert (await chat(caller, keys.narrow, "acme/other")).refusal == (403, "model_not_allowed")
    assert (await chat(caller, keys.narrow, "acme/none")).refusal == (403, "model_not_allowed")
    assert len(harness.hub.requests) == before
    await eventually(lambda: ", caller narrow, id " in worker.log)


async def test_over_its_requests_a_key_is_refused_until_the_time_that_it_is_told(
    keys: Keys, caller: Caller
) -> None:
    assert (await chat(caller, keys.narrow)).status == 200  # the model is loaded from now on
    assert (await chat(caller, keys.busy)).status == 200
    refused = await chat(caller, keys.busy)
    assert refused.refusal == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert (await chat(caller, keys.narrow)).status == 200


async def test_the_tokens_of_an_answer_are_charged_after_it(keys: Keys, caller: Caller) -> None:
    began = time.monotonic()
    answer = await chat(caller, keys.wordy)
    usage = json.loads(answer.body)["usage"]
    debt = usage["prompt_tokens"] + usage["completion_tokens"] - 5
    assert debt >= 0
    refused = await chat(caller, keys.wordy)
    assert refused.refusal == (429, "rate_limited")
    longest, passed = (debt + 1) * 60 / 5, time.monotonic() - began
    assert longest - passed - 1 <= int(refused.headers["Retry-After"]) <= longest


async def test_a_reload_lets_new_keys_in_and_revoked_ones_no_more(
    worker: Worker, file: Path, keys: Keys, caller: Caller
) -> None:
    assert (await chat(caller, keys.leaving)).status == 200
    assert (await chat(caller, keys.extra)).refusal == (401, "invalid_api_key")
    await hang_up(worker, file, keys.with_extra)
    assert (await chat(caller, keys.leaving)).refusal == (401, "invalid_api_key")
    assert (await chat(caller, keys.extra)).status == 200
    await hang_up(worker, file, keys.with_leaving)
    assert (await chat(caller, keys.leaving)).status == 200


async def test_a_mistake_in_the_file_changes_nothing_and_is_named_by_entry_and_line(
    worker: Worker, file: Path, keys: Keys, caller: Caller
) -> None:
    wrong = keys.file(f"- name: extra\n  ky: {keys.extra}")
    write(file, wrong)
    async with operating(worker.url, keys.operators) as operator:
        status, answer = await reload(operator)
    assert status == 400
    assert f"{file}:5: entry 4: unknown key ***" in answer
    assert keys.extra not in answer
    assert (await chat(caller, keys.leaving)).status == 200
    write(file, keys.with_leaving)


async def reload(operator: Operator) -> tuple[int, str]:
    status, answer = await operator.post("reload")
    return status, json.dumps(answer)
