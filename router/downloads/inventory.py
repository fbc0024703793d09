"""What lies in the Hub caches of a worker, whichever program has put it there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from router.downloads.last_used import ALL, PRIVATE, PUBLIC, LastUsed
from router.downloads.snapshots import WITHDRAWN, Snapshots
from router.models import ModelRef

_SHORT = re.compile(r"[0-9a-f]{7,40}")  # of a commit, as tables show it


class Sealed(StrEnum):
    """What the router's manifest says of a snapshot."""

    WHOLE = "whole"
    INCOMPLETE = "incomplete"  # a file is missing, or has another size
    FOREIGN = "not sealed"  # no manifest: another program's, or an unfinished download


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    """One commit of a repository in one cache."""

    cache: Path
    repo_id: str
    commit: str
    names: tuple[str, ...]  # branches and tags that lead to it
    files: Mapping[Path, int]  # bytes of its own; commits of one repository share some
    idle: float  # seconds since its last use, or since it came
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
    """A cache that is missing or unreadable holds nothing."""
    for cache in caches:
        with suppress(OSError):
            for folder in sorted(cache.glob("models--*--*/snapshots/*")):
                parts = folder.parents[1].name.split("--")
                if len(parts) == 3 and folder.is_dir():  # no Hub name has two dashes in a row
                    yield _look_at(cache, f"{parts[1]}/{parts[2]}", folder.name)


def matching(kept: Iterable[KeptSnapshot], name: str) -> list[KeptSnapshot]:
    """Those that `org/name`, or `org/name@` and a branch, tag, commit or the beginning of one,
    means. Raises `InvalidModelId`."""
    ref = ModelRef.parse(name)
    return [one for one in kept if _is_meant(one, ref)]


def total(kept: Iterable[KeptSnapshot]) -> int:
    """Bytes. Files that several snapshots share count once."""
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
