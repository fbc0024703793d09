"""The least that a repository must hold besides its weights, so that an engine is started."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

LLAMA = MappingProxyType({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})


def servable(**config: Any) -> dict[str, bytes]:
    """The files of a Llama, or of what `config` says otherwise."""
    return {
        "config.json": json.dumps({**LLAMA, **config}).encode(),
        "tokenizer.model": b"a vocabulary",
    }
