from __future__ import annotations

import pickle

import pytest

from router.models import Task
from router.requests.routes import ROUTES


def test_a_generation_request_never_meets_an_engine_that_embeds() -> None:
    embedders = {route.path for route in ROUTES.values() if Task.EMBED in route.tasks}
    assert embedders == {"/v1/embeddings", "/v1/tokenize", "/v1/detokenize"}


@pytest.mark.parametrize("path", ROUTES)
def test_a_route_is_itself_in_another_process(path: str) -> None:
    assert pickle.loads(pickle.dumps(ROUTES[path])) is ROUTES[path]
