"""The names that point to a snapshot, as `huggingface_hub` keeps them in `refs/`.

A file's path below `refs` is a branch or a tag, and its content is a commit. `hf cache prune`
removes every snapshot without such a file. So the router writes a file for the requested name.
While a snapshot is in use, it also keeps a file with a name of its own, because the branch may
move on, or a request may name a commit.

`hf cache` reports a repository as damaged if a file names a missing commit. So the files are
removed before their snapshot.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from router.downloads.listing import below, inside, repositories

IN_USE = "router/in-use"


class Refs:
    """The refs of one Hub cache directory. All methods but the iterators raise `OSError`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def note(self, repo_id: str, commit: str, revision: str | None) -> None:
        """Mark the snapshot as in use. `revision` is the branch or tag that led to it."""
        self._point(repo_id, f"{IN_USE}/{commit}", commit)  # first: the other one may fail
        try:
            if revision is not None and not revision.startswith(f"{IN_USE}/"):
                self._point(repo_id, revision, commit)
        finally:
            if not (self._repo(repo_id) / "snapshots" / commit).exists():
                self.forget(repo_id, commit)  # another worker has just removed it

    def commit(self, repo_id: str, revision: str) -> str | None:
        """The commit to which a branch or a tag last pointed; None if unknown."""
        return _read(self._folder(repo_id) / revision)

    def names(self, repo_id: str, commit: str) -> list[str]:
        """The branches and tags that last pointed to this commit."""
        refs = (ref.relative_to(self._folder(repo_id)).as_posix() for ref in self._all(repo_id))
        return sorted(
            name
            for name in refs
            if not name.startswith(f"{IN_USE}/") and self.commit(repo_id, name) == commit
        )

    def in_use(self) -> Iterator[tuple[str, str]]:
        """The repository and commit of each snapshot that is marked as in use."""
        for repo_id, repo in repositories(self._cache):
            for ref in inside(repo / "refs" / IN_USE):
                yield repo_id, ref.name

    def release(self, repo_id: str, commit: str) -> None:
        """Unmark the snapshot. A branch or a tag may still point to it."""
        self._remove(repo_id, self._folder(repo_id) / IN_USE / commit)

    def forget(self, repo_id: str, commit: str) -> None:
        """Remove all names of this snapshot."""
        for ref in self._all(repo_id):
            if _read(ref) == commit:
                self._remove(repo_id, ref)

    def _point(self, repo_id: str, revision: str, commit: str) -> None:
        ref = self._folder(repo_id) / revision
        if _read(ref) == commit:
            return
        # Not next to the ref, where a reader would take the draft for a ref.
        draft = self._repo(repo_id) / f".router-ref-{secrets.token_hex(8)}"
        try:
            draft.write_text(commit)
            ref.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(ref)
        finally:
            draft.unlink(missing_ok=True)

    def _remove(self, repo_id: str, ref: Path) -> None:
        ref.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            for folder in ref.relative_to(self._repo(repo_id)).parents[:-1]:
                (self._repo(repo_id) / folder).rmdir()

    def _all(self, repo_id: str) -> Iterator[Path]:
        return (ref for ref in below(self._folder(repo_id)) if not ref.is_dir())

    def _folder(self, repo_id: str) -> Path:
        return self._repo(repo_id) / "refs"

    def _repo(self, repo_id: str) -> Path:
        return self._cache / f"models--{repo_id.replace('/', '--')}"


def _read(ref: Path) -> str | None:
    try:
        return ref.read_text().strip()
    except (OSError, ValueError):
        return None
