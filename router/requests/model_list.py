"""`/v1/models` in OpenAI's form, whatever carries it."""

from __future__ import annotations

from collections.abc import Sequence

from router.requests.service import ModelCard


def model_object(card: ModelCard) -> dict[str, object]:
    return {
        "id": card.id,
        "object": "model",
        "created": 0,  # clients require the field; nobody knows the time
        "owned_by": card.owned_by,
        "loaded": card.loaded,
    }


def model_list(cards: Sequence[ModelCard]) -> dict[str, object]:
    return {"object": "list", "data": [model_object(card) for card in cards]}
