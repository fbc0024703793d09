"""Recognizes weight files by their names."""

from __future__ import annotations

import re

from router.repository.listing import Listing

SAFE = ".safetensors"
# Pickles run code when they are loaded, so the operator must allow them.
UNSAFE = ".bin"

# The names that PEFT, MLX, LLaVA and diffusers give to the weights of adapters.
_ADAPTER = re.compile(
    r"(adapter_model|(\d+_)?adapters|non_lora_trainables|(pytorch_)?lora(_weights)?)(?![a-z]).*"
)
# Files with the suffix of weights that contain none: a trainer's state, other programs' models
# and tables. SGLang itself skips some of the first kind.
_OTHER = re.compile(
    r"(training_args|(ema_)?optimizer|scheduler|scaler|rng_state|random_states|trainer_state"
    r"|tokenizer|vocab)(_\d+)?\..*|(openvino|ggml|imatrix).*"
)


def is_of_adapter(name: str) -> bool:
    """Whether a weight file belongs to an adapter."""
    return bool(_ADAPTER.match(name))


def weights_at_top(listing: Listing, *suffixes: str) -> list[str]:
    """The names of top-level weight files, including those of an adapter."""
    return [name for name in listing.top(end=suffixes) if not _OTHER.fullmatch(name)]
