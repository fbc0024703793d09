from __future__ import annotations

import orjson
import pytest

from router.requests.usage import Tokens, TokenSums, read_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (b'{"usage":{"prompt_tokens":12,"total_tokens":92,"completion_tokens":80}}', (12, 80)),
        (b'{"usage": {"input_tokens": 3, "output_tokens": 4}}', (3, 4)),
        (b'{"data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}', (5, None)),
        (b'"usage":{"prompt_tokens":1}} "usage":{"prompt_tokens":2}}', (2, None)),
        (b'data: {"choices":[],"usage":null}\n\ndata: [DONE]\n\n', (None, None)),
        (b'{"usage":{"prompt_tokens":"many"}}', (None, None)),
        (b'"usage":{"prompt_tokens":99999999999999999999}}', (None, None)),
        (b"", (None, None)),
    ],
)
def test_the_latest_usage_counts(text: bytes, tokens: tuple[int | None, int | None]) -> None:
    assert read_tokens(text) == Tokens(*tokens)


def test_what_a_model_writes_is_no_usage() -> None:
    said = '{"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    body = orjson.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 8}, "text": said})
    assert read_tokens(body) == Tokens(7, 8)
    assert read_tokens(orjson.dumps({"text": said})) == Tokens()


def result(prompt: int, completion: int | None, said: str = "") -> dict[str, object]:
    counts = {} if completion is None else {"completion_tokens": completion}
    told = {"id": "x", "prompt_tokens": prompt, "cached_tokens": 77, **counts}
    return {"text": said, "meta_info": told}


SAID = '{"meta_info":{"prompt_tokens":1000,"completion_tokens":1000}}'
BATCH = orjson.dumps([result(7, 30), result(5, 4, SAID), result(11, 600), {"text": ""}])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 64, 100, len(BATCH)])
def test_the_results_of_a_batch_are_summed_however_they_arrive(size: int) -> None:
    sums = TokenSums()
    for at in range(0, len(BATCH), size):
        sums.add(BATCH[at : at + size])
    assert sums.tokens == Tokens(23, 634)


def test_results_without_an_answers_tokens_have_none() -> None:
    sums = TokenSums()
    sums.add(orjson.dumps([result(7, None), result(5, None)]))
    assert sums.tokens == Tokens(12, None)
