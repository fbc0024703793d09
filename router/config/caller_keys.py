"""Keys of callers that the operator has named, and what each of them may do."""

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
_CALLER = 16  # characters of a digest that name a caller


def caller_of(digest: str) -> str:
    """The name of a caller whose key has this digest, for limits and prefix caches."""
    return digest[:_CALLER]


def sha256_of(key: str) -> str:
    """In hex, as `sha256sum` prints it."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyModels:
    """The models that a key may use: patterns as in ALLOWED_MODELS, which here hold for the
    operator's models as well, and names that the operator gave to models."""

    patterns: Patterns
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> KeyModels:
        """Raises `ValueError` that says what is allowed. No text: no model."""
        parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
        names = [part for part in parts if _NAME.fullmatch(part) and part.lower() != "none"]
        others = [part for part in parts if part not in names]
        return cls(Patterns.parse(",".join(others) or "none"), frozenset(names))

    def allow(self, operator: OperatorModel | None, ref: ModelRef | None) -> bool:
        """Whether they cover a model: the operator's, or `ref` where it is none of those."""
        if operator is None:
            return ref is not None and self.patterns.allow(ref)
        if not self.names.isdisjoint(operator.aliases or (operator.name,)):
            return True
        if operator.ref is None:  # a directory
            return "*" in self.patterns.texts
        # The operator chose the revision: a pattern without one means it.
        plain = Patterns(tuple(text for text in self.patterns.texts if "@" not in text))
        return plain.cover(operator.ref.repo_id) or self.patterns.allow(operator.ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerKey:
    """`models`: None for all. Rates are per minute, `max_concurrency` is in flight at once;
    None: no limit."""

    name: str
    sha256: str  # of the key, in hex
    models: KeyModels | None = None
    requests: int | None = None
    tokens: int | None = None
    max_concurrency: int | None = None
    disabled: bool = False

    @property
    def digest(self) -> str:
        """Stands for the key in this process alone."""
        return digest_of(self.sha256)

    @property
    def caller(self) -> str:
        return caller_of(self.digest)


@dataclass(frozen=True, slots=True)
class CallerKeys:
    """What the file holds. `secrets`: the keys that it shows in full, to be redacted from
    texts. `warning`: about the file itself; "": none."""

    keys: tuple[CallerKey, ...] = ()
    secrets: tuple[Secret, ...] = ()
    warning: str = ""
