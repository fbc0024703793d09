"""A single worker gains no dependency from the fleet. What it imports: `tests/test_cli.py`."""

from __future__ import annotations

import re
import tomllib

from tests.import_graph import ROOT


def test_ray_is_an_extra_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [one for one in project["dependencies"] if one.startswith("ray")]
    assert [one for one in project["optional-dependencies"]["ray"] if one.startswith("ray")]


def test_ray_is_in_no_lock_but_that_of_its_own_tests() -> None:
    locks = [*ROOT.glob("*requirements*.txt"), *ROOT.glob("tests/**/requirements.txt")]
    having = [one for one in locks if re.search(r"^ray==", one.read_text(), re.MULTILINE)]
    assert [one.parent.name for one in having] == ["e2e_ray"]


def test_the_image_does_not_install_it() -> None:
    assert "ray" not in (ROOT / "Dockerfile").read_text().split()
