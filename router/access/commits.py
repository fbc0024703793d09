"""The commit of a model that a caller gets by its name."""

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

# Returns the commits of a repository that engines run now.
Running = Callable[[str], set[str]]


class Commits:
    """An unpinned name stays on the commit of its engine for as long as that engine runs and
    the caller is entitled to it."""

    def __init__(self, hub: CachingHub, running: Running) -> None:
        self._hub, self._running = hub, running
        # The commit to which an unpinned name was last resolved for an engine. A commit that
        # only pinned requests named is never in here: otherwise a pull request's commit
        # could become the meaning of the plain name.
        self._chosen: LRUCache[str, ResolvedModel] = LRUCache(_MAX_NAMES)

    async def entitle(
        self,
        ref: ModelRef,
        model: ResolvedModel,
        credential: Token | None,
        asker: Asker,
    ) -> tuple[ResolvedModel, HubAnswer[None]]:
        """Entitle the caller at the commit that `ref` stands for, and return that commit.

        `model` is what `ref` resolves to now. Raises what the Hub says against it.
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
        """As `entitle`, for what the Hub is asked about now."""
        resolution = await self._hub.resolve(ref, choice.token, asker)
        model, entitlement = await self.entitle(ref, resolution.value, choice.token, asker)
        return HubAnswer(model, min(resolution.until, entitlement.until))

    def keeps(self, model: ResolvedModel, newest: str) -> bool:
        """Whether an unpinned name, with `newest` on the Hub, still stands for this commit."""
        chosen = self._chosen.get(model.repo_id)
        if chosen is None or chosen.commit != model.commit:
            return False
        return model.commit == newest or model.commit in self._running(model.repo_id)
