"""What the router asks of the Hugging Face Hub."""

from __future__ import annotations

from typing import Protocol

from router.models import ModelRef, ResolvedModel
from router.secrets import Token


class Hub(Protocol):
    """Who may use what. `None` asks anonymously."""

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        """Find the canonical id and the commit. Raises `AccessError`, `HubUnavailable`."""
        ...

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        """Return where this credential may read the files of this commit.

        Raises `AccessError` where it may not, `HubUnavailable` where nobody could say.
        """
        ...
