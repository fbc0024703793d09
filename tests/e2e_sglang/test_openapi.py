"""The document at /openapi.json matches the worker with the real SGLang.

`tests/e2e/test_openapi.py` sends more requests, to the fake engine.
"""

from __future__ import annotations

import pytest

from router.requests.routes import ROUTES
from tests.e2e_sglang.harness import APPLE, PEAR, Harness
from tests.openapi.asking import NEGATIVE, POSITIVE, Asker

_EXAMPLES = 6
_MODELS = {"/v1/embeddings": PEAR}
_OTHER_TASKS = {"/v1/classify", "/v1/rerank"}  # no model here serves these
_PATHS = sorted({route.path for route in ROUTES.values()})


@pytest.fixture
def asker(harness: Harness) -> Asker:
    return Asker(harness.worker.url, APPLE, _MODELS)


@pytest.mark.parametrize("path", _PATHS)
def test_what_the_document_admits_is_answered_as_it_says(path: str, asker: Asker) -> None:
    asker.ask(path, POSITIVE, _EXAMPLES)
    assert asker.statuses


@pytest.mark.parametrize("path", _PATHS)
def test_what_it_does_not_admit_is_refused_as_it_says(path: str, asker: Asker) -> None:
    asker.ask(path, NEGATIVE, _EXAMPLES)
    assert asker.statuses[400]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/{model}", "/ping", "/health"])
def test_what_asks_no_engine_answers_as_it_says(path: str, asker: Asker) -> None:
    asker.ask(path, POSITIVE, _EXAMPLES)


@pytest.mark.parametrize("path", sorted(set(_PATHS) - _OTHER_TASKS))
def test_its_example_is_answered(path: str, asker: Asker) -> None:
    assert asker.example(path).status_code == 200
