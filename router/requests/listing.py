"""The models that a caller is shown: the operator's, and those that are loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from router.access.authorize import Admission
from router.config.catalog import Catalog, OperatorModel
from router.errors import InvalidModelId, ModelNotFound
from router.models import EngineSpec, ResolvedModel
from router.requests.model_list import ModelCard
from router.requests.routes import caller_token


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with an engine that answers. `context_length` is in tokens; None: unknown."""

    spec: EngineSpec
    context_length: int | None = None


class ModelListing:
    """Makes the cards. What is loaded is given to each call: here, or in a whole fleet."""

    def __init__(self, catalog: Catalog, admission: Admission) -> None:
        self._catalog, self._admission = catalog, admission

    async def all(
        self, loaded: Sequence[LoadedModel], hf_token: str | None, caller: str = ""
    ) -> Sequence[ModelCard]:
        """The operator's models, and the loaded ones that this caller may use."""
        token = caller_token(hf_token, None)
        own = [one for one in self._catalog.models if self._admission.permits(one, caller)]
        listed = [_operators_card(model, loaded) for model in own]
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
        """One model, under the name that was asked for; refused as a request for it is."""
        token = caller_token(hf_token, None)
        try:
            admitted = await self._admission.admit(name, token, caller)
        except InvalidModelId as error:  # OpenAI's clients expect a 404 here
            raise ModelNotFound(error.message) from None
        if admitted.operator is not None:
            return replace(_operators_card(admitted.operator, loaded), id=name)
        return _callers_card(name, admitted.model, loaded)


def _operators_card(model: OperatorModel, loaded: Sequence[LoadedModel]) -> ModelCard:
    repo_id = model.ref.repo_id if model.ref else model.name
    own = (one for one in loaded if one.spec.listed and one.spec.model.repo_id == repo_id)
    owner = repo_id.partition("/")[0] if model.ref else "operator"
    return _card(model.name, owner, repo_id, next(own, None))


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
    )
