"""Patterns for model names, as in `ALLOWED_MODELS` and `HF_TOKEN_MODELS`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.models import DEFAULT_REVISION, ModelRef

_PATTERN = re.compile(r"(?:\*|[\w.*-]+/[\w.*-]+)(?:@[\w./*-]+)?", re.ASCII)
_EXPLAINED = "a comma-separated list of `org/name`, `org/*`, `org/name@*` or `*`, or `none`"


@dataclass(frozen=True, slots=True)
class Patterns:
    """A list of patterns. `*` stands for any characters; `org/name` ignores letter case.

    `org/name` means the default revision only, and `org/name@*` means all revisions, because a
    pull request's revision has a stranger's files under a trusted name. A lone `*` means
    everything.
    """

    texts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Patterns:
        """Read a comma-separated list. Raises a `ValueError` that says what is allowed."""
        if text.strip().lower() == "none":
            return cls(())
        texts = tuple(part.strip() for part in text.split(",") if part.strip())
        if not texts or not all(_PATTERN.fullmatch(part) for part in texts):
            raise ValueError(_EXPLAINED)
        return cls(texts)

    def allow(self, ref: ModelRef) -> bool:
        """Whether a pattern covers this repository at this revision."""
        revision = ref.revision or DEFAULT_REVISION
        return any(
            _covers(wanted, ref.repo_id) and re.fullmatch(_regex(at), revision) is not None
            for wanted, at in map(_split, self.texts)
        )

    def cover(self, repo_id: str) -> bool:
        """Whether a pattern covers this repository at any of its revisions."""
        return any(_covers(_split(text)[0], repo_id) for text in self.texts)

    def __str__(self) -> str:
        return ",".join(self.texts) or "none"


def _split(text: str) -> tuple[str, str]:
    wanted, _, revision = text.partition("@")
    return wanted, revision or ("*" if text == "*" else DEFAULT_REVISION)


def _covers(wanted: str, repo_id: str) -> bool:
    return wanted == "*" or bool(
        re.fullmatch(_regex(wanted), repo_id, re.IGNORECASE | re.ASCII)
    )


def _regex(pattern: str) -> str:
    """A regular expression without backtracking, except for the last star.

    With backtracking, the time to refuse a name would grow exponentially with the stars.
    """
    first, *parts = map(re.escape, pattern.split("*"))
    between = "".join(f"(?>.*?{part})" for part in parts[:-1])
    return first + between + (f".*{parts[-1]}" if parts else "")
