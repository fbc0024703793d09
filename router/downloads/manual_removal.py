"""Removes a snapshot that an operator names, while workers may run on the same disk."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import scan_cache_dir

from router.downloads.eviction import JUST_USED
from router.downloads.inventory import KeptSnapshot, Sealed
from router.downloads.last_used import ALL, PRIVATE, PUBLIC, UNFINISHED, LastUsed
from router.downloads.listing import inside
from router.downloads.snapshots import Snapshots
from router.downloads.volume_lock import DEAD_AFTER_POLLS, LockContender, VolumeLock

_POLL = 1.0  # seconds between two polls of another worker's lock
_POLLS = DEAD_AFTER_POLLS + 5  # enough to find out that the holder is dead


class RemovalRefused(Exception):
    """The snapshot stays. The message says why, and what to do."""


def remove_kept(
    one: KeptSnapshot,
    caches: Iterable[Path],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove a snapshot, and its blobs that no other commit uses.

    `caches` are all that the worker uses, because one may link to files of another. Raises
    `RemovalRefused`, `OSError`.
    """
    used = LastUsed(one.cache, ALL)
    if used.path(one.repo_id, one.commit).exists() and one.idle < JUST_USED:
        raise RemovalRefused(
            f"a worker has used it within the last {JUST_USED / 60:.0f} minutes: stop that "
            "worker, or wait"
        )
    for cache in _linking(one, caches):
        raise RemovalRefused(f"{cache} links to its files: remove it there first")
    lock = _lock(one, sleep)
    try:
        gone = _remove(one, lambda: used.seconds_ago(one.repo_id, one.commit) < JUST_USED)
    finally:
        lock.release()
    if not gone:
        raise RemovalRefused("a worker has begun to use it")
    for folder in (ALL, PRIVATE, PUBLIC, UNFINISHED):
        LastUsed(one.cache, folder).forget(one.repo_id, one.commit)
    _unlink_plain_names(one)


def _unlink_plain_names(one: KeptSnapshot) -> None:
    """Remove the links with plain names that `prefetch` has made."""
    for name in ("", *(f"@{name}" for name in (one.commit, *one.names))):
        link = one.cache / f"{one.repo_id}{name}"
        if link.is_symlink() and not link.exists():
            link.unlink()


def _remove(one: KeptSnapshot, used_meanwhile: Callable[[], bool]) -> bool:
    if one.sealed is not Sealed.FOREIGN:
        known = LastUsed(one.cache, ALL).path(one.repo_id, one.commit).exists()
        return Snapshots(one.cache).remove(
            one.repo_id, one.commit, unless=lambda: known and used_meanwhile()
        )
    # Use the Hub's own code, because its client may share blobs between repositories. It picks
    # by commit alone, and a renamed repository has the same commits under both names.
    found, folder = scan_cache_dir(one.cache), Snapshots(one.cache).repo(one.repo_id).name
    own = frozenset(repo for repo in found.repos if repo.repo_path.name == folder)
    replace(found, repos=own).delete_revisions(one.commit).execute()
    if one.path.exists():
        raise RemovalRefused("it could not be removed: see who owns its files")
    return True


def _lock(one: KeptSnapshot, sleep: Callable[[float], None]) -> VolumeLock:
    folder = Snapshots(one.cache).lock_folder(one.repo_id)
    contender = LockContender(folder, secrets.token_hex(16))
    for _ in range(_POLLS):
        if (lock := contender.poll()) is not None:
            return lock
        sleep(_POLL)
    raise RemovalRefused("a worker downloads or removes files of this repository: try later")


def _linking(one: KeptSnapshot, caches: Iterable[Path]) -> Iterator[Path]:
    """Other caches with links into this snapshot's files."""
    files = {file.resolve() for file in one.files}
    name = Snapshots(one.cache).repo(one.repo_id).name.casefold()
    for cache in caches:
        if cache == one.cache:
            continue
        blobs = (
            blob
            for folder in inside(cache)
            if folder.name.casefold() == name
            for blob in inside(folder / "blobs")
        )
        if any(blob.is_symlink() and blob.resolve() in files for blob in blobs):
            yield cache
