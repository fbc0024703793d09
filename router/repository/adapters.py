"""Adapters (LoRA and the like): weights that change another model, and are none by themselves.

An engine would start on the adapter's `config.json` and answer with nothing, because no weight
of the model itself is there.
"""

from __future__ import annotations

import re

from router.errors import UnsupportedModel
from router.repository.listing import Listing

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model"

# How a whole model's weights begin. Others may lie beside an adapter
# (`non_lora_trainables.bin`, `training_args.bin`).
_MODEL = ("model", "pytorch_model", "consolidated")
_REPOSITORY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/(?!.*(?:--|\.\.))[A-Za-z0-9][A-Za-z0-9_.-]{0,95}",
    re.ASCII,
)


def is_adapter_alone(listing: Listing) -> bool:
    """Whether the repository holds an adapter and no whole model."""
    has_adapter = ADAPTER_CONFIG in listing or any(
        name.endswith((".safetensors", ".bin")) for name in listing.top(ADAPTER)
    )
    return has_adapter and not any(
        name.startswith(_MODEL)
        for name in (*listing.top(end=".safetensors"), *listing.top(end=".bin"))
    )


def adapter_refused(config: object) -> UnsupportedModel:
    """`config`: the content of `adapter_config.json`; None if there is none."""
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    known = isinstance(base, str) and _REPOSITORY.fullmatch(base)
    return UnsupportedModel(
        "The repository holds only an adapter (LoRA), and not the model that it changes. Ask "
        f"for its base model{f', {base},' if known else ''} or ask its owner to merge both."
    )
