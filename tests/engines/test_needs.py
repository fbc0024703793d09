"""A model's files are read off the event loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.needs import needs_of, read_needs
from router.models import Task
from router.pool.interfaces import EngineStartError
from router.side_process import SideProcessDied, SideProcesses
from tests.doubles import FakeAside

RERANKER = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "id2label": {"0": "score"},
    "vocab_size": 500,
}


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(RERANKER))
    return tmp_path


def test_a_rerankers_files_tell_flags_use_and_vocabulary(snapshot: Path) -> None:
    needs, _ = read_needs(b"", snapshot, Task.CLASSIFY, None)
    assert "--disable-radix-cache" in needs.flags.needed
    assert (needs.scores_pairs, needs.vocabulary, needs.pools_mean) == (True, 500, False)


@pytest.mark.process
async def test_a_side_process_reads_them(snapshot: Path) -> None:
    aside = SideProcesses()
    try:
        found = await needs_of(snapshot, Task.CLASSIFY, None, aside)
    finally:
        await aside.close()
    assert found == read_needs(b"", snapshot, Task.CLASSIFY, None)[0]


@pytest.mark.parametrize("failure", [TimeoutError(), SideProcessDied()])
async def test_files_that_take_too_long_start_no_engine(
    snapshot: Path, failure: Exception
) -> None:
    aside = FakeAside()
    aside.failure = failure
    with pytest.raises(EngineStartError, match="could not be read"):
        await needs_of(snapshot, Task.CLASSIFY, None, aside)


@pytest.mark.parametrize(
    ("template", "pairs"),
    [
        ('the answer can only be "yes" or "no" {{ messages[0]["content"] }}', None),
        ("{{ messages }}", False),
        (None, False),
    ],
)
def test_a_generation_model_reranks_by_its_chat_template(
    tmp_path: Path, template: str | None, pairs: bool | None
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    needs, _ = read_needs(b"", tmp_path, Task.GENERATE, None)
    assert needs.scores_pairs is pairs
