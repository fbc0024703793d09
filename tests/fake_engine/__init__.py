"""A real process that speaks SGLang's protocol and misbehaves on request.

`ENGINE_PYTHON=PYTHON` starts it in SGLang's place. What a model's engine is like stands in
its repository, in `tokenizer.fake_engine.json`, written by `behaviour(...)`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fake_engine.behaviour import FILE, Behaviour

PYTHON = Path(__file__).with_name("python")

# As torch says it, for `last_words`.
OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
    "capacity of 79.10 GiB of which 1.20 GiB is free."
)

__all__ = ["FILE", "OUT_OF_MEMORY", "PYTHON", "Behaviour", "behaviour"]


def behaviour(**options: Any) -> bytes:
    """Give the content of that file. Raises `TypeError` for what it can't do."""
    return json.dumps(asdict(Behaviour(**options))).encode()
