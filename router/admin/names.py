"""What the operator calls models, and which engines a name means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from router.config.catalog import Catalog, OperatorModel
from router.models import EngineKey, EngineSpec, ModelRef


def id_of(key: EngineKey) -> str:
    """Names an engine's model and commit, in states and in routes."""
    return f"{key.repo_id}@{key.commit}"


def entry_of(catalog: Catalog, spec: EngineSpec) -> OperatorModel | None:
    """The operator's entry for which an engine was started; None: there is none any more."""
    model = spec.model
    if model.path is not None:
        return catalog.lookup(model.repo_id)
    refs = (ModelRef(model.repo_id, one) for one in (model.branch, model.commit, None))
    return next(filter(None, map(catalog.match, refs)), None)


class Names:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def listed(self) -> list[dict[str, Any]]:
        """The operator's models, up or not."""
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
        """The names that the operator gave a model."""
        entry = self._entry(spec) if spec.listed else None
        return list(entry.aliases) if entry else []

    def repository(self, name: str) -> str:
        """What an alias, or `org/name` with a commit or without, is the name of."""
        repo_id = name.partition("@")[0]
        entry = self._catalog.lookup(name) or self._catalog.lookup(repo_id)
        return entry.ref.repo_id if entry is not None and entry.ref is not None else repo_id

    def _entry(self, spec: EngineSpec) -> OperatorModel | None:
        return entry_of(self._catalog, spec)

    def meant(self, name: str, specs: Iterable[EngineSpec]) -> list[EngineSpec]:
        """Those of `specs` that a name means: an alias, `org/name` for all its commits, or
        `org/name@` with a branch, a tag or a commit, which may be cut short."""
        entry = self._catalog.lookup(name)
        repo_id, _, revision = name.partition("@")
        return [
            spec
            for spec in specs
            if (entry is not None and spec.listed and self._entry(spec) is entry)
            or (spec.model.repo_id.lower() == repo_id.lower() and _fits(spec, revision))
        ]


_SHORTEST = 7  # characters of a commit that may stand for all of it


def _fits(spec: EngineSpec, revision: str) -> bool:
    model = spec.model
    if not revision or revision in (model.branch, model.commit):
        return True
    return len(revision) >= _SHORTEST and model.commit.startswith(revision)
