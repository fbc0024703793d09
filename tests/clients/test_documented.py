"""docs/clients.md quotes the examples, and names the versions that the tests use."""

from __future__ import annotations

import json
import re

import pytest
from packaging.utils import canonicalize_name

from tests.test_distribution import DEVELOPMENT, pins
from tests.worker import ROOT

PAGE = (ROOT / "docs/clients.md").read_text()
EXAMPLES = ROOT / "examples/clients"
CHAPTERS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
SECTIONS = {chapter.partition("\n")[0]: chapter for chapter in CHAPTERS}
LOCK = json.loads((EXAMPLES / "package-lock.json").read_text())["packages"]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_shows_lines_of_its_example(title: str) -> None:
    section = SECTIONS[title]
    (name,) = re.findall(r"\]\(\.\./examples/clients/([\w.]+)\)", section)
    (block,) = re.findall(r"^```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    shown = lines((EXAMPLES / name).read_text())
    assert [line for line in lines(block) if line not in shown] == []


def test_every_example_has_a_section() -> None:
    files = {file.name for file in EXAMPLES.iterdir() if file.suffix in {".py", ".mjs", ".sh"}}
    assert {name for name in files - {"__init__.py"} if f"clients/{name})" not in PAGE} == set()


def test_the_page_names_the_versions_that_are_locked() -> None:
    rows = re.findall(r"^\| `([\w@/-]+)`([^|]*)\| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 8
    python = pins(DEVELOPMENT)
    for name, kind, version in rows:
        distribution = canonicalize_name(name)
        if "JavaScript" in kind or distribution not in python:
            locked = LOCK[f"node_modules/{name}"]["version"]
        else:
            locked = python[distribution]
        assert version == locked, name


def test_the_lock_of_the_clients_for_javascript_is_whole_and_names_no_registry() -> None:
    asked = json.loads((EXAMPLES / "package.json").read_text())["dependencies"]
    own, *packages = LOCK.values()
    assert own["dependencies"] == asked
    assert {name: LOCK[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert not any("resolved" in package for package in packages)
