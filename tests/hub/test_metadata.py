"""The Hub's metadata of a repository is read off the event loop."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from router.errors import HubUnavailable, RouterError, UnsupportedModel
from router.hub.metadata import Found, parse_info, read_info
from router.models import Task
from router.repository.task import MODULES, task_of
from router.side_process import SideProcessDied, SideProcesses
from tests.doubles import FakeAside
from tests.requests.test_call import json_values

MANY = [{"rfilename": f"data/shard-{n:06}.parquet"} for n in range(100_000)]


def info(**more: object) -> bytes:
    config = {"architectures": ["Qwen3VLForConditionalGeneration"]}
    found = {"id": "org/model", "sha": "a" * 40, "config": config, **more}
    return json.dumps(found).encode()


def task(**more: object) -> Task:
    return task_of(parse_info(info(**more))[1])


async def test_what_is_long_is_read_aside_and_comes_back_short() -> None:
    aside = FakeAside()
    content = info(siblings=[*MANY, {"rfilename": MODULES}, {"rfilename": "1_Pooling/x.json"}])
    model, signs = await read_info(content, aside)
    assert aside.done == ["parse_aside"]
    assert (model.repo_id, set(signs.files)) == ("org/model", {MODULES, "1_Pooling/"})
    await read_info(info(), aside)
    assert len(aside.done) == 1


@pytest.mark.process
async def test_a_side_process_reads_the_same() -> None:
    aside = SideProcesses()
    content = info(siblings=MANY, pipeline_tag="sentence-similarity")
    try:
        assert await read_info(content, aside) == parse_info(content)
        with pytest.raises(UnsupportedModel, match="no commit"):
            await read_info(info(siblings=MANY, sha="main"), aside)
    finally:
        await aside.close()


@pytest.mark.parametrize("failure", [TimeoutError(), SideProcessDied()])
async def test_what_takes_too_long_to_read_may_be_tried_again(failure: Exception) -> None:
    aside = FakeAside()
    aside.failure = failure
    with pytest.raises(HubUnavailable, match="could not be read"):
        await read_info(info(siblings=MANY), aside)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, Task.GENERATE),
        ({"cardData": {"pipeline_tag": "sentence-similarity"}}, Task.EMBED),
        ({"cardData": {"pipeline_tag": "feature-extraction"}}, Task.EMBED),
        ({"cardData": {"pipeline_tag": ["odd"]}}, Task.GENERATE),
        ({"cardData": "odd"}, Task.GENERATE),
        ({"pipeline_tag": "sentence-similarity"}, Task.EMBED),
        # The Hub derives this tag for any code for `AutoModel`, including chat models.
        ({"pipeline_tag": "feature-extraction"}, Task.GENERATE),
        ({"id": "Qwen/Qwen3-VL-Embedding-2B"}, Task.EMBED),
        (
            {"id": "acme/Qwen3-VL-Embedding-FP8", "pipeline_tag": "image-text-to-text"},
            Task.EMBED,
        ),
        ({"id": "a/b-embed", "cardData": {"pipeline_tag": "text-generation"}}, Task.GENERATE),
    ],
)
def test_an_owner_says_what_a_decoder_is_for(more: dict[str, Any], expected: Task) -> None:
    assert task(**more) is expected


@pytest.mark.parametrize(
    ("config", "reranks"),
    [
        ({}, None),
        ({"tokenizer_config": {"chat_template": "{{ messages }}"}}, False),
        ({"chat_template_jinja": 'the answer can only be "yes" or "no"'}, True),
    ],
)
def test_whether_it_reranks_is_told_where_the_hub_has_its_template(
    config: dict[str, Any], reranks: bool | None
) -> None:
    assert parse_info(info(config=config))[0].reranks is reranks


@given(json_values, json_values)
def test_whatever_the_hub_says_it_is_read_or_refused(one: object, two: object) -> None:
    for more in ({"config": one, "cardData": two}, {"siblings": one, "sha": two}):
        for content in (json.dumps(one).encode(), info(**more)):
            try:
                found: Found = parse_info(content)
            except RouterError:
                continue
            assert task_of(found[1]) in Task
