from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import UnsupportedModel
from router.models import Task
from router.repository.adapters import adapter_refused
from router.repository.check_config import check_config
from router.repository.engine_flags import engine_flags
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.read_facts import read_adapter, read_facts
from router.repository.select_files import Selection
from router.repository.task import Signs, task_of, telling, unread
from tests.repository.layout import NAMES, Layout


def select(layout: Layout, snapshot: Path) -> tuple[list[RemoteFile], list[RemoteFile]]:
    """Choose the small files and the weights like a download."""
    selection = Selection(Listing.of(layout.listing()), layout.repo, layout.unsafe_weights)
    layout.write(snapshot, selection.index)
    small = selection.small()
    if selection.is_adapter_alone:
        raise adapter_refused(read_adapter(snapshot))
    selection.likely_weights()
    facts = read_facts(snapshot, selection.index)
    small += [file for file in selection.of_modules(facts) if file not in small]
    weights = selection.weights(facts)
    if selection.is_adapter(facts, weights):
        raise adapter_refused(read_adapter(snapshot))
    for file in snapshot.rglob("*.json"):
        name = str(file.relative_to(snapshot))
        if name not in {each.name for each in small}:
            file.unlink()  # it is not downloaded
    check_config(snapshot, sum(file.size for file in weights))
    return small, weights


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_is_read_as_its_family_needs(name: str, tmp_path: Path) -> None:
    layout = Layout.read(name)
    if refused := layout.entry.get("refused"):
        with pytest.raises(UnsupportedModel) as caught:
            select(layout, tmp_path)
        assert refused in str(caught.value)
        return
    small, weights = select(layout, tmp_path)
    assert {file.name for file in weights} == layout.sizes("weights").keys()
    assert {file.name for file in small} == layout.sizes("small").keys()
    assert sum(file.size for file in weights) == layout.entry["memory"]
    assert sum(file.size for file in small + weights) == layout.entry["bytes"]


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_serves_what_its_family_is_for(name: str) -> None:
    layout = Layout.read(name)
    assert layout.entry.get("task") == (None if "refused" in layout.entry else task(layout))


@pytest.mark.parametrize("name", [name for name in NAMES if "task" in Layout.read(name).entry])
def test_an_engine_gets_the_flags_that_its_family_needs(name: str) -> None:
    layout = Layout.read(name)
    config = layout.documents.get("config.json", {})
    flags = engine_flags(config, Task(layout.entry["task"]))
    assert [*flags.usual, *flags.needed] == layout.entry["flags"]


def task(layout: Layout) -> str:
    """The task, judged like a resolution: from the listing and the other files it reads."""
    documents = layout.documents
    named = documents.get("config.json", {}).get("architectures") or ()
    signs = Signs(
        tuple(named),
        telling(file.name for file in layout.listing()),
        name=layout.repo,
        purpose=layout.entry.get("purpose"),
    )
    while (name := unread(signs)) is not None:
        signs = replace(signs, contents={**signs.contents, name: documents.get(name)})
    return str(task_of(signs))


def test_there_are_layouts_of_many_families() -> None:
    assert len(NAMES) >= 45
