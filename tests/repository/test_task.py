from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.models import Task
from router.repository.architectures import names
from router.repository.task import MODULES, SENTENCES, Signs, task_of, telling, unread
from tests.requests.test_call import json_values

TABLE = Path(__file__).with_name("tasks.txt")

PLAIN = frozenset({"config.json", "model.safetensors"})
MODEL = "sentence_transformers.models."
CROSS = "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"


def signs(
    architecture: str | None = None,
    *files: str,
    modules: object = None,
    sentences: object = None,
) -> Signs:
    """With `modules` and `sentences`, these files exist with that content."""
    contents = {MODULES: modules, SENTENCES: sentences}
    read = {name: content for name, content in contents.items() if content is not None}
    named = () if architecture is None else (architecture,)
    return Signs(named, PLAIN | {*files, *read}, read)


def chain(*types: str) -> list[dict[str, object]]:
    return [{"idx": n, "name": str(n), "path": "", "type": t} for n, t in enumerate(types)]


@pytest.mark.parametrize(
    ("given", "task"),
    [
        # How SGLang treats the architecture, with and without further files.
        (signs("LlamaForCausalLM"), Task.GENERATE),
        (signs("MistralModel"), Task.EMBED),
        (signs("BertModel"), Task.EMBED),
        (signs("CLIPModel"), Task.EMBED),
        (signs("BertForSequenceClassification", MODULES), Task.CLASSIFY),
        (signs("XLMRobertaForSequenceClassification", MODULES, SENTENCES), Task.CLASSIFY),
        (signs("LlamaForSequenceClassificationWithNormal_Weights"), Task.CLASSIFY),
        (signs("InternLM2ForRewardModel"), Task.CLASSIFY),
        (signs("WhisperForConditionalGeneration"), Task.TRANSCRIBE),
        (signs("GPT2LMHeadModel"), Task.GENERATE),
        (signs("InternVLChatModel"), Task.GENERATE),
        (signs("Qwen3_5Model", "decision_config.json"), Task.GENERATE),
        (signs("Qwen3_5Model"), Task.EMBED),
        # Its modules make a decoder an embedder.
        (signs("Qwen3ForCausalLM", "1_Pooling/config.json", MODULES), Task.EMBED),
        (signs("Qwen3ForCausalLM", "1_Pooling/"), Task.EMBED),
        (
            signs("Qwen2ForCausalLM", modules=chain(MODEL + "Transformer", MODEL + "Pooling")),
            Task.EMBED,
        ),
        (
            signs("Qwen2VLForConditionalGeneration", modules=chain("custom_st.Transformer")),
            Task.EMBED,
        ),
        (signs("LlamaForCausalLM", MODULES), Task.EMBED),
        (signs("LlamaForCausalLM", SENTENCES), Task.EMBED),
        # ... and a reranker, which SGLang runs as a generation model.
        (signs("Qwen3ForCausalLM"), Task.GENERATE),
        (signs("Qwen3ForCausalLM", "1_LogitScore/config.json", MODULES), Task.GENERATE),
        (signs("Qwen3ForCausalLM", modules=chain("x.Transformer", CROSS)), Task.GENERATE),
        (signs("Qwen3ForCausalLM", sentences={"model_type": "CrossEncoder"}), Task.GENERATE),
        (
            signs(
                "Qwen3ForCausalLM",
                modules=chain("x.Transformer"),
                sentences={"model_type": "CrossEncoder"},
            ),
            Task.GENERATE,
        ),
        # Architectures without code in SGLang are judged by name.
        (signs("ModernBertForSequenceClassification", MODULES), Task.CLASSIFY),
        (signs("ModernBertModel"), Task.EMBED),
        (signs("Gemma3TextModel"), Task.EMBED),
        (signs("BertForMaskedLM"), Task.EMBED),
        (signs("XForCausalLM"), Task.GENERATE),
        (signs("XForCausalLM", "1_Pooling/config.json"), Task.EMBED),
        (signs("XChatModel"), Task.GENERATE),
        (signs(), Task.GENERATE),
        (signs(None, MODULES), Task.EMBED),
    ],
)
def test_the_task_follows_from_the_architecture_and_then_from_the_modules(
    given: Signs, task: Task
) -> None:
    assert task_of(given) is task


@pytest.mark.parametrize(
    ("name", "purpose", "task"),
    [
        ("Qwen3-VL-Embedding-2B", None, Task.EMBED),
        ("me/qwen3_vl_embeddings", None, Task.EMBED),
        ("me/NV-Embed-clone", None, Task.EMBED),
        ("me/embedder", None, Task.EMBED),
        ("me/llama-for-embedded-systems", None, Task.GENERATE),
        ("me/embedding-reranker", None, Task.GENERATE),
        ("me/Re-Ranking-of-embeddings", None, Task.GENERATE),
        ("me/x-embedding", "text-generation", Task.GENERATE),
        ("me/x-embedding", "text-ranking", Task.GENERATE),
        ("me/x-embedding", "something-new", Task.EMBED),
        ("me/x", "sentence-similarity", Task.EMBED),
        ("me/x", "feature-extraction", Task.EMBED),
        ("me/x", "something-new", Task.GENERATE),
    ],
)
def test_a_decoder_without_modules_is_what_its_owner_calls_it(
    name: str, purpose: str | None, task: Task
) -> None:
    given = Signs(("Qwen3VLForConditionalGeneration",), PLAIN, name=name, purpose=purpose)
    assert task_of(given) is task
    # Architectures known to SGLang, and files read by sentence-transformers, come first.
    known = Signs(("BertForSequenceClassification",), PLAIN, name=name, purpose=purpose)
    assert task_of(known) is Task.CLASSIFY
    reranker = Signs(("Qwen3ForCausalLM",), {"1_LogitScore/"}, name=name, purpose=purpose)
    assert task_of(reranker) is Task.GENERATE


def test_few_names_tell_of_a_repository_of_many_files() -> None:
    many = [f"{n % 3}_Pooling/{n}.json" for n in range(1000)]
    found = telling(["config.json", "a/modules.json", MODULES, None, *many])
    assert found == {MODULES, "0_Pooling/", "1_Pooling/", "2_Pooling/"}


@given(
    st.lists(st.text() | st.sampled_from([MODULES, SENTENCES, "1_Pooling/a", "2_LogitScore/b"]))
)
def test_what_tells_nothing_changes_nothing(files: list[str]) -> None:
    for architecture in ("LlamaForCausalLM", "Qwen3_5Model"):
        whole = Signs((architecture,), frozenset(files))
        short = replace(whole, files=telling(files))
        assert (task_of(whole), unread(whole)) == (task_of(short), unread(short))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (signs("LlamaForCausalLM"), None),
        (signs("BertModel", MODULES, SENTENCES), None),
        (signs("ModernBertForSequenceClassification", MODULES), None),
        (signs("Qwen3ForCausalLM", MODULES, "1_Pooling/config.json"), None),
        (signs("Qwen3ForCausalLM", MODULES, "1_LogitScore/config.json"), None),
        (signs("Qwen3ForCausalLM", MODULES, SENTENCES), MODULES),
        (signs("Qwen3ForCausalLM", SENTENCES), SENTENCES),
        (signs("Qwen3ForCausalLM", SENTENCES, modules=chain("x.Transformer")), SENTENCES),
        (signs("Qwen3ForCausalLM", SENTENCES, modules=chain(MODEL + "Pooling")), None),
        (signs("Qwen3ForCausalLM", SENTENCES, modules=chain(CROSS)), None),
        (signs(None, MODULES), MODULES),
    ],
)
def test_a_file_is_read_only_where_it_can_change_the_task(
    given: Signs, name: str | None
) -> None:
    assert unread(given) == name


@given(json_values, json_values)
def test_whatever_the_files_hold_each_is_read_at_most_once(one: object, two: object) -> None:
    contents: dict[str, object] = {}
    for content in (one, two):
        name = unread(Signs(("LlamaForCausalLM",), {MODULES, SENTENCES}, contents))
        if name is not None:
            contents[name] = content
    given = Signs(("LlamaForCausalLM",), {MODULES, SENTENCES}, contents)
    assert unread(given) is None
    assert task_of(given) in (Task.EMBED, Task.GENERATE)


@given(st.lists(st.text()))
def test_any_names_of_architectures_have_a_task(architectures: list[str]) -> None:
    assert task_of(Signs(tuple(architectures), PLAIN)) in Task


def tasks() -> str:
    found = ((name, task_of(signs(name))) for name in names())
    return "".join(f"{task:<10}  {name}\n" for name, task in found)


def test_each_architecture_of_sglang_has_the_task_that_was_reviewed() -> None:
    """`python -m tests.repository.test_task` writes the table. Review what has changed."""
    assert tasks() == TABLE.read_text()


if __name__ == "__main__":
    TABLE.write_text(tasks())
