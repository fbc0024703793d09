"""The errors for a caller whose engine is gone."""

from __future__ import annotations

from router.errors import EngineFailed
from router.models import EngineSpec


def died_midway(spec: EngineSpec) -> EngineFailed:
    return EngineFailed(
        f"The engine for {spec.model.repo_id} stopped in the middle of this answer. Send "
        "the request again: another engine will take it."
    )


def cut_off() -> EngineFailed:
    return EngineFailed(
        "This worker is leaving, and ended the answer before it was whole. Send the request "
        "again: another worker will take it."
    )


def died_twice(spec: EngineSpec) -> EngineFailed:
    return EngineFailed(
        f"The engine for {spec.model.repo_id} died under this request, twice. The request "
        "may be the cause; the operator's log says how the engine ended."
    )
