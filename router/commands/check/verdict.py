"""The result of `check` for one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from router.errors import RouterError
from router.models import ModelGroup, ResolvedModel


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A file of the repository that an engine needs."""

    name: str
    size: int  # bytes
    on_disk: bool


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The memory that the engine needs on each of its GPUs, in bytes.

    * `token`: of the KV cache, per token. `sequence`: of a request's state, if a model has one.
    * `claim`: what the scheduler reserves, with a cache of `tokens` (None: not planned).
    * `longest`: tokens of the longest request if the engine has the GPU to itself.
    """

    weights: int
    overhead: int
    token: int
    sequence: int
    claim: int
    tokens: int | None
    context: int  # the model's context length in tokens
    longest: int
    gpus: int
    measured: bool  # whether the claim is from an earlier start


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """The verdict on one model. Steps after a refusal leave their fields empty."""

    name: str  # as the command got it
    asked_with: str = ""  # which token, never the token itself
    model: ResolvedModel | None = None
    group: ModelGroup | None = None
    max_concurrency: int | None = None  # the model's own; None: as for all models
    max_queue: int | None = None
    files: tuple[NeededFile, ...] = ()
    flags: tuple[str, ...] = ()
    memory: MemoryNeed | None = None
    start_seconds: float | None = None  # None: never measured here
    refusal: RouterError | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def to_download(self) -> int:
        return sum(file.size for file in self.files if not file.on_disk)

    def as_json(self) -> dict[str, Any]:
        """The verdict for `--json`. Scripts use these field names: do not change them."""
        model, refusal = self.model, self.refusal
        return {
            "model": self.name,
            "can_be_served": refusal is None,
            "refusal": refusal and {"code": refusal.code, "message": refusal.message},
            "notes": list(self.notes),
            "asked_with": self.asked_with,
            "repository": model and model.repo_id,
            "commit": model and model.commit,
            "access": model and str(model.access),
            "task": model and str(model.task),
            "bytes": self.size,
            "bytes_on_disk": self.size - self.to_download,
            "bytes_to_download": self.to_download,
            "files": [
                {"name": file.name, "bytes": file.size, "on_disk": file.on_disk}
                for file in self.files
            ],
            "engine_flags": list(self.flags),
            "group": self.group and _group_json(self.group),
            "max_concurrency": self.max_concurrency,
            "max_queue": self.max_queue,
            "memory": self.memory and _memory_json(self.memory),
            "start_seconds": self.start_seconds,
        }


def _group_json(group: ModelGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "max_loaded": group.max_loaded,
        "exclusive": group.exclusive,
    }


def _memory_json(need: MemoryNeed) -> dict[str, Any]:
    return {
        "gpus": need.gpus,
        "weights_bytes": need.weights,
        "overhead_bytes": need.overhead,
        "kv_bytes_per_token": need.token,
        "state_bytes_per_request": need.sequence,
        "claim_bytes": need.claim,
        "claim_is_measured": need.measured,
        "cache_tokens": need.tokens,
        "model_context": need.context,
        "longest_request": need.longest,
    }
