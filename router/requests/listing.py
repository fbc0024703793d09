"""The model list for a caller: the operator's models, and loaded ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from router.access.authorize import Admission
from router.config.catalog import Catalog, OperatorModel
from router.errors import InvalidModelId, ModelNotFound
from router.models import EngineSpec, ResolvedModel
from router.pool.status import Known
from router.requests.call import caller_token
from router.requests.model_list import ModelCard, Status
from router.scheduler.lifecycle import State

_LOADING = (State.FETCHING, State.STARTING, State.WAKING)
_AT_ONCE = 256  # cards that are made before other tasks get a turn
_SLEEPING = (State.FALLING_ASLEEP, State.ASLEEP)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with an engine that answers. `context_length` is in tokens; None: unknown."""

    spec: EngineSpec
    context_length: int | None = None


class ModelListing:
    """Creates the cards. Each call gets the loaded models, of this worker or of a whole fleet.

    `known` returns the operator's models that have been requested here. Other models are listed
    only while they are loaded.
    """

    def __init__(
        self,
        catalog: Catalog,
        admission: Admission,
        known: Callable[[], Iterable[Known]] = tuple,
    ) -> None:
        self._catalog, self._admission, self._known = catalog, admission, known

    async def all(
        self, loaded: Sequence[LoadedModel], hf_token: str | None, caller: str = ""
    ) -> Sequence[ModelCard]:
        """The operator's models, and the loaded ones that this caller may use."""
        token = caller_token(hf_token, None)
        own = [one for one in self._catalog.models if self._admission.permits(one, caller)]
        up, seen, listed = self._up(loaded), self._seen(), list[ModelCard]()
        for model in own:
            listed.append(_operators_card(model, up, seen))
            if not len(listed) % _AT_ONCE:
                await asyncio.sleep(0)
        known = {card.id for card in listed}
        others = [one.spec.model for one in loaded if not one.spec.listed]
        entitled = await asyncio.gather(
            *(self._admission.entitled(model, token, caller) for model in others)
        )
        may = [model for model, yes in zip(others, entitled, strict=True) if yes]
        cards = [_callers_card(model.repo_id, model, loaded) for model in may]
        return [*listed, *(card for card in dict.fromkeys(cards) if card.id not in known)]

    async def one(
        self,
        name: str,
        loaded: Sequence[LoadedModel],
        hf_token: str | None,
        caller: str = "",
    ) -> ModelCard:
        """One model, under the requested name. Raises the same errors as a request for it."""
        token = caller_token(hf_token, None)
        try:
            admitted = await self._admission.admit(name, token, caller)
        except InvalidModelId as error:  # OpenAI's clients expect a 404 here
            raise ModelNotFound(error.message) from None
        if admitted.operator is not None:
            card = _operators_card(admitted.operator, self._up(loaded), self._seen())
            return replace(card, id=name, created=admitted.model.created)
        return _callers_card(name, admitted.model, loaded)

    def _up(self, loaded: Iterable[LoadedModel]) -> Mapping[str, LoadedModel]:
        """The operator's loaded models; for each entry, the first one."""
        found: dict[str, LoadedModel] = {}
        for one in loaded:
            if one.spec.listed and (entry := self._catalog.entry_of(one.spec)):
                found.setdefault(entry.name, one)
        return found

    def _seen(self) -> Mapping[str, Sequence[Known]]:
        found: defaultdict[str, list[Known]] = defaultdict(list)
        for one in self._known():
            if entry := self._catalog.entry_of(one.spec):
                found[entry.name].append(one)
        return found


def _operators_card(
    model: OperatorModel,
    up: Mapping[str, LoadedModel],
    seen: Mapping[str, Sequence[Known]],
) -> ModelCard:
    """`up` and `seen`: the operator's models, by the names of their entries."""
    repo_id = model.ref.repo_id if model.ref else model.name
    owner = repo_id.partition("/")[0] if model.ref else "operator"
    card = _card(model.name, owner, repo_id, up.get(model.name))
    known = seen.get(model.name)
    if card.loaded or not known:
        return card
    created = max((one.spec.model.created for one in known), default=0)
    return replace(card, status=_status(known), created=created)


def _status(known: Sequence[Known]) -> Status:
    """The status of a model that is not loaded."""
    if any(one.wanted or one.state in _LOADING for one in known):
        return Status.LOADING
    sleeps = any(one.state in _SLEEPING for one in known)
    return Status.SLEEPING if sleeps else Status.UNLOADED


def _callers_card(name: str, model: ResolvedModel, loaded: Sequence[LoadedModel]) -> ModelCard:
    at = (model.repo_id, model.commit)
    same = (one for one in loaded if (one.spec.model.repo_id, one.spec.model.commit) == at)
    found = next((one for one in same if not one.spec.listed), None)
    owner = model.repo_id.partition("/")[0]
    return replace(_card(name, owner, model.repo_id, found), created=model.created)


def _card(name: str, owner: str, root: str, found: LoadedModel | None) -> ModelCard:
    """`found`: its engine; None: it is not loaded."""
    if found is None:
        return ModelCard(name, owner, loaded=False, root=root)
    return ModelCard(
        name,
        owner,
        loaded=True,
        root=root,
        created=found.spec.model.created,
        max_model_len=found.context_length,
        status=Status.LOADED,
    )
