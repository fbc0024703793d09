"""Flags without which SGLang computes wrong numbers for a model, or dies from its requests.

SGLang 0.5.23 sets such flags for its own embedding models (EmbeddingGemma). It treats the other
encoders like causal models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router.models import Task
from router.repository.architectures import identify, named

PREFILL = 2048  # tokens
"""Tokens that an encoder's engine computes at once: several texts, or one longer text."""

# The keys for the context length in SGLang's order. The first that exists counts.
_CONTEXT = (
    *("max_sequence_length", "seq_length", "max_seq_len", "model_max_length"),
    "max_position_embeddings",
)
# The classes of these read `position_embedding_type`, which transformers 5 no longer supplies.
# The value says whether positions begin after the position of the padding token.
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
    """Flags for one model.

    * `usual`: before the operator's flags, which may override them.
    * `needed`: after the operator's flags. Other values would make the model's numbers wrong.
    """

    usual: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


def engine_flags(config: Json, task: Task, *, cache: int | None = None) -> ModelFlags:
    """The flags that a model needs. `config`: the whole `config.json`.

    `cache`: the size of the KV cache in tokens, if it is fixed. Never raises for an invalid
    configuration: SGLang reports it in more detail.
    """
    names = named(config)
    architecture = identify(names, config)
    context = _context_flags(config, names, cache if task is not Task.GENERATE else None)
    if architecture is None or not architecture.bidirectional:
        return ModelFlags(usual=context)
    return ModelFlags(
        usual=(
            # Without chunks, SGLang reserves memory for this many tokens, by default 16,384.
            *("--max-prefill-tokens", str(PREFILL)),
            *context,
            *_overrides(config, names),
        ),
        # Tokens attend to later ones, so a cached prefix was computed with another
        # continuation. A chunk may end in the middle of a text, no matter how large it is:
        # SGLang fills it with texts and splits the last one.
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
        # SGLang would let a longer text wait forever, and all others behind it.
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
