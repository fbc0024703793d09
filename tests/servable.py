"""The smallest repository, besides its weights, for which an engine is started."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

LLAMA = MappingProxyType({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})


def servable(**config: Any) -> dict[str, bytes]:
    """The files of a Llama, changed by `config`."""
    return {
        "config.json": json.dumps({**LLAMA, **config}).encode(),
        "tokenizer.model": b"a vocabulary",
    }
