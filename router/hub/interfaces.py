"""What the router needs of the Hugging Face Hub."""

from __future__ import annotations

from typing import Protocol

from router.models import ModelRef, ResolvedModel
from router.secrets import Token


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
