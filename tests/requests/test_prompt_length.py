"""A prompt that can't fit into the model's context is refused before an engine reads it."""

from __future__ import annotations

import pytest

from router.errors import InvalidRequest
from router.requests.prompt_length import PromptLength, longest_prompt
from tests.requests.harness import CHAT, chat, serving_fakes

Json = dict[str, object]


@pytest.mark.parametrize(
    ("body", "length"),
    [
        ({"prompt": "four"}, PromptLength(0, 4)),
        ({"prompt": ["four", "sixsix"]}, PromptLength(0, 6)),
        ({"prompt": [1, 2, 3]}, PromptLength(3, 0)),
        ({"input": [[1, 2], [1, 2, 3, 4]]}, PromptLength(4, 0)),
        ({"text": "four", "input_ids": None}, PromptLength(0, 4)),
        ({"query": "four", "documents": ["x" * 9]}, PromptLength(0, 9)),
        ({"messages": [{"content": "four"}, {"content": "four"}]}, PromptLength(0, 8)),
        (
            {"messages": [{"content": [{"text": "four"}, {"image_url": "data:" + "x" * 99}]}]},
            PromptLength(0, 4),
        ),
        ({"input": [{"role": "user", "content": "four"}]}, PromptLength(0, 4)),
        ({"input": [{"text": "one"}] * 9}, PromptLength()),  # nine pictures, for example
        ({"messages": "odd", "prompt": {"odd": 1}, "input": [None]}, PromptLength()),
        ({}, PromptLength()),
    ],
)
def test_the_longest_prompt_counts(body: Json, length: PromptLength) -> None:
    assert longest_prompt(body) == length


def test_what_may_fit_passes() -> None:
    PromptLength(tokens=4096, characters=4096 * 256).check(4096)
    PromptLength(tokens=10**9, characters=10**9).check(None)


@pytest.mark.parametrize("length", [PromptLength(4097), PromptLength(0, 4096 * 256 + 1)])
def test_what_can_not_fit_is_refused_with_both_lengths(length: PromptLength) -> None:
    with pytest.raises(InvalidRequest, match=r"The prompt has \d+ (tokens|char).*4096"):
        length.check(4096)


async def test_a_prompt_beyond_the_context_never_reaches_the_engine() -> None:
    async with serving_fakes() as d:
        with pytest.raises(InvalidRequest, match="context"):
            await d.ask(chat(input_ids=[1] * 4097))
        assert not d.upstream.sent
        await d.ask(chat(input_ids=[1] * 4096))
        assert d.upstream.sent[0].url.endswith(CHAT)
