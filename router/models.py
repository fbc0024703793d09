"""Models: as requests name them, as the Hub resolves them, and as engines run them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from router.errors import InvalidModelId

# Names follow the Hub's own rule. Revisions are those that git allows and that are safe in a
# path. `?`, `#` and `%` must never pass: `org/gated?` would pass the Hub's auth-check, because
# the rest of the URL becomes a query.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
DEFAULT_REVISION = "main"  # the Hub's name for it
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Task(StrEnum):
    """The task that an engine serves. Requests for another task are refused."""

    GENERATE = "generate"
    EMBED = "embed"
    CLASSIFY = "classify"
    TRANSCRIBE = "transcribe"  # speech to text; no route serves it


class Access(StrEnum):
    """The visibility of a repository, from its metadata."""

    PUBLIC = "public"
    GATED = "gated"
    PRIVATE = "private"
    LOCAL = "local"  # a directory of the operator's on this machine


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as a request may name it: `org/name`, or `org/name@revision`."""

    repo_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Parse a name. Raises `InvalidModelId` if it is malformed in any way."""
        repo_id, at, revision = text.partition("@")
        org, slash, name = repo_id.partition("/")
        if not (slash and _is_name(org) and _is_name(name) and not name.endswith(".git")):
            raise InvalidModelId(
                "The model must be a Hugging Face id, `org/name` or `org/name@revision`, or "
                "one of the names that the worker's `/v1/models` lists."
            )
        if at and not _is_revision(revision):
            raise InvalidModelId(
                "The revision after `@` must be a branch, a tag or a commit: letters, "
                "digits, `.`, `_`, `-` and `/`, at most 128, without `..`."
            )
        return cls(repo_id, revision if at else None)

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a full commit hash, which always means the same files."""
        return self.revision is not None and bool(_COMMIT.fullmatch(self.revision))

    @property
    def branch(self) -> str | None:
        """The branch or tag that the name refers to; None for a commit."""
        return None if self.is_commit else self.revision or DEFAULT_REVISION

    def __str__(self) -> str:
        return self.repo_id if self.revision is None else f"{self.repo_id}@{self.revision}"


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and ".." not in text and "--" not in text


def _is_revision(text: str) -> bool:
    # These are git's rules for a ref. A URL library would also collapse `/./`.
    return (
        bool(_REVISION.fullmatch(text))
        and ".." not in text
        and not text.endswith((".", "/"))
        and not any(
            part == "" or part.startswith(".") or part.endswith(".lock")
            for part in text.split("/")
        )
    )


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A repository at one commit. This object alone does not permit its use."""

    repo_id: str  # canonical: the Hub's spelling, after renames
    commit: str
    task: Task = Task.GENERATE
    access: Access = Access.PUBLIC
    path: Path | None = field(default=None, compare=False)  # for `Access.LOCAL` only
    created: int = field(default=0, compare=False)  # seconds since 1970; 0: unknown
    branch: str | None = field(default=None, compare=False)  # branch or tag in the name
    # Whether the model's chat template makes a generation model rerank; None: not known yet.
    reranks: bool | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.commit[:12]}"


class EngineKey(NamedTuple):
    """Identifies an engine: requests with the same key share it. It does not depend on a token.

    It is a tuple, because each request looks it up several times and a tuple hashes fast.
    """

    repo_id: str
    commit: str
    flags: tuple[str, ...] = ()
    listed: bool = False  # started from the operator's entry, with that entry's memory and pin

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.commit[:12]}"


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The memory, in bytes, that an engine takes on each of its GPUs, from its repository.

    An engine takes `weights` + `overhead` + N * `token` for a cache of N tokens. A model with
    recurrent state also takes `sequence` for each request in flight.
    """

    weights: int  # as loaded: sharded, in the engine's data type
    token: int  # of the KV cache, per token
    overhead: int  # CUDA context, activations, graphs
    context: int  # tokens of the longest request
    sequence: int = 0
    devices: int = 1  # GPUs that the engine spans; each takes the same amount
    base: int | None = None  # index of the first GPU, if a flag sets it
    # `--tp-size`, if the router chose it because one GPU is too small; None: the flags decide.
    tensor: int | None = None


def trusts(flag: str) -> bool:
    """Whether SGLang reads `flag` as `--trust-remote-code`.

    SGLang also accepts abbreviations, and underscores for dashes.
    """
    return flag.replace("_", "-").startswith("--tr")


# Flags with which SGLang 0.5.23 refuses the memory saver or shares the weights.
_KEEPS_AWAKE = ("--startup-weight-load-mode", "--weight-cache-mode", "--disaggregation-mode")


def sets_template(flag: str) -> bool:
    """Whether SGLang reads or might read `flag` as `--chat-template`."""
    return flag.replace("_", "-").startswith("--chat-t")


@dataclass(frozen=True, slots=True)
class ModelGroup:
    """Limits how many of the operator's models may be loaded at once, on all devices."""

    name: str
    max_loaded: int = 1  # of the models in this group
    exclusive: bool = False  # no other model is loaded beside one of these

    @staticmethod
    def between(one: ModelGroup | None, other: ModelGroup | None) -> ModelGroup | None:
        """The group of the two that excludes the other's models; None if neither does."""
        if one is not None and other is not None and one.name == other.name:
            return None
        return next((group for group in (one, other) if group and group.exclusive), None)


class Rules(Protocol):
    """Limits that the router enforces itself, so that no engine process depends on them.

    The operator's entries and the engines have them. `EngineSpec` describes each.
    """

    @property
    def pinned(self) -> bool: ...

    @property
    def idle_ttl(self) -> float | None: ...

    @property
    def group(self) -> ModelGroup | None: ...

    @property
    def max_concurrency(self) -> int | None: ...

    @property
    def max_queue(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start the engine for a model."""

    model: ResolvedModel
    flags: tuple[str, ...] = ()
    memory: int | None = None  # bytes; None: unknown, so an equal share of the budget
    pinned: bool = False
    idle_ttl: float | None = None  # seconds; None: never expires
    hf_token: bool = False  # pass the worker's HF_TOKEN to the engine
    listed: bool = False  # the other fields come from an operator's entry, not from defaults
    group: ModelGroup | None = None
    max_concurrency: int | None = None  # requests in flight; None: the limit for all engines
    max_queue: int | None = None  # requests that may wait for it; None: no limit

    key: EngineKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        model = self.model
        key = EngineKey(model.repo_id, model.commit, self.flags, self.listed)
        object.__setattr__(self, "key", key)

    def ruled_as(self, rules: Rules) -> EngineSpec:
        """The same engine with other rules."""
        return replace(
            self,
            pinned=rules.pinned,
            idle_ttl=rules.idle_ttl,
            group=rules.group,
            max_concurrency=rules.max_concurrency,
            max_queue=rules.max_queue,
        )

    @property
    def trusted(self) -> bool:
        """Whether the flags let the model run its own code."""
        return any(map(trusts, self.flags))

    @property
    def may_sleep(self) -> bool:
        """Whether its flags allow SGLang's memory saver."""
        return not any(flag.replace("_", "-").startswith(_KEEPS_AWAKE) for flag in self.flags)

    @property
    def own_template(self) -> bool:
        """Whether the flags replace the model's chat template."""
        return any(map(sets_template, self.flags))
