"""The operator's named API keys, and what each of them may do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from router.config.catalog import OperatorModel
from router.config.patterns import Patterns
from router.models import ModelRef
from router.secrets import Secret, digest_of

_NAME = re.compile(r"[\w.-]+", re.ASCII)
_CALLER = 16  # characters of a digest in a caller's name


def caller_of(digest: str) -> str:
    """The name of a caller whose key has this digest, for limits and prefix caches."""
    return digest[:_CALLER]


def sha256_of(key: str) -> str:
    """The key's SHA-256 digest in hex, as `sha256sum` prints it."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyModels:
    """The models that a key may use: patterns and the operator's names for models.

    The patterns are those of ALLOWED_MODELS, but apply to the operator's models too.
    """

    patterns: Patterns
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> KeyModels:
        """Read the lists. Without any text, the key may use no model.

        Raises a `ValueError` that says what is allowed.
        """
        parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
        names = [part for part in parts if _NAME.fullmatch(part) and part.lower() != "none"]
        others = [part for part in parts if part not in names]
        return cls(Patterns.parse(",".join(others) or "none"), frozenset(names))

    def allow(self, operator: OperatorModel | None, ref: ModelRef | None) -> bool:
        """Whether the key may use a model: `operator`, or `ref` if that is None."""
        if operator is None:
            return ref is not None and self.patterns.allow(ref)
        if not self.names.isdisjoint(operator.aliases or (operator.name,)):
            return True
        if operator.ref is None:  # a directory
            return "*" in self.patterns.texts
        # The operator chose the revision, so a pattern without one means that revision.
        plain = Patterns(tuple(text for text in self.patterns.texts if "@" not in text))
        return plain.cover(operator.ref.repo_id) or self.patterns.allow(operator.ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerKey:
    """One named key. `models` is None for all models.

    `requests` and `tokens` are per minute, `max_concurrency` is requests at once; None: no
    limit.
    """

    name: str
    sha256: str  # of the key, in hex
    models: KeyModels | None = None
    requests: int | None = None
    tokens: int | None = None
    max_concurrency: int | None = None
    disabled: bool = False

    @property
    def digest(self) -> str:
        """A digest that identifies the key within this process only."""
        return digest_of(self.sha256)

    @property
    def caller(self) -> str:
        return caller_of(self.digest)


@dataclass(frozen=True, slots=True)
class CallerKeys:
    """The content of the keys file. `secrets`: keys in plain text, to redact from other texts.
    `warning`: about the file itself, or ""."""

    keys: tuple[CallerKey, ...] = ()
    secrets: tuple[Secret, ...] = ()
    warning: str = ""
