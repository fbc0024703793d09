"""Checks at the start whether the cache can be written, by writing to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path

from router.downloads.snapshots import Snapshots
from router.models import ModelRef


def cache_problem(cache: Path) -> OSError | None:
    """Create `cache`, and write a file in it. Returns the error; None if all is well.

    Permissions are not enough: they don't show a read-only mount, a quota, or the rights that
    a file server gives to root.
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
    """Whether the disk is full, so that removing models would help."""
    return problem.errno in (ENOSPC, EDQUOT)


def snapshot_on_disk(ref: ModelRef, caches: Iterable[Path]) -> Path | None:
    """The directory of a complete snapshot, at the commit that the branch last pointed to."""
    for snapshots in map(Snapshots, caches):
        commit = ref.revision if ref.branch is None else None
        if ref.branch is not None:
            commit = snapshots.refs.commit(ref.repo_id, ref.branch)
        if commit is not None and (found := snapshots.find(ref.repo_id, commit)):
            return found
    return None


def is_on_disk(ref: ModelRef, caches: Iterable[Path]) -> bool:
    """Whether a cache has a complete snapshot, at `ref`'s commit if it has one."""
    return any(_has(Snapshots(cache), ref) for cache in caches)


def _has(snapshots: Snapshots, ref: ModelRef) -> bool:
    with suppress(OSError):  # the folder is closed to this user, or a name is too long
        return any(
            repo_id == ref.repo_id
            and (not ref.is_commit or commit == ref.revision)
            and snapshots.find(repo_id, commit) is not None
            for repo_id, commit in snapshots.all()
        )
    return False
