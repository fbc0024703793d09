"""Lists the snapshots in a worker's Hub caches, from any program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from router.downloads.last_used import ALL, PRIVATE, PUBLIC, LastUsed
from router.downloads.listing import inside, repositories
from router.downloads.snapshots import WITHDRAWN, Snapshots
from router.models import ModelRef

_SHORT = re.compile(r"[0-9a-f]{7,40}")  # an abbreviated commit, as in tables


class Sealed(StrEnum):
    """The state of a snapshot, by the router's manifest."""

    WHOLE = "whole"
    INCOMPLETE = "incomplete"  # a file is missing or has another size
    FOREIGN = "not sealed"  # no manifest: from another program, or an unfinished download


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    """One commit of a repository in one cache."""

    cache: Path
    repo_id: str
    commit: str
    names: tuple[str, ...]  # branches and tags that point to it
    files: Mapping[Path, int]  # bytes; commits of one repository share some files
    idle: float  # seconds since its last use, or since its download
    sealed: Sealed
    access: str  # "public" or "private" as a worker last saw it, else "unknown"

    @property
    def size(self) -> int:
        return sum(self.files.values())

    @property
    def path(self) -> Path:
        return Snapshots(self.cache).path(self.repo_id, self.commit)

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.commit[:12]}"


def inventory(caches: Iterable[Path]) -> Iterator[KeptSnapshot]:
    """All snapshots. A cache that is missing or unreadable counts as empty."""
    for cache in caches:
        with suppress(OSError):
            for repo_id, repo in repositories(cache):
                for folder in sorted(inside(repo / "snapshots")):
                    if folder.is_dir():
                        yield _look_at(cache, repo_id, folder.name)


def matching(kept: Iterable[KeptSnapshot], name: str) -> list[KeptSnapshot]:
    """The snapshots that `name` matches. Raises `InvalidModelId`.

    `name` is `org/name`, optionally with `@` and a branch, a tag, or a commit or its first
    characters.
    """
    ref = ModelRef.parse(name)
    return [one for one in kept if _is_meant(one, ref)]


def total(kept: Iterable[KeptSnapshot]) -> int:
    """Bytes in total. A file that several snapshots share counts once."""
    return sum({path: size for one in kept for path, size in one.files.items()}.values())


def _is_meant(one: KeptSnapshot, ref: ModelRef) -> bool:
    if one.repo_id.casefold() != ref.repo_id.casefold():
        return False
    if ref.revision is None or ref.revision in one.names:
        return True
    return bool(_SHORT.fullmatch(ref.revision)) and one.commit.startswith(ref.revision)


def _look_at(cache: Path, repo_id: str, commit: str) -> KeptSnapshot:
    snapshots = Snapshots(cache)
    manifest = snapshots.manifest(repo_id, commit)
    since = (manifest, manifest.with_suffix(WITHDRAWN), snapshots.path(repo_id, commit))
    return KeptSnapshot(
        cache,
        repo_id,
        commit,
        tuple(snapshots.refs.names(repo_id, commit)),
        snapshots.own_files(repo_id, commit),
        max(0.0, LastUsed(cache, ALL).seconds_ago(repo_id, commit, since)),
        _sealed(snapshots, repo_id, commit),
        _access(cache, repo_id, commit),
    )


def _sealed(snapshots: Snapshots, repo_id: str, commit: str) -> Sealed:
    if snapshots.find(repo_id, commit) is not None:
        return Sealed.WHOLE
    known = snapshots.manifest(repo_id, commit).exists()
    return Sealed.INCOMPLETE if known else Sealed.FOREIGN


def _access(cache: Path, repo_id: str, commit: str) -> str:
    if LastUsed(cache, PRIVATE).path(repo_id, commit).exists():
        return "private"
    return "public" if LastUsed(cache, PUBLIC).path(repo_id, commit).exists() else "unknown"
