"""Requests that embed, judge, or count tokens."""

from __future__ import annotations

from tests.e2e_sglang.compare.case import (
    CLASSIFY,
    DETOKENIZE,
    EMBEDDINGS,
    RERANK,
    SCORE,
    TOKENIZE,
    USER,
    WRONG_TASK,
    case,
    embed,
    without,
)
from tests.e2e_sglang.harness import PEAR

JUDGED = [
    embed("plain"),
    embed("several", input=["one", "another"]),
    embed("token ids", input=[10, 11, 12]),
    embed("several of token ids", input=[[10, 11], [12]]),
    embed("base64", encoding_format="base64"),
    embed("dimensions", dimensions=8),
    embed("stream counts for nothing", stream=True),
    embed("an unknown field", surprise=1, user="me"),
    embed("no input", input=""),
    embed("no inputs", input=[]),
    embed("input of the wrong type", input=5),
    without(embed("input missing"), "input"),
    embed("input that is too long", input="x" * 6000),
    embed("an encoding that isn't there", encoding_format="morse"),
    case("of a model that generates", EMBEDDINGS, {"input": "some words"}, own=WRONG_TASK),
    case("of a model that generates", CLASSIFY, {"input": "some words"}, own=WRONG_TASK),
    case(
        "of an embedder", RERANK, {"query": "q", "documents": ["a"]}, model=PEAR, own=WRONG_TASK
    ),
    *(
        case(
            "of a chat model",
            RERANK,
            {"query": "q", "documents": ["a", "b"]},
            alias=alias,
            own=WRONG_TASK,
        )
        for alias in (None, "/rerank", "/v2/rerank")
    ),
    case("plain", SCORE, {"query": "A", "items": ["b", "c"], "label_token_ids": [70, 71]}),
    case(
        "softmax, item first",
        SCORE,
        {
            "query": "A",
            "items": ["b", "c"],
            "label_token_ids": [70, 71],
            "apply_softmax": True,
            "item_first": True,
        },
    ),
    case("token ids", SCORE, {"query": [70], "items": [[71], [72]], "label_token_ids": [70]}),
    case("labels missing", SCORE, {"query": "A", "items": ["b"]}),
    case("items of the wrong type", SCORE, {"query": "A", "items": 5, "label_token_ids": [70]}),
    case("plain", TOKENIZE, {"prompt": "Grüße"}),
    case("by its other name", TOKENIZE, {"prompt": "Grüße"}, alias="/tokenize"),
    case("by its other name", DETOKENIZE, {"tokens": [70, 71]}, alias="/detokenize"),
    case("several", TOKENIZE, {"prompt": ["a", "bc"]}),
    case("messages", TOKENIZE, {"messages": USER}),
    case("without special tokens", TOKENIZE, {"prompt": "a", "add_special_tokens": False}),
    case("of an embedder", TOKENIZE, {"prompt": "a"}, model=PEAR),
    case("prompt missing", TOKENIZE, {}),
    case("prompt of the wrong type", TOKENIZE, {"prompt": 5}),
    case("plain", DETOKENIZE, {"tokens": [72, 73]}),
    case("several", DETOKENIZE, {"tokens": [[72, 73], [74]]}),
    case("special tokens shown", DETOKENIZE, {"tokens": [1, 72], "skip_special_tokens": False}),
    case("tokens missing", DETOKENIZE, {}),
    case("tokens of the wrong type", DETOKENIZE, {"tokens": "abc"}),
]
