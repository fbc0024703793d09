from __future__ import annotations

import orjson
import pytest

from router.requests.usage import Tokens, read_tokens


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
