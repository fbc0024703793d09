"""The examples of clients, with the real engine's streams and usage."""

from __future__ import annotations

import pytest

from tests.clients.harness import needs_node, run
from tests.e2e_sglang.harness import APPLE, PEAR, Harness

pytestmark = pytest.mark.sglang

ANSWER = "I am apple."


def example(harness: Harness, name: str) -> list[str]:
    """The output of an example."""
    return run(name, {"ROUTER": harness.worker.url, "MODEL": APPLE, "EMBEDDER": PEAR})


@pytest.mark.parametrize(
    "name", ["openai_client.py", pytest.param("openai_client.mjs", marks=needs_node)]
)
def test_openais_client(harness: Harness, name: str) -> None:
    *lines, _models = example(harness, name)
    streamed = f"{ANSWER} (4 tokens)"
    assert lines == [ANSWER, streamed, ANSWER, ANSWER, "2 vectors", "model_not_found"]


def test_anthropics_client(harness: Harness) -> None:
    whole, streamed, counted, error = example(harness, "anthropic_client.py")
    assert (whole, streamed) == (ANSWER, f"{ANSWER} (4 tokens, end_turn)")
    assert int(counted.removesuffix(" tokens")) > 12  # at least the letters of the question
    assert error == "not_found_error"


def test_langchain(harness: Harness) -> None:
    streamed = f"{ANSWER} (4 tokens)"
    expected = [ANSWER, streamed, "2 vectors", "model_not_found"]
    assert example(harness, "langchain_client.py") == expected


@needs_node
def test_vercels_ai_sdk(harness: Harness) -> None:
    expected = [ANSWER, f"{ANSWER} (4 tokens)", "2 vectors"]
    assert example(harness, "ai_sdk.mjs")[:3] == expected
