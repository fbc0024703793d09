"""`/v1/models` in OpenAI's format, with the fields that SGLang adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    LOADED = "loaded"
    LOADING = "loading"  # it waits for room, downloads, starts or wakes
    SLEEPING = "sleeping"  # a request wakes it
    UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """An entry of `/v1/models`.

    `root` is the repository behind an alias. `created` is in seconds since 1970; 0: unknown.
    `max_model_len` is in tokens, and is known while the model is loaded. `status` tells what a
    request must expect: only a "loaded" model answers at once.
    """

    id: str
    owned_by: str
    loaded: bool
    root: str
    created: int = 0
    max_model_len: int | None = None
    status: Status = Status.UNLOADED


def model_object(card: ModelCard, worker: str = "") -> dict[str, object]:
    """`worker`: this worker's id for a load balancer; "": none."""
    return {
        **({"worker": worker} if worker else {}),
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": card.owned_by,
        "root": card.root,
        "parent": None,  # no model here is an adapter of another one
        "max_model_len": card.max_model_len,
        "context_length": card.max_model_len,  # the name that other clients use
        "status": card.status.value,
        "loaded": card.loaded,
    }


def model_list(cards: Sequence[ModelCard], worker: str = "") -> dict[str, object]:
    return {"object": "list", "data": [model_object(card, worker) for card in cards]}
