"""The client recipes keep models on warm workers: real routers behind a load balancer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

from examples.fleet.by_model import ByModel
from tests.e2e.harness import Harness
from tests.fleet.balancer import WORKER, LoadBalancer
from tests.loopback_hub import LoopbackHub
from tests.worker import ROOT, Worker

pytestmark = pytest.mark.process

KEY = "a-runpod-key"
MODELS = ["acme/one", "acme/two", "acme/three"]


@dataclass
class Endpoint:
    """Three workers, each with room for one model, behind a load balancer."""

    harness: Harness
    workers: dict[str, Worker]
    balancer: LoadBalancer

    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.balancer.url}/v1", api_key=KEY, timeout=120)

    def starts(self) -> int:
        return sum(len(self.harness.journal.events("start", model)) for model in MODELS)

    def get(self, path: str, worker: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {KEY}", WORKER: worker}
        return httpx2.get(f"{self.balancer.url}{path}", headers=headers, timeout=60)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    with LoopbackHub() as hub, ExitStack() as stack:
        harness = Harness(hub, tmp_path)
        for model in MODELS:
            harness.model(model, answer=f"I am {model}.")
        workers = {
            name: stack.enter_context(
                harness.new_worker(
                    RUNPOD_ENDPOINT_ID="endpoint", RUNPOD_POD_ID=name, MAX_LOADED_MODELS="1"
                )
            )
            for name in ("pod-a", "pod-b", "pod-c")
        }
        urls = {name: worker.url for name, worker in workers.items()}
        balancer = stack.enter_context(LoadBalancer(urls, KEY))
        yield Endpoint(harness, workers, balancer)


def ask(fleet: ByModel, model: str) -> None:
    answer = fleet.chat(model, [{"role": "user", "content": "Who are you?"}], max_tokens=8)
    assert answer.choices[0].message.content == f"I am {model}."


def test_models_settle_on_workers_of_their_own_and_move_when_one_is_gone(
    endpoint: Endpoint,
) -> None:
    fleet = ByModel(endpoint.client())
    for _ in range(4):
        for model in MODELS:
            ask(fleet, model)
    settled = endpoint.starts()
    assert settled <= 2 * len(MODELS)
    for model in MODELS * 3:
        ask(fleet, model)
    assert endpoint.starts() == settled, "a settled model was started again"
    assert len(set(endpoint.balancer.answered[-3:])) == 3

    gone = endpoint.balancer.answered[-1]
    endpoint.workers[gone].kill()
    for model in MODELS:
        ask(fleet, model)
    assert gone not in endpoint.balancer.answered[-2:]
    assert gone not in endpoint.balancer.workers


def test_a_list_of_models_says_which_worker_has_which_loaded(endpoint: Endpoint) -> None:
    fleet = ByModel(endpoint.client())
    ask(fleet, MODELS[0])
    warm = endpoint.balancer.answered[-1]
    told = endpoint.get("/v1/models", warm).json()["data"]
    assert [(one["id"], one["worker"], one["loaded"]) for one in told] == [
        (MODELS[0], warm, True)
    ]
    one = endpoint.get(f"/v1/models/{MODELS[0]}", warm).json()
    assert (one["worker"], one["loaded"]) == (warm, True)


def test_the_shell_script_comes_back_to_the_worker_that_answered(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "ENDPOINT_URL": endpoint.balancer.url,
        "RUNPOD_KEY": KEY,
        "HOMES": str(tmp_path / "homes"),
        "MODEL": MODELS[1],
    }
    for _ in range(4):
        out = run(["sh", "examples/fleet/by_model.sh"], environ)
        assert json.loads(out)["choices"][0]["message"]["content"] == f"I am {MODELS[1]}."
    assert len(set(endpoint.balancer.answered)) == 1
    endpoint.workers[endpoint.balancer.answered[0]].kill()
    run(["sh", "examples/fleet/by_model.sh"], environ)
    assert len(set(endpoint.balancer.answered)) == 2
    assert endpoint.starts() == 2


def test_the_python_script_asks_each_model_twice(endpoint: Endpoint) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "ENDPOINT_URL": endpoint.balancer.url,
        "RUNPOD_KEY": KEY,
        "PYTHONPATH": str(ROOT),
    }
    out = run([sys.executable, "examples/fleet/by_model.py", *MODELS[:2]], environ)
    told = [line.split(": ") for line in out.splitlines()]
    assert [answer for _, answer in told] == [f"I am {model}." for model in MODELS[:2] * 2]
    for model, (about, _) in zip(MODELS[:2] * 2, told, strict=True):
        assert re.fullmatch(rf"{model}, next on pod-[abc]", about)


def test_the_python_script_says_what_it_needs() -> None:
    asked = [sys.executable, "examples/fleet/by_model.py", *MODELS[:1]]
    environ = {"PATH": os.environ["PATH"], "ENDPOINT": "abc"}
    ended = subprocess.run(
        asked, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.count("RUNPOD_KEY=")) == (1, 1)
    assert "Traceback" not in ended.stderr


def run(command: list[str], environ: dict[str, str]) -> str:
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=True
    ).stdout
