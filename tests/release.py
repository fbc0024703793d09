"""`make release-notes TAG=v0.1.0`: check that a release is consistent, and print its notes.

Nothing is tagged or published. RunPod's Hub builds a listing from each GitHub release.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import router
from tests.import_graph import ROOT

_HEADING = re.compile(r"^## (?P<title>.+?)(?: - (?P<date>\S+))?$", re.MULTILINE)
_RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)]+\)")


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the changelog. `date` is as written, or empty."""

    title: str
    date: str
    text: str


def sections(changelog: str) -> list[Section]:
    found = [*_HEADING.finditer(changelog)]
    ends = [*(heading.start() for heading in found), len(changelog)][1:]
    return [
        Section(one["title"], one["date"] or "", changelog[one.end() : end].strip())
        for one, end in zip(found, ends, strict=True)
    ]


def notes(changelog: str, version: str) -> str:
    """A version's section, for a page where links into the repository would be broken."""
    found = next((one for one in sections(changelog) if one.title == version), None)
    return _RELATIVE_LINK.sub(r"\1", found.text) if found is not None else ""


def problems(
    version: str, changelog: str, dockerfile: str, tag: str, today: date
) -> Iterator[str]:
    """Everything that prevents this release, each with its remedy."""
    if tag != f"v{version}":
        yield f"the tag is {tag}, but router/__init__.py has {version}: tag it v{version}"
    if f'image.version="{version}"' not in dockerfile:
        yield f"the Dockerfile's label is not {version}"
    known = sections(changelog)
    released = [one for one in known if one.title != "Unreleased"]
    if not released or released[0].title != version:
        yield f"the changelog's newest version is not {version}"
        return
    if not released[0].text:
        yield f"the changelog says nothing of {version}"
    if _day(released[0].date) is None:
        yield f"the changelog's {version} has no date, such as {today}"
    elif (_day(released[0].date) or today) > today:
        yield f"the changelog's {version} is of the future: {released[0].date}"
    if any(one.text for one in known if one.title == "Unreleased"):
        yield f"the changelog still has unreleased changes: give them a version after {version}"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def main(tag: str) -> int:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    version, today = router.__version__, datetime.now(UTC).date()
    found = [*problems(version, changelog, dockerfile, tag, today)]
    for problem in found:
        print(f"not ready: {problem}", file=sys.stderr)
    if not found:
        print(notes(changelog, version))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [f"v{router.__version__}"]))
