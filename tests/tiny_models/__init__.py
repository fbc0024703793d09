"""Tiny models that know one thing: a chat model says its own name, whatever it is asked.

They are real checkpoints (safetensors, `config.json`, a byte-level tokenizer with a chat
template) that the real SGLang serves on a CPU, and each is told from the others by its
answer, which is what a router's tests need. Made by `train.py` in SGLang's environment.
"""

from __future__ import annotations

import os
import subprocess
from enum import StrEnum
from pathlib import Path

from engines.command import CPU_MODULES

_TRAIN = Path(__file__).with_name("train.py")


class Kind(StrEnum):
    CHAT = "chat"  # says `answer(name)`
    EMBED = "embed"  # random weights, but the files by which the Hub calls it an embedder


def answer(name: str) -> str:
    """What the chat model of this name says at temperature 0."""
    return f"I am {name}."


def make(directory: Path, name: str, *, python: Path, kind: Kind = Kind.CHAT) -> Path:
    """Return `directory/name`, a model of this name; trained if it is not there yet.

    `python` is an interpreter with torch and transformers: SGLang's. Takes some seconds.
    Raises `CalledProcessError` if the training fails.
    """
    model = directory / name
    if not (model / "config.json").exists():  # written last
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [python, _TRAIN, model, "--kind", kind, "--says", answer(name)],
            check=True,
            # transformers, too, imports torchvision
            env=os.environ | {"PYTHONPATH": str(CPU_MODULES)},
        )
    return model
