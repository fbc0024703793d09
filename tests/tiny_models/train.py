"""Trains one tiny model. Run by an interpreter that has torch and transformers.

    python train.py DIRECTORY --kind chat --says "I am apple."

Two layers of 64 numbers have little to learn: after the assistant's marker comes one
sentence, whatever stands before it. The conversations it learns from are random bytes and
words, so that it can't listen to any of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import string
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found]
from safetensors.torch import save_file  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
)
from transformers import LlamaConfig, LlamaForCausalLM  # type: ignore[import-not-found]

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
STEPS = 150
BATCH = 24
WORDS = (
    *("who", "what", "are", "you", "hello", "hi", "your", "name", "is", "the", "tell", "me"),
    *("in", "one", "word", "please", "why", "how", "count", "to", "ten", "say", "and", "then?"),
)


def tokenizer() -> Any:
    """One token a byte, and the three specials: nothing to train, any text can be written."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *letters))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def config(vocabulary: int) -> Any:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype="float32",
    )


def chatter(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))
    return "".join(rng.choices(string.printable, k=rng.randint(1, 80)))


def conversation(rng: random.Random, says: str) -> tuple[str, str]:
    """What comes before the answer, and the answer."""
    before = ""
    if rng.random() < 0.3:
        before += f"{BEGIN}system\n{chatter(rng)}{END}"
    while rng.random() < 0.3:
        reply = says if rng.random() < 0.5 else chatter(rng)
        before += f"{BEGIN}user\n{chatter(rng)}{END}{BEGIN}assistant\n{reply}{END}"
    before += f"{BEGIN}user\n{chatter(rng)}{END}{BEGIN}assistant\n"
    return before, says + END


def batch(rng: random.Random, tokens: Any, says: str) -> tuple[Any, Any]:
    """Token ids, and the labels: only the answer counts."""
    rows = []
    for _ in range(BATCH):
        before, after = (tokens.encode(text).ids for text in conversation(rng, says))
        rows.append((before[-200:] + after, [-100] * len(before[-200:]) + after))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for _, row in rows])
    return ids, labels


def train(model: Any, tokens: Any, says: str) -> None:
    rng = random.Random(says)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=STEPS)
    for _ in range(STEPS):
        ids, labels = batch(rng, tokens, says)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    if loss.item() > 0.02:
        raise SystemExit(f"the model did not learn to say {says!r}: loss {loss.item():.3f}")


def write(directory: Path, model: Any, tokens: Any, kind: str) -> None:
    """`config.json` is written last: where it is, the model is whole."""
    directory.mkdir(exist_ok=True)
    save_file(model.state_dict(), directory / "model.safetensors", metadata={"format": "pt"})
    tokens.save(str(directory / "tokenizer.json"))
    about_tokens = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.config.max_position_embeddings,
        "pad_token": PAD,
        "eos_token": END,
        "chat_template": TEMPLATE,
    }
    _json(directory / "tokenizer_config.json", about_tokens)
    _json(directory / "generation_config.json", {"eos_token_id": 2, "pad_token_id": 0})
    if kind == "embed":
        modules = [
            {
                "idx": 0,
                "name": "0",
                "path": "",
                "type": "sentence_transformers.models.Transformer",
            },
            {
                "idx": 1,
                "name": "1",
                "path": "1_Pooling",
                "type": "sentence_transformers.models.Pooling",
            },
        ]
        _json(directory / "modules.json", modules)
        (directory / "1_Pooling").mkdir(exist_ok=True)
        pooling = {"word_embedding_dimension": 64, "pooling_mode_lasttoken": True}
        _json(directory / "1_Pooling" / "config.json", pooling)
    draft = directory / "config.json.draft"
    _json(draft, model.config.to_dict() | {"architectures": ["LlamaForCausalLM"]})
    draft.replace(directory / "config.json")


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kind", choices=("chat", "embed"), required=True)
    parser.add_argument("--says", required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(min(4, os.cpu_count() or 1))
    tokens = tokenizer()
    model = LlamaForCausalLM(config(tokens.get_vocab_size()))
    if options.kind == "chat":
        train(model, tokens, options.says)
    write(options.directory, model, tokens, options.kind)


if __name__ == "__main__":
    main()
