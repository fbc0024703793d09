from __future__ import annotations

import base64
import zlib

import orjson
import pytest

from router.errors import InvalidRequest
from router.requests.call import parse
from router.requests.reasoning import MOST_BYTES, check_reasoning
from router.requests.routes import ROUTES
from tests.doubles import whole

RESPONSES = ROUTES["/v1/responses"]


def packed(size: int, *, damaged: bool = False) -> dict[str, str]:
    """A model's reasoning as SGLang packs it. `damaged`: the damage is at the very end."""
    content = zlib.compress(b"x" * size)
    content = content[:-4] + b"xxxx" if damaged else content
    text = base64.urlsafe_b64encode(content).decode()
    return {"type": "reasoning", "encrypted_content": f"sglang-reasoning-v1.{text}"}


def test_what_was_thought_goes_upstream_as_it_is() -> None:
    items = [packed(1000), {"role": "user", "content": "Go on."}, packed(0)]
    call = parse(orjson.dumps({"input": items}), RESPONSES)
    assert orjson.loads(whole(call.content))["input"] == items


def test_much_is_refused_in_one_piece_and_in_many() -> None:
    check_reasoning({"input": [packed(MOST_BYTES)]})
    for items in ([packed(MOST_BYTES + 1)], [packed(MOST_BYTES // 2 + 1)] * 2):
        with pytest.raises(InvalidRequest, match="encrypted_content") as refused:
            parse(orjson.dumps({"input": items}), RESPONSES)
        assert refused.value.param == "input"


def test_what_is_damaged_only_at_its_end_is_much_all_the_same() -> None:
    with pytest.raises(InvalidRequest):
        check_reasoning({"input": [packed(2 * MOST_BYTES, damaged=True)]})


def test_what_is_damaged_counts_as_the_most_that_it_could_have_been() -> None:
    """Each takes time to unpack, and a body has room for 1,500 of these."""
    damaged = packed(MOST_BYTES // 2, damaged=True)
    check_reasoning({"input": [damaged]})
    with pytest.raises(InvalidRequest, match="encrypted_content"):
        check_reasoning({"input": [damaged] * 2})


@pytest.mark.parametrize(
    "item",
    [
        {"encrypted_content": "of another kind"},
        {"encrypted_content": "sglang-reasoning-v1.%%%"},
        {"encrypted_content": "sglang-reasoning-v1.eHh4"},
        {"encrypted_content": 7},
        "text",
        None,
    ],
)
def test_what_is_none_is_left_to_the_engine(item: object) -> None:
    check_reasoning({"input": [item]})
    check_reasoning({"input": item})
