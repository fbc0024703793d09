"""The client recipe that remembers workers, tested without workers."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openai import OpenAI

from examples.fleet.by_model import WORKER, ByModel


class RestlessEndpoint:
    """Any worker answers, and soon there are other workers."""

    def __init__(self) -> None:
        self._rng = random.Random(1)
        create = SimpleNamespace(create=self._create)
        self.chat = SimpleNamespace(completions=SimpleNamespace(with_raw_response=create))

    def _create(self, **_: object) -> Any:
        worker = {WORKER: f"pod-{self._rng.randrange(200)}"}
        return SimpleNamespace(headers=worker, parse=lambda: None)


class SoftEndpoint:
    """Like RunPod's endpoint: if the wished worker is there, it answers; otherwise any other
    does."""

    def __init__(self, *workers: str) -> None:
        self.workers, self.wishes = [*workers], list[str | None]()
        create = SimpleNamespace(create=self._create)
        self.chat = SimpleNamespace(completions=SimpleNamespace(with_raw_response=create))

    def _create(self, *, extra_headers: dict[str, str] | None, **_: object) -> Any:
        wish = extra_headers[WORKER] if extra_headers else None
        self.wishes.append(wish)
        if wish is not None and wish.startswith("strict "):
            raise LookupError("affinity_worker_gone")
        worker = wish if wish in self.workers else self.workers[0]
        return SimpleNamespace(headers={WORKER: worker}, parse=lambda: None)


def test_a_model_comes_back_to_its_worker_and_moves_where_that_is_gone() -> None:
    endpoint = SoftEndpoint("a", "b")
    fleet = ByModel(cast("OpenAI", endpoint))
    for _ in range(2):
        fleet.chat("org/one", [])
    endpoint.workers.remove("a")
    for model in ("org/one", "org/one", "org/two"):
        fleet.chat(model, [])
    assert endpoint.wishes == [None, "a", "a", "b", None]


def test_models_that_share_a_worker_look_for_another_but_not_forever() -> None:
    endpoint = SoftEndpoint("a")
    fleet = ByModel(cast("OpenAI", endpoint))
    models = ["org/one", "org/two"]
    for model in models:
        fleet.chat(model, [])
    endpoint.workers.insert(0, "b")  # answers requests that do not wish for "a"
    for model in models * 2:
        fleet.chat(model, [])
    assert endpoint.wishes[2:] == [None, "a", "b", "a"]

    endpoint = SoftEndpoint("a")
    fleet = ByModel(cast("OpenAI", endpoint))
    for model in models * 10:
        fleet.chat(model, [])
    assert endpoint.wishes[:9] == [None] * 9
    assert endpoint.wishes[9:] == ["a"] * 11


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_share_what_is_remembered() -> None:
    fleet = ByModel(cast("OpenAI", RestlessEndpoint()))
    with ThreadPoolExecutor(8) as threads:
        names = [f"org/model-{number % 300}" for number in range(3000)]
        assert [*threads.map(lambda name: fleet.chat(name, []), names)] == [None] * 3000
