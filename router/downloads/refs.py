"""Which names point to a snapshot, as `huggingface_hub` keeps them in `refs/`.

A file's path below `refs` is a branch or a tag, and its content is a commit. `hf cache prune`
removes each snapshot to which no file points. So the router writes the name that was asked
for; and for as long as a snapshot is in use, it points to it by a name of its own, because the
branch may have moved on, or a commit may have been asked for.

`hf cache` takes a repository for damaged if a file names a commit that is not there: the files
go before their snapshot.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

IN_USE = "router/in-use"


class Refs:
    """The refs of one Hub cache directory. All methods but the iterators raise `OSError`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def note(self, repo_id: str, commit: str, revision: str | None) -> None:
        """The snapshot is in use, and `revision`, a branch or a tag, led to it."""
        if revision is not None and not revision.startswith(f"{IN_USE}/"):
            self._point(repo_id, revision, commit)
        self._point(repo_id, f"{IN_USE}/{commit}", commit)
        if not (self._repo(repo_id) / "snapshots" / commit).exists():
            self.forget(repo_id, commit)  # another worker has just removed it

    def commit(self, repo_id: str, revision: str) -> str | None:
        """The commit to which a branch or a tag last led; None if that is not known."""
        return _read(self._folder(repo_id) / revision)

    def names(self, repo_id: str, commit: str) -> list[str]:
        """The branches and tags that last led to this commit."""
        refs = (ref.relative_to(self._folder(repo_id)).as_posix() for ref in self._all(repo_id))
        return sorted(
            name
            for name in refs
            if not name.startswith(f"{IN_USE}/") and self.commit(repo_id, name) == commit
        )

    def in_use(self) -> Iterator[tuple[str, str]]:
        """The repository and commit of each snapshot that was noted and not released."""
        for ref in self._cache.glob(f"models--*--*/refs/{IN_USE}/*"):
            parts = ref.relative_to(self._cache).parts[0].split("--")
            if len(parts) == 3:  # no Hub name has two dashes in a row
                yield f"{parts[1]}/{parts[2]}", ref.name

    def release(self, repo_id: str, commit: str) -> None:
        """The snapshot is in use no more; a branch or a tag may still lead to it."""
        self._remove(repo_id, self._folder(repo_id) / IN_USE / commit)

    def forget(self, repo_id: str, commit: str) -> None:
        """Nothing leads to this snapshot any more."""
        for ref in self._all(repo_id):
            if _read(ref) == commit:
                self._remove(repo_id, ref)

    def _point(self, repo_id: str, revision: str, commit: str) -> None:
        ref = self._folder(repo_id) / revision
        if _read(ref) == commit:
            return
        # Not beside the ref, where a reader would take the draft for another one.
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
        for folder, _, names in os.walk(self._folder(repo_id)):  # tolerates deletions
            yield from (Path(folder, name) for name in names)

    def _folder(self, repo_id: str) -> Path:
        return self._repo(repo_id) / "refs"

    def _repo(self, repo_id: str) -> Path:
        return self._cache / f"models--{repo_id.replace('/', '--')}"


def _read(ref: Path) -> str | None:
    try:
        return ref.read_text().strip()
    except (OSError, ValueError):
        return None
