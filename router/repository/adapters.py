"""Detects adapters (LoRA and the like): weights that change another model and are none
themselves.

An engine would start on the adapter's `config.json`, but without any weights of the model, so
its answers would be empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.weight_names import SAFE, UNSAFE, is_of_adapter, weights_at_top

ADAPTER_CONFIG = "adapter_config.json"

# Usual prefixes of a whole model's weight files.
_MODEL = ("model", "pytorch_model", "consolidated")
_REPOSITORY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/(?!.*(?:--|\.\.))[A-Za-z0-9][A-Za-z0-9_.-]{0,95}",
    re.ASCII,
)


def holds_adapter(listing: Listing) -> bool:
    return ADAPTER_CONFIG in listing or any(map(is_of_adapter, _weights(listing)))


def is_adapter_alone(listing: Listing) -> bool:
    """Whether the repository has an adapter and certainly no whole model."""
    others = [name for name in _weights(listing) if not is_of_adapter(name)]
    whole = any(name.startswith(_MODEL) for name in others)
    return holds_adapter(listing) and not whole and not (others and "config.json" in listing)


def is_part(listing: Listing, weights: Iterable[RemoteFile], least: int) -> bool:
    """Whether an adapter's `weights` under other names are too few for a whole model.

    `least`: the minimum bytes that the configuration describes; 0: unknown.
    """
    chosen = list(weights)
    if not holds_adapter(listing) or any(file.name.startswith(_MODEL) for file in chosen):
        return False
    own = sum(listing.files[name].size for name in _weights(listing) if is_of_adapter(name))
    return sum(file.size for file in chosen) < max(least, own)


def _weights(listing: Listing) -> list[str]:
    return weights_at_top(listing, SAFE, UNSAFE)


def adapter_refused(config: object) -> UnsupportedModel:
    """`config`: the content of `adapter_config.json`; None if there is none."""
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    known = isinstance(base, str) and _REPOSITORY.fullmatch(base)
    return UnsupportedModel(
        "The repository holds only an adapter (LoRA), and not the model that it changes. Ask "
        f"for its base model{f', {base},' if known else ''} or ask its owner to merge both."
    )
