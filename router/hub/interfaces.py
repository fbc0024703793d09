"""The router's interface to the Hugging Face Hub."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from router.models import ModelRef, ResolvedModel
from router.secrets import Token

V = TypeVar("V")


@dataclass(slots=True, eq=False)
class HubAnswer(Generic[V]):
    """An answer of the Hub, valid until `until`, in seconds of the router's clock.

    The cache keeps the same object and can end it early, for all holders. An answer that no
    cache keeps is already expired.
    """

    value: V
    until: float = -math.inf

    def end(self) -> None:
        self.until = -math.inf


@dataclass(frozen=True, slots=True)
class Asker:
    """The caller on whose behalf the Hub is asked, and how its request is charged."""

    caller: str = ""  # the caller to charge; "": shared by all unnamed callers
    reserved: bool = False  # the operator named the model, or the caller already waits for it
    loaded: bool = False  # an engine serves it
    fresh: bool = False  # ignore cached answers


ANYBODY = Asker()


class Hub(Protocol):
    """Resolves names and checks access. A credential of None means an anonymous request."""

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        """Find the canonical id and the commit.

        Raises:
            AccessError     the model does not exist, or this credential was refused
            FitError        the repository can't be served
            HubUnavailable  the Hub can't be asked now
        """
        ...

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        """Return if this credential may read the files of this commit.

        Raises:
            AccessError     it may not
            FitError        the commit has no config.json
            HubUnavailable  the Hub can't be asked now
        """
        ...


class CachingHub(Protocol):
    """A `Hub` that caches its answers for a while.

    Raises what `Hub` raises, and `RateLimited` if `asker` has caused too many Hub requests.
    """

    @property
    def accepted(self) -> Container[str]:
        """The digests of tokens that the Hub accepted recently and has not refused since."""
        ...

    async def resolve(
        self, ref: ModelRef, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[ResolvedModel]: ...

    async def entitle(
        self, model: ResolvedModel, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[None]: ...
