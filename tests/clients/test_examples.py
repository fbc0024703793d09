"""Each example runs as users run it, for a private model that its token may read."""

from __future__ import annotations

import json

import pytest

from tests.clients.harness import ANSWER, DONE, MODEL, PRIVATE, Served, needs_node

STREAMED = f"{ANSWER} (3 tokens)"  # with the usage at its end


def example(served: Served, name: str) -> list[str]:
    """The output of an example."""
    return served.example(name, MODEL=PRIVATE, HF_TOKEN=served.token)


@pytest.mark.parametrize(
    "name", ["openai_client.py", pytest.param("openai_client.mjs", marks=needs_node)]
)
def test_openais_client(served: Served, name: str) -> None:
    *lines, models = example(served, name)
    assert lines == [ANSWER, STREAMED, ANSWER, ANSWER, "2 vectors", "model_not_found"]
    assert MODEL in models.split()  # the worker's default model


def test_anthropics_client(served: Served) -> None:
    whole, streamed, counted, error = example(served, "anthropic_client.py")
    assert (whole, streamed) == (ANSWER, f"{ANSWER} (3 tokens, end_turn)")
    assert int(counted.removesuffix(" tokens")) > 0
    assert error == "not_found_error"


@pytest.mark.parametrize(
    ("name", "error"),
    [("langchain_client.py", "model_not_found"), ("litellm_client.py", "404")],
)
def test_what_is_built_on_openais_client(served: Served, name: str, error: str) -> None:
    assert example(served, name) == [ANSWER, STREAMED, "2 vectors", error]


def test_the_clients_of_hugging_face(served: Served) -> None:
    assert example(served, "huggingface_hub_client.py") == [ANSWER, ANSWER, "404"]


@needs_node
def test_vercels_ai_sdk(served: Served) -> None:
    *lines, error = example(served, "ai_sdk.mjs")
    assert lines == [ANSWER, STREAMED, "2 vectors"]
    assert error.startswith("404 The model nobody/nothing does not exist")


def test_curl(served: Served) -> None:
    whole, *events, error, status = filter(None, example(served, "curl.sh"))
    assert json.loads(whole)["choices"][0]["message"]["content"] == ANSWER
    data = [event.removeprefix("data: ") for event in events]
    assert data.pop() == DONE
    choices = [json.loads(event)["choices"][0] for event in data]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == ANSWER
    assert (json.loads(error)["error"]["code"], status) == ("model_not_found", "404")
