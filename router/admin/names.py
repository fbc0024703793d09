"""The operator's names for models, and the engines that a name matches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from router.config.catalog import Catalog, OperatorModel
from router.models import EngineKey, EngineSpec


def id_of(key: EngineKey) -> str:
    """The id of an engine's model and commit, in states and in routes."""
    return f"{key.repo_id}@{key.commit}"


class Names:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def listed(self) -> list[dict[str, Any]]:
        """The operator's models, with or without an engine."""
        return [
            {
                "name": one.name,
                "names": list(one.aliases),
                "model": str(one.ref) if one.ref else None,
                "pinned": one.pinned,
                "preload": one.preload,
                "group": one.group.name if one.group else None,
            }
            for one in self._catalog.models
        ]

    def of(self, spec: EngineSpec) -> list[str]:
        """The operator's names for an engine's model."""
        entry = self._entry(spec) if spec.listed else None
        return list(entry.aliases) if entry else []

    def repository(self, name: str) -> str:
        """The repository that a name means: an alias, `org/name`, or `org/name@commit`.

        A directory's is its first alias, as in `OperatorModel.local`.
        """
        repo_id = name.partition("@")[0]
        entry = self._catalog.lookup(name) or self._catalog.lookup(repo_id)
        if entry is None:
            return repo_id
        return entry.name if entry.ref is None else entry.ref.repo_id

    def _entry(self, spec: EngineSpec) -> OperatorModel | None:
        return self._catalog.entry_of(spec)

    def meant(self, name: str, specs: Iterable[EngineSpec]) -> list[EngineSpec]:
        """The `specs` that a name matches.

        A name is an alias, `org/name` for all commits, or `org/name@` with a branch, a tag, or
        a commit or its first characters.
        """
        entry = self._catalog.lookup(name)
        repo_id, _, revision = name.partition("@")
        return [
            spec
            for spec in specs
            if (entry is not None and spec.listed and self._entry(spec) is entry)
            or (spec.model.repo_id.lower() == repo_id.lower() and _fits(spec, revision))
        ]


_SHORTEST = 7  # characters of an abbreviated commit


def _fits(spec: EngineSpec, revision: str) -> bool:
    model = spec.model
    if not revision or revision in (model.branch, model.commit):
        return True
    return len(revision) >= _SHORTEST and model.commit.startswith(revision)
