"""A Hub with scripted answers, for tests of the cache."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from router.errors import RouterError
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token

REF = ModelRef("org/model")  # means PUBLIC
PUBLIC = ResolvedModel("org/model", "a" * 40)
GATED = ResolvedModel("org/gated", "b" * 40, access=Access.GATED)


@dataclass
class ScriptedHub:
    """Gives scripted answers at the scripted time, and counts."""

    model: ResolvedModel = PUBLIC
    error: RouterError | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0

    def __post_init__(self) -> None:
        self.answering.set()

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        await self._answer("resolve", credential)
        return self.model

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        await self._answer("entitle", credential)

    async def _answer(self, what: str, credential: Token | None) -> None:
        self.asked.append((what, credential.digest if credential else None))
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
