"""Which snapshots are the operator's, and never leave the disk to make room."""

from __future__ import annotations

from collections.abc import Iterable

from router.models import EngineKey, ModelRef


class OperatorsSnapshots:
    """Knows them by the catalog, and by what was started for the operator's entries.

    Which commit a branch means is known once it was asked for. Until then all of that
    repository's commits stay.
    """

    def __init__(self, refs: Iterable[ModelRef]) -> None:
        self._refs = tuple(refs)
        self._seen: dict[str, set[str]] = {}  # commits, by repository in lower case

    def name(self, refs: Iterable[ModelRef]) -> None:
        """The catalog has these from now on. What was started for others is theirs no more."""
        self._refs = tuple(refs)
        named = {ref.repo_id.casefold() for ref in self._refs}
        self._seen = {repo: seen for repo, seen in self._seen.items() if repo in named}

    def note(self, keys: Iterable[EngineKey]) -> None:
        """Take in the engines that the pool knows now."""
        for key in keys:
            if key.listed:
                self._seen.setdefault(key.repo_id.casefold(), set()).add(key.commit)

    def include(self, repo_id: str, commit: str) -> bool:
        repo = repo_id.casefold()
        refs = [ref for ref in self._refs if ref.repo_id.casefold() == repo]
        seen = self._seen.get(repo, set())
        if commit in seen or any(ref.revision == commit for ref in refs):
            return True
        branches = sum(not ref.is_commit for ref in refs)
        return branches > len(seen)
