from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from router.access.authorize import Admission
from router.config.catalog import Catalog, OperatorModel
from router.models import ModelRef
from router.pool.status import Known
from router.requests.listing import LoadedModel, ModelListing
from router.requests.model_list import ModelCard, Status
from router.scheduler.lifecycle import State
from tests.pool.fakes import spec
from tests.steps import lines_of


class AdmitsAll:
    def permits(self, _model: OperatorModel, _key: str) -> bool:
        return True


def listing(models: int) -> ModelListing:
    """A listing in which each of the operator's models was requested."""
    names = [f"many/m{number}" for number in range(models)]
    asked = spec(listed=True)
    known = [
        Known(
            replace(asked, model=replace(asked.model, repo_id=name)),
            State.FETCHING,
            wanted=True,
        )
        for name in names
    ]
    catalog = Catalog(OperatorModel(source=ModelRef(name)) for name in names)
    return ModelListing(catalog, cast("Admission", AdmitsAll()), lambda: known)


def test_a_model_of_a_long_list_costs_no_more_than_one_of_a_short_list() -> None:
    def cost(models: int) -> int:
        made = listing(models)
        return lines_of(lambda: asyncio.run(made.all((), None))) // models

    assert cost(640) <= cost(64)


def test_a_loaded_model_of_a_long_list_costs_no_more_than_one_of_a_short_list() -> None:
    def cost(models: int) -> int:
        made = listing(models)
        loaded = [LoadedModel(one.spec) for one in made._known()]
        return lines_of(lambda: asyncio.run(made.all(loaded, None))) // models

    assert cost(640) <= cost(64)


async def test_each_revision_of_a_repository_has_its_own_status() -> None:
    one, two, main = (
        OperatorModel(source=ModelRef("org/a", revision)) for revision in ("v1", "v2", None)
    )
    models = {
        branch: replace(spec().model, commit=branch * 20, branch=branch)
        for branch in ("v1", "v2")
    }
    up = LoadedModel(replace(spec(listed=True), model=models["v1"]), 4096)
    starts = replace(spec(listed=True), model=models["v2"])
    known = [
        Known(up.spec, State.READY, wanted=False),
        Known(starts, State.STARTING, wanted=True),
    ]
    made = ModelListing(
        Catalog((one, two, main)), cast("Admission", AdmitsAll()), lambda: known
    )
    cards = await made.all([up], None)
    assert [(card.id, card.status, card.max_model_len) for card in cards] == [
        ("org/a@v1", Status.LOADED, 4096),
        ("org/a@v2", Status.LOADING, None),
        ("org/a", Status.UNLOADED, None),
    ]


async def test_others_have_their_turn_while_a_long_list_is_made() -> None:
    async def made() -> list[ModelCard]:
        return [*await listing(1000).all((), None)]

    task, turns = asyncio.create_task(made()), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3
    assert {card.status for card in task.result()} == {Status.LOADING}
