"""Embedders, rerankers and classifiers through the worker. They give the same numbers as
transformers with the same weights, whatever runs before or at the same time."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from engines.command import CPU_MODULES
from tests import tiny_encoders, tiny_models
from tests.e2e_sglang.harness import PEAR, PYTHON, Harness, engines_below
from tests.e2e_sglang.target import Target
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoders import CONTEXT, Encoder, Family
from tests.worker import ROOT, Worker

pytestmark = pytest.mark.sglang

ENCODERS = {
    "bert": Encoder(Family.BERT),
    "roberta": Encoder(Family.XLM_ROBERTA, pooling="mean_tokens"),
    "reranker": Encoder(Family.BERT, labels=1),
    "classifier": Encoder(Family.XLM_ROBERTA, labels=3),
}
EMBEDDERS = ("bert", "roberta")
# A BERT accepts one token less than it could. Each text has two more tokens than characters.
LONGEST = {"bert": CONTEXT - 3, "roberta": CONTEXT - 2, PEAR: 4000}

TEXTS = ("a text", "a text that begins alike", "x" * 300, "another " * 40, "y" * 7, "a text")
QUERY = "which?"

Vectors = dict[str, Sequence[float]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    directory = tmp_path_factory.mktemp("encoders")
    made = {name: tiny_encoders.make(directory, name, kind) for name, kind in ENCODERS.items()}
    return made | {PEAR: tiny_models.make(directory, "pear", tiny_models.Kind.EMBED)}


@pytest.fixture(scope="module")
def numbers(models: Mapping[str, Path]) -> Mapping[str, Vectors]:
    """Transformers' numbers. They take about ten seconds."""
    asked: dict[str, Sequence[Any]] = {
        name: [*dict.fromkeys(TEXTS), "z" * longest] for name, longest in LONGEST.items()
    }
    asked["reranker"] = [[QUERY, text] for text in dict.fromkeys(TEXTS)]
    asked["classifier"] = [*dict.fromkeys(TEXTS), *(QUERY + text for text in TEXTS[:3])]
    lines = [json.dumps({"model": str(models[name]), "inputs": asked[name]}) for name in asked]
    process = subprocess.Popen(
        [PYTHON.parents[2] / ".venv-sglang/bin/python", "tests/e2e_sglang/reference.py"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CPU_MODULES), "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    answers, _ = process.communicate("\n".join(lines))
    assert process.returncode == 0
    return {
        name: {
            each[1] if isinstance(each, list) else each: vector
            for each, vector in zip(texts, json.loads(line), strict=True)
        }
        for (name, texts), line in zip(asked.items(), answers.splitlines(), strict=True)
    }


@pytest.fixture(scope="module")
def small_worker(
    models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker with one engine at a time: each model gets all its questions in a row."""
    directory = tmp_path_factory.mktemp("small_worker")
    with LoopbackHub() as hub:
        for name in ENCODERS:
            hub.add_repo(f"tests/{name}", models[name])
        settings = {
            **hub.environment(),
            **engines_below(directory),
            # For all models. It would make an encoder's numbers wrong.
            "ENGINE_ARGS": "--chunked-prefill-size 256",
            "CUDA_VISIBLE_DEVICES": "",
            "MAX_LOADED_MODELS": "1",
        }
        with Worker(directory, settings) as worker:
            yield worker
            assert (worker.stop(), worker.processes()) == (0, [])


@pytest.fixture
def asked(request: pytest.FixtureRequest, model: str) -> Target:
    if model == PEAR:
        harness: Harness = request.getfixturevalue("harness")
        return Target(harness.worker.url, PEAR)
    small: Worker = request.getfixturevalue("small_worker")
    return Target(small.url, f"tests/{model}")


@pytest.mark.parametrize("model", [*EMBEDDERS, PEAR])
async def test_an_embedder_gives_the_vectors_of_its_weights(
    model: str, asked: Target, numbers: Mapping[str, Vectors]
) -> None:
    right, longest = numbers[model], "z" * LONGEST[model]
    # One after another. Some begin like an earlier one, and the last equals the first.
    for text in (*TEXTS, longest):
        assert await embed(asked, [text]) == [close(right[text])], text[:10]
    # All at once: more than fits into one step of the engine.
    several = [*TEXTS * 6, longest, *TEXTS] if model in EMBEDDERS else [*TEXTS]
    assert await embed(asked, several) == [close(right[text]) for text in several]
    # From many callers at once.
    answers = await asyncio.gather(*(embed(asked, TEXTS) for _ in range(8)))
    assert answers == [[close(right[text]) for text in TEXTS]] * 8
    if model in EMBEDDERS:
        reply = await asked.post("/v1/embeddings", {"input": longest + "zz"})
        assert reply.status == 400
        assert "longer than the model's context length" in reply.content["error"]["message"]


@pytest.mark.parametrize("model", ["reranker"])
async def test_a_reranker_gives_the_scores_of_its_weights(
    model: str, asked: Target, numbers: Mapping[str, Vectors]
) -> None:
    right, texts = numbers[model], list(dict.fromkeys(TEXTS))
    assert len({round(right[text][0], 2) for text in texts}) > 2
    for text in texts:
        assert await rerank(asked, [text]) == {text: close(right[text][0])}
    answers = await asyncio.gather(*(rerank(asked, texts * 3) for _ in range(6)))
    assert answers == [{text: close(right[text][0]) for text in texts}] * 6


@pytest.mark.parametrize("model", ["classifier"])
async def test_a_classifier_gives_the_probabilities_of_its_weights(
    model: str, asked: Target, numbers: Mapping[str, Vectors]
) -> None:
    right, texts = numbers[model], [*TEXTS]
    for wanted in ([texts[0]], texts, texts * 6):
        found = (await asked.post("/v1/classify", {"input": wanted})).answer["data"]
        assert [each["probs"] for each in found] == [close(softmax(right[t])) for t in wanted]
        assert [each["label"] for each in found] == [label(right[t]) for t in wanted]
    content = {"query": QUERY, "items": texts[:3]}
    scores = (await asked.post("/v1/score", content)).answer["scores"]
    assert scores == [close(right[QUERY + text]) for text in texts[:3]]


async def embed(asked: Target, texts: Sequence[str]) -> list[list[float]]:
    answer = (await asked.post("/v1/embeddings", {"input": list(texts)})).answer
    return [item["embedding"] for item in answer["data"]]


async def rerank(asked: Target, documents: Sequence[str]) -> dict[str, float]:
    content = {"query": QUERY, "documents": documents, "return_documents": True}
    reply = await asked.post("/v1/rerank", content)
    assert reply.status == 200, reply
    return {each["document"]: each["score"] for each in json.loads(reply.text)}


def close(vector: Any) -> Any:
    return pytest.approx(vector, abs=1e-2)


def softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(each) for each in logits]
    return [each / sum(powers) for each in powers]


def label(logits: Sequence[float]) -> str:
    return f"label {max(range(len(logits)), key=logits.__getitem__)}"
