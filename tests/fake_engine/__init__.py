"""A real process that speaks SGLang's protocol and misbehaves on request.

`ENGINE_PYTHON=PYTHON` starts it instead of SGLang. The file `tokenizer.fake_engine.json` in a
model's repository says how its engine behaves. `behaviour(...)` writes that file.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fake_engine.behaviour import FILE, Behaviour

PYTHON = Path(__file__).with_name("python")

# Torch's words, for `last_words`.
OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
    "capacity of 79.10 GiB of which 1.20 GiB is free."
)

__all__ = ["FILE", "OUT_OF_MEMORY", "PYTHON", "Behaviour", "behaviour"]


def behaviour(**options: Any) -> bytes:
    """Make the content of that file. Raises `TypeError` for an unknown option."""
    return json.dumps(asdict(Behaviour(**options))).encode()
