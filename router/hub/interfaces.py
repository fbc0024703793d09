"""What the router needs of the Hugging Face Hub."""

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
    """What the Hub said, and until when it holds, in seconds of the router's clock.

    The cache that gives an answer keeps it too, and can end it early: the answer then no
    longer holds for anybody. An answer that no cache keeps has ended from the start.
    """

    value: V
    until: float = -math.inf

    def end(self) -> None:
        self.until = -math.inf


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose account the Hub is asked, and how much that may use of what callers share."""

    caller: str = ""  # whose limits; "": all that have no name
    reserved: bool = False  # the operator named the model, or the caller waits for it already
    loaded: bool = False  # an engine runs it
    fresh: bool = False  # an answer that was cached is none


ANYBODY = Asker()


class Hub(Protocol):
    """Resolves names and checks access. A credential of None asks anonymously."""

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
    """A `Hub` that keeps its answers for a while.

    Raises what `Hub` raises, and `RateLimited` where `asker` has asked too much.
    """

    @property
    def accepted(self) -> Container[str]:
        """The digests of tokens that the Hub has accepted lately, and not refused since."""
        ...

    async def resolve(
        self, ref: ModelRef, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[ResolvedModel]: ...

    async def entitle(
        self, model: ResolvedModel, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[None]: ...
