"""The document at /openapi.json matches the worker's answers to any request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from router.openapi.document import PATH
from router.requests.routes import ROUTES
from tests.e2e.harness import Harness
from tests.openapi.asking import NEGATIVE, POSITIVE, Asker
from tests.worker import Worker

POET, EMBEDDER, JUDGE = "acme/poet", "acme/embedder", "acme/judge"
MODELS = {
    "/v1/embeddings": EMBEDDER,
    **dict.fromkeys(
        ("/v1/classify", "/v1/score", "/v1/rerank", "/rerank", "/v2/rerank"), JUDGE
    ),
}
_EXAMPLES = 20


def _examples(path: str) -> int:
    """Count the examples of a route. Its other paths mean the same route."""
    return _EXAMPLES if path == ROUTES[path].path else 5


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model(POET)
    harness.model(EMBEDDER, further=("modules.json",))
    harness.model(JUDGE, architecture="LlamaForSequenceClassification")
    with harness.worker(MAX_LOADED_MODELS="3") as worker:
        yield worker


@pytest.mark.parametrize("path", ROUTES)
def test_what_the_document_admits_is_answered_as_it_says(path: str, worker: Worker) -> None:
    asker = Asker(worker.url, POET, MODELS)
    asker.ask(path, POSITIVE, _examples(path))
    assert asker.statuses[200] or path != ROUTES[path].path


@pytest.mark.parametrize("path", ROUTES)
def test_what_it_does_not_admit_is_refused_as_it_says(path: str, worker: Worker) -> None:
    asker = Asker(worker.url, POET, MODELS)
    asker.ask(path, NEGATIVE, _examples(path))
    assert asker.statuses[400]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/{model}", "/ping", "/health", PATH])
def test_what_asks_no_engine_answers_as_it_says(path: str, worker: Worker) -> None:
    Asker(worker.url, POET).ask(path, POSITIVE, _EXAMPLES)
