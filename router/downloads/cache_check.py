"""Finds out at the start whether the cache can be written, by writing to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from errno import EDQUOT, ENOSPC
from pathlib import Path

from router.downloads.snapshots import Snapshots
from router.models import ModelRef


def cache_problem(cache: Path) -> OSError | None:
    """Why nothing can be written below `cache`, which is created; None if all is well.

    By an attempt, and not by its permissions: those say nothing of a read-only mount, of a
    quota, or of what a file server grants to root.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache, prefix=".router-check-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error
    return None


def is_full(problem: OSError) -> bool:
    """Whether the models that are on the disk could make room."""
    return problem.errno in (ENOSPC, EDQUOT)


def snapshot_on_disk(ref: ModelRef, caches: Iterable[Path]) -> Path | None:
    """The directory of a complete snapshot, of the commit that the name last meant."""
    for snapshots in map(Snapshots, caches):
        commit = ref.revision if ref.branch is None else None
        if ref.branch is not None:
            commit = snapshots.refs.commit(ref.repo_id, ref.branch)
        if commit is not None and (found := snapshots.find(ref.repo_id, commit)):
            return found
    return None


def is_on_disk(ref: ModelRef, caches: Iterable[Path]) -> bool:
    """Whether a cache has a complete snapshot; of the commit, if `ref` means one."""
    return any(
        repo_id == ref.repo_id
        and (not ref.is_commit or commit == ref.revision)
        and Snapshots(cache).find(repo_id, commit) is not None
        for cache in caches
        for repo_id, commit in Snapshots(cache).all()
    )
