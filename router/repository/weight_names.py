"""What the names of files tell of the weights in them."""

from __future__ import annotations

import re

from router.repository.listing import Listing

SAFE = ".safetensors"
# Pickles run code when they are loaded, so the operator has to allow them.
UNSAFE = ".bin"

# As PEFT, MLX, LLaVA and diffusers name the weights of adapters.
_ADAPTER = re.compile(
    r"(adapter_model|(\d+_)?adapters|non_lora_trainables|(pytorch_)?lora(_weights)?)(?![a-z]).*"
)
# What has the suffix of weights, and holds none: a trainer's state, other programs' models
# and tables. SGLang itself leaves out some of the first.
_OTHER = re.compile(
    r"(training_args|(ema_)?optimizer|scheduler|scaler|rng_state|random_states|trainer_state"
    r"|tokenizer|vocab)(_\d+)?\..*|(openvino|ggml|imatrix).*"
)


def is_of_adapter(name: str) -> bool:
    """Whether a file of weights belongs to an adapter."""
    return bool(_ADAPTER.match(name))


def weights_at_top(listing: Listing, *suffixes: str) -> list[str]:
    """The names, in no folder, of what holds weights, also those of an adapter."""
    return [name for name in listing.top(end=suffixes) if not _OTHER.fullmatch(name)]
