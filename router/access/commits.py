"""Chooses the commit of a model that a caller gets for a name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from cachetools import LRUCache

from router.access.credentials import ChosenToken
from router.errors import AccessError
from router.hub.interfaces import Asker, CachingHub, HubAnswer
from router.models import ModelRef, ResolvedModel
from router.secrets import Token

_MAX_NAMES = 4096  # unpinned names with a remembered commit

# Returns the commits of a repository that have a running engine.
Running = Callable[[str], set[str]]


class Commits:
    """Keeps an unpinned name on its engine's commit while that engine runs and the caller is
    entitled to that commit."""

    def __init__(self, hub: CachingHub, running: Running) -> None:
        self._hub, self._running = hub, running
        # By repository: the model to which its unpinned name was last resolved. A commit that
        # only pinned requests named is never in here: otherwise the plain name could come to
        # mean the commit of a pull request.
        self._chosen: LRUCache[str, ResolvedModel] = LRUCache(_MAX_NAMES)

    async def entitle(
        self,
        ref: ModelRef,
        model: ResolvedModel,
        credential: Token | None,
        asker: Asker,
    ) -> tuple[ResolvedModel, HubAnswer[None]]:
        """Choose the commit for `ref`, and entitle the caller to it.

        `model` is what `ref` resolves to now. Returns the model at the chosen commit and the
        entitlement. Raises the Hub's refusal.
        """
        if ref.revision is not None:
            return model, await self._hub.entitle(model, credential, asker)
        chosen = self._chosen.get(model.repo_id)
        if chosen is not None and chosen.commit in self._running(model.repo_id):
            kept = replace(chosen, access=model.access)
            with suppress(AccessError):
                return kept, await self._hub.entitle(kept, credential, asker)
        entitlement = await self._hub.entitle(model, credential, asker)
        self._chosen[model.repo_id] = model
        return model, entitlement

    async def ask(
        self, ref: ModelRef, choice: ChosenToken, asker: Asker
    ) -> HubAnswer[ResolvedModel]:
        """Resolve `ref` at the Hub, then `entitle`. The answer holds while both answers do."""
        resolution = await self._hub.resolve(ref, choice.token, asker)
        model, entitlement = await self.entitle(ref, resolution.value, choice.token, asker)
        return HubAnswer(model, min(resolution.until, entitlement.until))

    def keeps(self, model: ResolvedModel, newest: str) -> bool:
        """Whether the unpinned name still means this commit, if the Hub has `newest`."""
        chosen = self._chosen.get(model.repo_id)
        if chosen is None or chosen.commit != model.commit:
            return False
        return model.commit == newest or model.commit in self._running(model.repo_id)
