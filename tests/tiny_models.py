"""Tiny models that know one thing: a chat model says its own name, whatever the question.

They are whole checkpoints (safetensors, `config.json`, a byte-level tokenizer with a chat
template; 0.4 MB) that the real SGLang serves on a CPU. Each model's answer is different, so a
router's tests can tell the models apart.

Nothing is trained. If a Llama's layers add nothing to the residual stream, that is, if `o_proj`
and `down_proj` are zero, the next token depends only on the last token. So each token of the
answer has its own direction, and the output weights lead from each token to the next; every
other token means "begin". The layers still compute, with random weights.
"""

from __future__ import annotations

import json
import random
import struct
from array import array
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"
SPECIAL = (PAD, BEGIN, END)
TEMPLATE = (
    "{% for message in messages %}"
    f"{BEGIN}{{{{ message['role'] }}}}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    f"{END}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{BEGIN}assistant\n{{% endif %}}"
)

HIDDEN, LAYERS, HEADS, KV_HEADS, INNER, VOCABULARY = 64, 2, 4, 2, 128, 264
HEAD = HIDDEN // HEADS
CONTEXT = 4096

Shape = tuple[int, ...]
Tensors: TypeAlias = "dict[str, tuple[Shape, array[float]]]"


class Kind(StrEnum):
    CHAT = "chat"  # answers with `answer(name)`
    EMBED = "embed"  # all random; has the files that mark an embedder on the Hub


def answer(name: str) -> str:
    """The answer of the chat model with this name, at any temperature. If it must not stop, it
    repeats the answer."""
    return "".join(_words(name))


def make(directory: Path, name: str, kind: Kind = Kind.CHAT) -> Path:
    """Write the model to `directory/name` and return that path. Takes some milliseconds."""
    model = directory / name
    model.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary(_words(name))
    tensors = _random_weights(random.Random(name))
    if kind is Kind.CHAT:
        _teach(tensors, [vocabulary[_spell(word)] for word in _words(name)])
    else:
        write_pooling(model, "lasttoken")
    write_json(model / "config.json", _config())
    write_json(model / "generation_config.json", {"eos_token_id": 2, "pad_token_id": 0})
    write_json(model / "tokenizer.json", tokenizer(vocabulary, SPECIAL))
    write_json(model / "tokenizer_config.json", _tokenizer_config())
    (model / "model.safetensors").write_bytes(safetensors(tensors))
    return model


def _words(name: str) -> tuple[str, str, str]:
    return ("I", " am", f" {name}.")  # one token each


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _shapes() -> Iterator[tuple[str, Shape]]:
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", (HIDDEN,)
        yield f"{layer}.self_attn.q_proj.weight", (HEADS * HEAD, HIDDEN)
        yield f"{layer}.self_attn.k_proj.weight", (KV_HEADS * HEAD, HIDDEN)
        yield f"{layer}.self_attn.v_proj.weight", (KV_HEADS * HEAD, HIDDEN)
        yield f"{layer}.self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD)
        yield f"{layer}.post_attention_layernorm.weight", (HIDDEN,)
        yield f"{layer}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{layer}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{layer}.mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _random_weights(rng: random.Random) -> Tensors:
    tensors: Tensors = {}
    for name, shape in _shapes():
        if len(shape) == 1:
            values = [1.0] * shape[0]
        else:
            values = [rng.gauss(0.0, 0.05) for _ in range(shape[0] * shape[1])]
        tensors[name] = (shape, array("f", values))
    return tensors


def _teach(tensors: Tensors, said: list[int]) -> None:
    """Make the model answer with these tokens, then end."""
    for name, (_, values) in tensors.items():
        if name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
            values[:] = array("f", bytes(values.itemsize * len(values)))
    embed, lead = tensors["model.embed_tokens.weight"][1], tensors["lm_head.weight"][1]
    begin = 0
    directions = dict.fromkeys(range(VOCABULARY), begin)
    directions |= {token: 1 + place for place, token in enumerate(said)}
    for token, direction in directions.items():
        row = array("f", bytes(4 * HIDDEN))
        row[direction] = 1.0
        embed[token * HIDDEN : (token + 1) * HIDDEN] = row
    lead[said[0] * HIDDEN + begin] = 4.0  # the norm turns 1 into 8: a logit of 32, others 0
    for token, following in pairwise((*said, SPECIAL.index(END))):
        lead[following * HIDDEN + directions[token]] = 4.0


def safetensors(tensors: Tensors) -> bytes:
    """The format: the header's length, the header (JSON), the tensors' bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (shape, values) in tensors.items():
        start = len(data)
        data += values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (start, len(data))}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def _vocabulary(words: tuple[str, ...]) -> dict[str, int]:
    """One token per byte, so that any text can be written; then the tokens of the answer."""
    tokens = [*SPECIAL, *letters()]
    tokens += [spelt for word in words if (spelt := _spell(word)) not in tokens]
    return {token: number for number, token in enumerate(tokens)}


def letters() -> Iterator[str]:
    """The letters with which a byte-level tokenizer writes each byte."""
    return map(_letter, range(256))


def _letter(byte: int) -> str:
    """A printable letter for each byte, as in byte-level tokenizers since GPT-2."""
    if _is_printable(byte):
        return chr(byte)
    return chr(256 + sum(not _is_printable(smaller) for smaller in range(byte)))


def _is_printable(byte: int) -> bool:
    return 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte <= 0xFF


def _spell(text: str) -> str:
    return "".join(map(_letter, text.encode()))


def tokenizer(vocabulary: dict[str, int], special: Sequence[str]) -> dict[str, object]:
    """The content of a tokenizer.json: byte-level, with special tokens from number 0."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, "special": True, **flags}
            for number, token in enumerate(special)
        ],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "use_regex": True},
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "pad_token": PAD,
        "eos_token": END,
        "chat_template": TEMPLATE,
    }


def write_pooling(model: Path, mode: str) -> None:
    """The files of sentence-transformers; `mode` is `cls_token`, `mean_tokens`, `lasttoken`."""
    modules = {"Transformer": "", "Pooling": "1_Pooling"}
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(modules.items())
    ]
    write_json(model / "modules.json", listed)
    (model / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": HIDDEN, f"pooling_mode_{mode}": True}
    write_json(model / "1_Pooling" / "config.json", pooling)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
