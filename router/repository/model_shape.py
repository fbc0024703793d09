"""The dimensions of a language model, as SGLang 0.5.23 reads them from `config.json`.

A configuration can lie or omit values. Omitted values get the default of the configuration's
type (`architectures.json`). An implausible value counts as omitted. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from router.repository.architectures import TypeShape, named, shape_of_type

Json = Mapping[str, Any]

MAX_LAYERS = 4096  # also the maximum items of a list with one entry per layer
_MOST = 1 << 31

# The keys for the part about the language model, in SGLang's order
# (utils/hf_transformers/common.py, `get_hf_text_config`).
_PARTS = ("thinker_config", "llm_config", "language_config", "text_config")
# The keys for the context length (the same file, `get_context_length`).
_CONTEXT = (
    *("max_sequence_length", "seq_length", "max_seq_len", "model_max_length"),
    "max_position_embeddings",
)
_DEFAULT_CONTEXT = 2048
_FALCONS = frozenset({"falcon", "RefinedWeb", "RefinedWebModel"})
_KV_HEADS = (
    *("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num"),
    "num_attention_groups",
)
# The keys for the configurations of other parts than the language model.
_FURTHER = ("vision_config", "audio_config", "vit_config", "visual", "speech_config")

# For these types, a factor applies only to some layers, and SGLang does not apply it to the
# context.
_STRETCHED_BY_LAYER = frozenset(
    {
        *("gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "laguna"),
        *("diffusion_gemma_text", "embedding_gemma2_text", "mellum", "mimo_v2_flash"),
        *("modernbert", "modernbert-decoder", "neomme", "olmo3", "spark2_5", "step3p5"),
        *("t5gemma2_decoder", "t5gemma2_text", "deepseek_v4"),
    }
)
_VISION_WIDTH = 1024  # of the usual vision towers (ViT-L), if the configuration does not say


@dataclass(frozen=True)
class Shape:
    """Reads one configuration. Unknown numbers are 0."""

    config: Json  # the whole config.json

    @cached_property
    def names(self) -> tuple[str, ...]:
        return named(self.config)

    @cached_property
    def text(self) -> Json:
        """The part about the language model; the whole if there is no such part."""
        if self.names and self.names[0].startswith("Llava"):
            return self.config
        for name in _PARTS:
            part = self.config.get(name)
            if isinstance(part, dict):
                inner = part.get("text_config") if name == "thinker_config" else None
                return inner if isinstance(inner, dict) else part
        return self.config

    @property
    def reads_text_alone(self) -> bool:
        return not any(isinstance(self.config.get(name), dict) for name in _FURTHER)

    def number(self, *names: str, most: int = _MOST) -> int:
        """The number at the first of these keys, in the file or in the defaults of its type."""
        for name in names:
            for key in (name, self._type.names.get(name, "")):
                if (found := whole(self.text.get(key), most)) > 0:
                    return found
        defaults = (self._type.defaults.get(name, 0) for name in names)
        return next(filter(None, defaults), 0)

    @cached_property
    def own_layers(self) -> int:
        """The number of layers, as numbered in the files."""
        if self.pattern:
            return len(self.pattern)
        return self.number("num_hidden_layers", "num_layers", most=MAX_LAYERS)

    @cached_property
    def next_token_layers(self) -> int:
        """Additional layers of a draft model, for speculative decoding."""
        return self.number("num_nextn_predict_layers", most=MAX_LAYERS)

    @cached_property
    def layers(self) -> int:
        """Attention layers or their replacements. A layer that runs twice counts twice."""
        layers = self.own_layers
        if "LongcatFlashForCausalLM" in self.names:
            return 2 * layers
        if not {"IQuestLoopCoderForCausalLM", "NanbeigeForCausalLM"}.isdisjoint(self.names):
            return layers * max(1, self.number("loop_num", "num_loops", most=64))
        return layers

    @cached_property
    def pattern(self) -> str:
        """Nemotron-H: one letter per layer. `*` has attention, `M` a state."""
        found = self.text.get("hybrid_override_pattern")
        return found[:MAX_LAYERS] if isinstance(found, str) else ""

    @cached_property
    def layer_types(self) -> tuple[str, ...]:
        for name in ("layer_types", "layers_block_type"):
            listed = self.text.get(name)
            if isinstance(listed, list) and listed:
                return tuple(each for each in listed[:MAX_LAYERS] if isinstance(each, str))
        return ()

    @cached_property
    def width(self) -> int:
        return self.number("hidden_size", most=1 << 20)

    @cached_property
    def feed_forward(self) -> int:
        return self.number("intermediate_size", "ffn_hidden_size", most=1 << 24)

    @cached_property
    def vocabulary(self) -> int:
        return self.number("vocab_size", "padded_vocab_size", most=1 << 26)

    @cached_property
    def heads(self) -> int:
        return self.number("num_attention_heads", most=1 << 16)

    @cached_property
    def head(self) -> int:
        """The width of one head."""
        if found := self.number("head_dim", most=1 << 16):
            return found
        return self.width // self.heads if self.heads else 0

    @cached_property
    def value_head(self) -> int:
        return self.number("v_head_dim", most=1 << 16) or self.head

    @cached_property
    def kv_heads(self) -> int:
        """Heads of keys and values (configs/model_config.py, `get_total_num_kv_heads`)."""
        grouped = self.kind in _FALCONS and self.text.get("new_decoder_architecture") is True
        if not grouped and self.text.get("multi_query") is True:
            return 1
        if self.kind in ("mpt", "dbrx"):
            return whole(_object(self.config, "attn_config").get("kv_n_heads")) or self.heads
        if self.kind == "nemotron-nas":
            return self.heads // (min(self._group_sizes, default=0) or 1)
        return self.number(*_KV_HEADS, most=1 << 16) or self.heads

    @property
    def _group_sizes(self) -> Iterator[int]:
        """Query heads per key-value head, for models in which each layer has its own number."""
        blocks = self.text.get("block_configs")
        for block in blocks[:MAX_LAYERS] if isinstance(blocks, list) else ():
            attention = _object(block, "attention") if isinstance(block, dict) else {}
            if (size := whole(attention.get("n_heads_in_group"))) > 0:
                yield size

    @cached_property
    def vision(self) -> tuple[int, int]:
        """The widths of a vision layer: residual stream, and feed-forward part."""
        part = next((found for name in _FURTHER if (found := _object(self.config, name))), {})
        width = whole(part.get("hidden_size"), 1 << 20) or whole(part.get("embed_dim"), 1 << 20)
        width = width or whole(part.get("width"), 1 << 20) or _VISION_WIDTH
        return width, whole(part.get("intermediate_size"), 1 << 24) or 4 * width

    @cached_property
    def kind(self) -> str:
        found = self.config.get("model_type")
        return found if isinstance(found, str) else ""

    @cached_property
    def tied(self) -> bool:
        """Whether the file says that the input embeddings are also the output weights."""
        stated = (part.get("tie_word_embeddings") for part in (self.config, self.text))
        return any(value is True for value in stated)

    @cached_property
    def dtype(self) -> str:
        """The data type that the configuration names; "" if it names none."""
        for part in (self.text, self.config):
            for name in ("dtype", "torch_dtype"):
                if isinstance(found := part.get(name), str):
                    return found.removeprefix("torch.")
        return ""

    @cached_property
    def context(self) -> int:
        """Tokens, as SGLang derives them (utils/hf_transformers/common.py)."""
        return min(int(self._stretch * self.number(*_CONTEXT)) or _DEFAULT_CONTEXT, _MOST)

    @property
    def _stretch(self) -> float:
        scaling = _object(self.text, "rope_scaling") or _object(self.text, "rope_parameters")
        if "original_max_position_embeddings" in scaling:
            return 1
        if scaling.get("rope_type") == "llama3" or self._text_type in _STRETCHED_BY_LAYER:
            return 1
        factor = scaling.get("factor")
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return 1
        return float(factor) if 0 < factor <= _MOST else 1

    @cached_property
    def _text_type(self) -> str:
        found = self.text.get("model_type")
        if self.text is not self.config and isinstance(found, str):
            return found
        return shape_of_type(self.kind).text or self.kind

    @cached_property
    def _type(self) -> TypeShape:
        return shape_of_type(self._text_type)


def whole(value: object, most: int = _MOST) -> int:
    """The value as an integer from 1 to `most`; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    # Excludes infinity and NaN, too.
    return int(value) if 1 <= value <= most and value == int(value) else 0


def _object(part: Json, name: str) -> Json:
    found = part.get(name)
    return found if isinstance(found, dict) else {}
