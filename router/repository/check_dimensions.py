"""Checks that a model's dimensions are plausible and match the size of its weights.

An engine builds what a configuration describes before it reads the weights. So a few hundred
bytes could block its start and take all memory of the machine. The bounds are four or more
times above the largest known models: 126 layers (Llama 3.1 405B; merges have 235), a width of
20,480, a vocabulary of 901,629 (XLM-V), 10,485,760 positions (Llama 4 Scout), 16,384 experts
(Doge).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from router.errors import UnsupportedModel
from router.repository.read_json import printable

MAX_LAYERS = 512
MAX_POSITIONS = 4 * 10_485_760
MAX_ITEMS = 4096  # of a list of dimensions; one per layer, or per frequency
_LIST_AS_TEXT = re.compile(r"\d{1,9}([-,]\d{1,9}){0,255}")
MAX_KEY = 64  # characters; longer keys are not dimensions


@dataclass(frozen=True, slots=True)
class Dimension:
    """The range of a dimension that goes by several keys. The value must be an integer.

    `*_size` means `size` and any key that ends with `_size`. `#_heads` means a key that also
    has a count in its name (`num_heads`, `vision_n_attention_heads`). A list may have one
    number for each layer, side or stage.
    """

    keys: str
    least: int
    most: int
    fraction: bool = False  # need not be an integer
    single: bool = False  # must not be a list


_DIMENSIONS = (
    Dimension("num_hidden_layers n_layer n_layers", 1, MAX_LAYERS, single=True),
    Dimension("num_layers depth", 0, MAX_LAYERS, single=True),
    Dimension("#_layers #_layer encoder_layers decoder_layers", 0, MAX_LAYERS),
    Dimension("max_window_layers num_blocks n_blocks depths num_hidden_groups", 0, MAX_LAYERS),
    Dimension("hidden_size d_model n_embd", 1, 1 << 17, single=True),
    Dimension("*_hidden_size *_embed_dim *_embedding_size *_d_model n_embed", 0, 1 << 17),
    Dimension("model_dim word_embed_proj_dim *_hidden_sizes *_lora_rank", 0, 1 << 17),
    Dimension("dim", -1, 1 << 17),  # in some places the index of an axis
    Dimension("*_intermediate_size *_ffn_dim *_ffn_hidden_size *_hidden_dim", 0, 1 << 19),
    Dimension("d_ff n_inner *_mlp_dim d_inner mlp_hidden_size", 0, 1 << 19),
    Dimension("num_attention_heads num_key_value_heads n_head n_heads num_heads", 1, 2048),
    Dimension("#_heads #_head *_attention_heads multi_query_group_num", 0, 2048),
    Dimension("*_head_dim *_head_size d_kv d_head kv_channels", 0, 4096),
    Dimension("vocab_size", 1, 1 << 23, single=True),
    Dimension("*_vocab_size", 0, 1 << 23),
    Dimension("*_num_labels *_num_classes", 0, 1 << 20),
    Dimension("max_position_embeddings n_positions", 1, MAX_POSITIONS, single=True),
    Dimension("*_max_position_embeddings *_position_embeddings", -1, MAX_POSITIONS),
    Dimension("max_position_embedding n_ctx seq_length", -1, MAX_POSITIONS),
    Dimension("*_max_seq_len *_max_sequence_length", -1, MAX_POSITIONS),
    Dimension("max_source_positions max_target_positions", -1, MAX_POSITIONS),
    Dimension("#_experts #_expert num_experts_per_tok num_experts_per_token", 0, 1 << 16),
    Dimension("*_image_size", 1, 1 << 14),
    Dimension("*_patch_size *_merge_size", 0, 1 << 12),
    Dimension("*_conv_kernel *_conv_kernel_dim *_d_conv *_kernel_size", 0, 1 << 12),
    Dimension("*_state_size *_d_state", 0, 1 << 16),
    Dimension("mamba_expand expand", 0, 64, fraction=True),
    Dimension("*_sliding_window *_sliding_window_size", -1, 1 << 31),
    Dimension("*_group_size weight_block_size", -1, 1 << 20),
    Dimension("bits num_bits w_bit nbits", 0, 64, fraction=True),
    Dimension("factor short_factor long_factor", 0, 1 << 12, fraction=True),
)
_ONE_PER_LAYER = ("layer_types", "layers_block_type", "block_types", "layers_types")


def _table() -> dict[str, Dimension]:
    """Maps keys to dimensions, and `*_key` and `#_key` for the ends of keys."""
    table: dict[str, Dimension] = {}
    for dimension in _DIMENSIONS:
        for key in dimension.keys.split():
            table.setdefault(key, dimension)
            if key.startswith("*_"):
                table.setdefault(key[2:], dimension)
    return table


_TABLE = _table()


def _dimension(key: str) -> Dimension | None:
    """The dimension of the whole key, else that of its longest known ending."""
    if found := _TABLE.get(key):
        return found
    counts = key.startswith(("num_", "n_")) or "_num_" in key or "_n_" in key
    at = key.find("_")
    while at >= 0:
        end = key[at:]
        if found := _TABLE.get(f"*{end}") or (_TABLE.get(f"#{end}") if counts else None):
            return found
        at = key.find("_", at + 1)
    return None


# The keys that the estimate below reads, in the names of each model family.
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "encoder_layers")
_WIDTH = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_FEED_FORWARD = ("intermediate_size", "n_inner", "d_ff", "ffn_dim", "ffn_hidden_size")
_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")


def check_dimensions(name: str, content: object, weight_bytes: int) -> None:
    """Check one configuration file. Raises `UnsupportedModel`, with the key and the bounds.

    `name`: of the file. `weight_bytes`: total size of the model's weights.
    """
    for part in _objects(content):
        for key, value in part.items():
            _check(name, key, value)
        _check_positions(name, part)
        least = _least_bytes(part)
        if least > weight_bytes:
            raise UnsupportedModel(
                f"The model's {name} describes {least:,} bytes of weights or more, and the "
                f"repository has {weight_bytes:,} bytes. Ask its owner to correct it."
            )


def least_bytes(content: object) -> int:
    """A low estimate of the bytes of the weights that a configuration describes; 0 if it
    contains implausible numbers."""
    with suppress(OverflowError, ValueError):  # infinite, or not a number
        return max(map(_least_bytes, _objects(content)), default=0)
    return 0


def _objects(content: object) -> Iterator[Mapping[str, object]]:
    """Yield each JSON object in `content`. Not recursive: the model sets the depth."""
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _check(name: str, key: str, value: object) -> None:
    if value is None or len(key) > MAX_KEY:
        return
    if isinstance(value, list) and key.endswith(_ONE_PER_LAYER):
        if len(value) > 2 * MAX_LAYERS:
            raise _refused(name, key, f"has {len(value):,} items, more than any model")
        return
    dimension = _dimension(key)
    if dimension is None:
        return
    values = _items(value)
    if values is not None and dimension.single:
        raise _refused(name, key, "is not a number")
    if values is not None and len(values) > MAX_ITEMS:
        raise _refused(name, key, f"has {len(values):,} items, more than any model")
    for one in [value] if values is None else values:
        _check_one(name, key, one, dimension)


def _items(value: object) -> list[object] | None:
    """The items of a list, of a list written as text (`1025-1025-129`), or of an object such as
    `{"height": 1, "width": 2}`; None for a scalar."""
    if isinstance(value, str) and _LIST_AS_TEXT.fullmatch(value):
        return [int(item) for item in re.split("[-,]", value)]
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else None


def _check_one(name: str, key: str, value: object, dimension: Dimension) -> None:
    if value is None or isinstance(value, list | dict):
        return  # nested ones are checked separately, or are not dimensions
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(name, key, "is not a number")
    least, most = dimension.least, dimension.most
    if not least <= value <= most:
        raise _refused(name, key, f"is not between {least:,} and {most:,}, as in any model")
    if not dimension.fraction and value != int(value):
        raise _refused(name, key, "is not a whole number")


def _check_positions(name: str, part: Mapping[str, object]) -> None:
    """At its start, an engine computes a table of all positions, extended by the factor."""
    for key in ("rope_scaling", "rope_parameters"):
        scaling = part.get(key)
        if not isinstance(scaling, dict):
            continue
        positions = _first(scaling, ("original_max_position_embeddings",)) or _first(
            part, ("original_max_position_embeddings", "max_position_embeddings")
        )
        stretched = positions * _first(scaling, ("factor",))
        if stretched > MAX_POSITIONS:
            raise _refused(name, key, f"leads to {stretched:,.0f} positions")


def _least_bytes(part: Mapping[str, object]) -> int:
    """A low estimate of the bytes of the weights that an object describes; 0 if it is no model.

    It counts the embedding and, of each layer, only the widest matrix, at one bit per weight.
    Real models have at least eight times as much, even quantized ones.
    """
    layers, width = _first(part, _LAYERS), _first(part, _WIDTH)
    if not layers or not width:
        return 0
    layers = min(layers, _first(part, ("num_hidden_groups",)) or layers)  # shared (ALBERT)
    heads = _first(part, _HEADS) * _first(part, ("head_dim",))
    experts = _first(part, _EXPERTS) * _first(part, ("moe_intermediate_size",))
    if not experts:
        experts = _first(part, ("num_local_experts",)) * _first(part, ("intermediate_size",))
    # In some models only about every fourth layer has experts.
    widest = max(width, heads, _first(part, _FEED_FORWARD), experts / 8)
    embedding = _first(part, ("embedding_size", "word_embed_proj_dim")) or width
    return int(layers * width * widest + _first(part, ("vocab_size",)) * embedding) // 8


def _first(part: Mapping[str, object], keys: Iterable[str]) -> float:
    """The value of the first key that has a number, or the smallest number in its list; 0 if
    there is none."""
    for key in keys:
        value = part.get(key)
        values = value if isinstance(value, list) else [value]
        numbers = [each for each in values if isinstance(each, int | float)]
        if numbers:
            return min(numbers)
    return 0


def _refused(name: str, key: str, why: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"The model's {name} is absurd: `{printable(key)}` {why}. Ask its owner to correct it."
    )
