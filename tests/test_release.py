"""A release is consistent before it is tagged."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

import router
from tests.import_graph import ROOT
from tests.release import notes, problems, sections

TODAY = date(2026, 12, 24)
DOCKERFILE = 'LABEL org.opencontainers.image.version="0.2.0" \\'
CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 - 2026-12-24

### Added

- Models are [shared](docs/sharing.md), see [the Hub](https://hub.example).

## 0.1.0 - 2026-11-28

The first release.
"""


def found(
    *, changelog: str = CHANGELOG, dockerfile: str = DOCKERFILE, tag: str = "v0.2.0"
) -> list[str]:
    return [*problems("0.2.0", changelog, dockerfile, tag, TODAY)]


def test_a_release_whose_parts_agree_has_no_problem() -> None:
    assert found() == []
    assert found(changelog=CHANGELOG.replace("## Unreleased\n\n", "")) == []


@pytest.mark.parametrize("tag", ["0.2.0", "v0.1.0", "v0.2.0-rc1", ""])
def test_a_tag_of_another_version_is_told(tag: str) -> None:
    (problem,) = found(tag=tag)
    assert "tag it v0.2.0" in problem


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("## 0.2.0 - 2026-12-24", "## 0.3.0 - 2026-12-24", "newest version is not 0.2.0"),
        ("## 0.2.0 - 2026-12-24", "## 0.2.0", "has no date, such as 2026-12-24"),
        ("2026-12-24", "December", "has no date"),
        ("2026-12-24", "2026-12-25", "of the future: 2026-12-25"),
        ("## Unreleased\n", "## Unreleased\n\n- A change.\n", "still has unreleased changes"),
    ],
)
def test_a_changelog_that_does_not_agree_is_told(old: str, new: str, told: str) -> None:
    (problem,) = found(changelog=CHANGELOG.replace(old, new))
    assert told in problem


def test_a_version_without_notes_is_told() -> None:
    (problem,) = found(changelog="## 0.2.0 - 2026-12-24\n\n## 0.1.0 - 2026-11-28\n\nFirst.\n")
    assert "says nothing of 0.2.0" in problem
    assert found(changelog="# Changelog\n") == ["the changelog's newest version is not 0.2.0"]


def test_an_image_of_another_version_is_told() -> None:
    assert found(dockerfile=DOCKERFILE.replace("0.2.0", "0.1.0")) == [
        "the Dockerfile's label is not 0.2.0"
    ]


def test_the_notes_are_the_versions_section_without_links_into_the_repository() -> None:
    assert notes(CHANGELOG, "0.2.0") == (
        "### Added\n\n- Models are shared, see [the Hub](https://hub.example)."
    )
    assert notes(CHANGELOG, "0.1.0") == "The first release."


def test_the_changelog_of_this_checkout_can_be_read() -> None:
    known = sections((ROOT / "CHANGELOG.md").read_text())
    assert router.__version__ in [one.title for one in known]
    assert all(one.text for one in known if one.title != "Unreleased")


@pytest.mark.process
def test_a_wrong_tag_prints_no_notes() -> None:
    command = [sys.executable, "-m", "tests.release", "v9.9.9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not ready: the tag is v9.9.9" in done.stderr
