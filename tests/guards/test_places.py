from __future__ import annotations

from pathlib import Path

import pytest

from tests.guards import mutations
from tests.guards.mutations import MutationFailed
from tests.guards.places import Place


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "door.py").write_text(
        "class Door:\n"
        "    def enter(self, caller):\n"
        "        def ask(name):\n"
        "            return name or caller\n"
        "        return ask(None)\n"
    )
    return tmp_path


def test_a_function_in_a_method_is_found_by_its_qualified_name(sources: Path) -> None:
    place = Place.of("router.door:Door.enter.ask")
    assert "return name\n" in place.mutant(sources, mutations.swap("_1 or _", "_1"))


def test_a_reformatted_and_commented_function_is_still_found(sources: Path) -> None:
    file = sources / "router" / "door.py"
    file.write_text(file.read_text().replace("name or", "(  # why\n name\n or") + "\n")
    file.write_text(
        file.read_text().replace("caller\n        return", "caller)\n        return")
    )
    place = Place.of("router.door:Door.enter.ask")
    assert "return name\n" in place.mutant(sources, mutations.swap("_1 or _", "_1"))


@pytest.mark.parametrize("place", ["router.gate:enter", "router.door:Gate.enter"])
def test_the_message_tells_where_a_function_has_moved_to(sources: Path, place: str) -> None:
    with pytest.raises(MutationFailed, match=r"Has it become router\.door:Door\.enter\?"):
        Place.of(place).mutant(sources, mutations.body("pass"))


def test_a_mutation_that_changes_nothing_is_refused(sources: Path) -> None:
    with pytest.raises(MutationFailed, match="changes nothing"):
        Place.of("router.door:Door").mutant(sources, mutations.swap("caller", "caller"))


def test_a_mutation_with_a_name_that_is_not_there_is_refused(sources: Path) -> None:
    # Otherwise the test would fail with a NameError, and show nothing about the guard.
    with pytest.raises(MutationFailed, match=r"nothing is called \['visitor'\]"):
        Place.of("router.door:Door.enter").mutant(sources, mutations.swap("None", "visitor"))
