"""The flags without which SGLang gives wrong numbers for a model, or dies of its requests.

SGLang 0.5.23 has flags for its own embedding models (EmbeddingGemma). To the other encoders it
applies what suits a model that reads from left to right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router.models import Task
from router.repository.architectures import identify, named

PREFILL = 2048  # tokens
"""What an encoder's engine computes at once: as many texts as fit, or one longer text."""

# Where SGLang looks for the length of the context, the first that exists.
_CONTEXT = (
    *("max_sequence_length", "seq_length", "max_seq_len", "model_max_length"),
    "max_position_embeddings",
)
# Their classes read `position_embedding_type`, which transformers 5 no longer supplies. The
# values say whether positions begin after that of the padding.
_ENCODERS = {
    "BertModel": False,
    "Contriever": False,
    "BertForSequenceClassification": False,
    "XLMRobertaModel": True,
    "XLMRobertaForSequenceClassification": True,
}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelFlags:
    """Flags of one model.

    * `usual`: come before the operator's, which may say otherwise.
    * `needed`: come after them. Other values would make the model's numbers wrong.
    """

    usual: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


def engine_flags(config: Json, task: Task, *, cache: int | None = None) -> ModelFlags:
    """What the model needs, by its whole `config.json`.

    `cache` is the size of the KV cache in tokens where it is fixed. Raises nothing for a
    configuration that is not as it should be: SGLang says more about it.
    """
    names = named(config)
    architecture = identify(names, config)
    context = _context_flags(config, names, cache if task is not Task.GENERATE else None)
    if architecture is None or not architecture.bidirectional:
        return ModelFlags(usual=context)
    return ModelFlags(
        usual=(
            # Without chunks SGLang keeps this much memory free, by default for 16,384 tokens.
            *("--max-prefill-tokens", str(PREFILL)),
            *context,
            *_overrides(config, names),
        ),
        # Each token looks at those after it. What the cache holds of a text's beginning was
        # computed with another end. A chunk ends in the middle of a text, however large it is:
        # SGLang fills it with one text after the other, and splits the last.
        needed=("--disable-radix-cache", "--chunked-prefill-size", "-1"),
    )


def _context_flags(config: Json, names: tuple[str, ...], cache: int | None) -> tuple[str, ...]:
    """A shorter context than SGLang derives. It takes texts that are shorter than that."""
    derived = next(
        (number for key in _CONTEXT if (number := _number(config.get(key))) is not None), None
    )
    if derived is None:
        return ()
    limits = [derived]
    if any(_ENCODERS.get(name, False) for name in names):
        # A position beyond the table kills the engine. One position stays unused.
        positions = _number(config.get("max_position_embeddings"))
        padding = _number(config.get("pad_token_id"))
        if positions is not None:
            limits.append(positions - (1 if padding is None else padding))
    if cache is not None:
        # SGLang lets a longer text wait forever, and all others behind it.
        limits.append(cache - 1)
    least = min(limits)
    return ("--context-length", str(least)) if 0 < least < derived else ()


def _overrides(config: Json, names: tuple[str, ...]) -> tuple[str, ...]:
    if _ENCODERS.keys().isdisjoint(names) or "position_embedding_type" in config:
        return ()
    value = orjson.dumps({"position_embedding_type": "absolute"}).decode()
    return ("--json-model-override-args", value)


def _number(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
