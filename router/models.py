"""What a request can name, what the Hub makes of it, and what an engine is made from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from router.errors import InvalidModelId

# The Hub's own rule for a name, and what git allows of a revision that is safe in a
# path. `?`, `#` and `%` must never get through: `org/gated?` passes the Hub's
# auth-check, because the rest of the URL is read as a query.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Task(StrEnum):
    """What an engine was started for; a request for another task is refused."""

    GENERATE = "generate"
    EMBED = "embed"
    CLASSIFY = "classify"


class Access(StrEnum):
    """Who may read a repository, by its own metadata."""

    PUBLIC = "public"
    GATED = "gated"
    PRIVATE = "private"
    LOCAL = "local"  # the operator's directory on this machine


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as a request may name it: `org/name`, or `org/name@revision`."""

    repo_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read a name strictly; raises `InvalidModelId`, never guesses."""
        repo_id, at, revision = text.partition("@")
        org, slash, name = repo_id.partition("/")
        if not (slash and _is_name(org) and _is_name(name) and not name.endswith(".git")):
            raise InvalidModelId(
                "The model must be a Hugging Face id, `org/name` or `org/name@revision`."
            )
        if at and not _is_revision(revision):
            raise InvalidModelId(
                "The revision after `@` must be a branch, a tag or a commit: letters, "
                "digits, `.`, `_`, `-` and `/`, at most 128, without `..`."
            )
        return cls(repo_id, revision if at else None)

    @property
    def is_commit(self) -> bool:
        """True where the revision is a full commit hash, which can't move."""
        return self.revision is not None and bool(_COMMIT.fullmatch(self.revision))

    def __str__(self) -> str:
        return self.repo_id if self.revision is None else f"{self.repo_id}@{self.revision}"


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and ".." not in text and "--" not in text


def _is_revision(text: str) -> bool:
    # git's rules for a ref; `/./` would also be folded away by a URL library.
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
    """A repository at one commit. Knowing this is no permission to use it."""

    repo_id: str  # canonical: the Hub's own spelling, after renames
    commit: str
    task: Task = Task.GENERATE
    access: Access = Access.PUBLIC
    path: Path | None = field(default=None, compare=False)  # Access.LOCAL only

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.commit[:12]}"


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What makes two requests share an engine. No token is part of it."""

    repo_id: str
    commit: str
    flags: tuple[str, ...] = ()
    listed: bool = False  # started as the operator's entry says, with its memory and pin

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.commit[:12]}"


def trusts(flag: str) -> bool:
    """Whether SGLang reads this as `--trust-remote-code`: abbreviated, or with underscores."""
    return flag.replace("_", "-").startswith("--tr")


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start the engine for a model."""

    model: ResolvedModel
    flags: tuple[str, ...] = ()
    memory: int | None = None  # bytes; None: not known, an equal share of the budget
    pinned: bool = False
    idle_ttl: float | None = None  # seconds; None: never expires
    hf_token: bool = False  # the engine may see the worker's HF_TOKEN
    listed: bool = False  # the rest of this is an operator's entry, not the defaults

    @property
    def trusted(self) -> bool:
        """Whether the model may run code of its own."""
        return any(map(trusts, self.flags))

    @property
    def key(self) -> EngineKey:
        return EngineKey(self.model.repo_id, self.model.commit, self.flags, self.listed)
