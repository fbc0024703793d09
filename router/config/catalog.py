"""The operator's models, the default one and those in the models file, by all their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from router.config.errors import MistakesSoFar, SettingsError, SettingsMistakes
from router.config.settings import Settings
from router.errors import InvalidModelId
from router.models import (
    DEFAULT_REVISION,
    Access,
    EngineSpec,
    ModelGroup,
    ModelRef,
    ResolvedModel,
    Task,
    trusts,
)

# The commit of a directory, which has no real one. No Hub commit looks like this.
LOCAL_COMMIT = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorModel:
    """A model that the operator named. The entry applies only to the revision in `source`."""

    source: ModelRef | Path
    aliases: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    task: Task | None = None  # None: from the repository
    pinned: bool = False
    preload: bool = False
    idle_ttl: float | None = None  # seconds; None: never expires
    memory: int | None = None  # bytes
    token_env: str | None = None  # the variable that holds this model's own Hub token
    trust_remote_code: bool = False
    group: ModelGroup | None = None
    max_concurrency: int | None = None  # requests in flight; None: MAX_CONCURRENCY
    max_queue: int | None = None  # requests that may wait for it; None: MAX_QUEUE
    # File, line and entry, for errors. It makes no difference to an engine.
    where: str = field(default="MODEL_NAME", compare=False)

    @property
    def name(self) -> str:
        """The first name, as `/v1/models` shows it. Never a path."""
        if self.aliases:
            return self.aliases[0]
        return self.source.name if isinstance(self.source, Path) else str(self.source)

    @property
    def ref(self) -> ModelRef | None:
        """The reference at the Hub; None for a local directory."""
        return self.source if isinstance(self.source, ModelRef) else None

    def local(self) -> ResolvedModel | None:
        """The directory as a resolved model, without asking the Hub; None for a Hub model."""
        if isinstance(self.source, ModelRef):
            return None
        task = self.task or Task.GENERATE
        return ResolvedModel(self.name, LOCAL_COMMIT, task, Access.LOCAL, self.source)


class Catalog:
    """Finds an operator's model by name. Raises `SettingsError` if two share a name."""

    def __init__(
        self, models: Iterable[OperatorModel], default: OperatorModel | None = None
    ) -> None:
        self.models = tuple(models)
        self.default = default
        self._aliases: dict[str, OperatorModel] = {}
        self._repos: dict[str, dict[str, OperatorModel]] = {}
        mistakes = MistakesSoFar()
        for model in self.models:
            with mistakes.collecting():
                self._claim_names(model)
        mistakes.raise_any()

    def _claim_names(self, model: OperatorModel) -> None:
        if model.ref is not None:
            revisions = self._repos.setdefault(_folded(model.ref.repo_id), {})
            _claim(revisions, model.ref.revision or DEFAULT_REVISION, model, str(model.ref))
        for alias in model.aliases or (model.name,):
            _claim(self._aliases, alias, model, alias)

    def become(self, other: Catalog) -> None:
        """Take over another catalog's models, so that all users of this one see them."""
        self.models, self.default = other.models, other.default
        self._aliases, self._repos = other._aliases, other._repos

    def judged(self, judge: Callable[[Path], Task]) -> Catalog:
        """A catalog in which each directory without a task has the one that `judge` returns."""
        tasks = {
            model: judge(model.source)
            for model in self.models
            if model.task is None and isinstance(model.source, Path)
        }
        known = {model: replace(model, task=task) for model, task in tasks.items()}
        default = None if self.default is None else known.get(self.default, self.default)
        return Catalog((known.get(model, model) for model in self.models), default)

    def lookup(self, name: str) -> OperatorModel | None:
        """Find a model by the name in a request, without asking the Hub.

        Aliases come first and must match exactly. Then a repository id matches in any letter
        case, with the configured revision or without one.
        """
        repo_id, at, revision = name.partition("@")
        return self._aliases.get(name) or self._by_id(repo_id, revision if at else None)

    def match(self, ref: ModelRef) -> OperatorModel | None:
        """Find a model by the Hub's canonical id and the requested revision, without aliases.

        For a request that used a repository's former name, after its resolution.
        """
        return self._by_id(ref.repo_id, ref.revision)

    def entry_of(self, spec: EngineSpec) -> OperatorModel | None:
        """Find the entry for an engine's model; None if it is gone."""
        model = spec.model
        if model.path is not None:
            return self.lookup(model.repo_id)
        refs = (ModelRef(model.repo_id, one) for one in (model.branch, model.commit, None))
        return next(filter(None, map(self.match, refs)), None)

    def _by_id(self, repo_id: str, revision: str | None) -> OperatorModel | None:
        revisions = self._repos.get(_folded(repo_id), {})
        if revision is not None:
            return revisions.get(revision)
        # Without a revision: the entry for the default revision, else the first entry.
        return revisions.get(DEFAULT_REVISION) or next(iter(revisions.values()), None)


def _folded(repo_id: str) -> str:
    # Fold only ASCII: KELVIN SIGN lower-cases to a plain k.
    return repo_id.lower() if repo_id.isascii() else repo_id


def _claim(names: dict[str, OperatorModel], name: str, model: OperatorModel, said: str) -> None:
    if (first := names.setdefault(name, model)) is not model:
        problem = f"the name {said} is already that of {first.where}"
        raise SettingsMistakes([f"{model.where}: {problem}"])


def with_default(settings: Settings, listed: Iterable[OperatorModel]) -> Catalog:
    """The models file's entries, and the model in MODEL_NAME.

    If MODEL_NAME names an entry (by alias, id or path), that entry is the default. Otherwise
    it becomes the first model in the list. Raises `SettingsError`.
    """
    catalog = Catalog(listed)
    name = settings.model_name
    if name is None:
        return catalog
    default = _named_by(name, settings.model_revision, catalog)
    known = default is not None
    if default is None:
        source = as_source("MODEL_NAME", name, settings.model_revision)
        default = OperatorModel(source=source, idle_ttl=settings.model_idle_ttl)
    further = tuple(n for n in settings.served_model_names if n not in default.aliases)
    chosen = replace(default, aliases=default.aliases + further, preload=True)
    if known:
        models = [chosen if model is default else model for model in catalog.models]
    else:
        models = [chosen, *catalog.models]
    return Catalog(models, chosen)


def _named_by(name: str, revision: str | None, catalog: Catalog) -> OperatorModel | None:
    if name.startswith("/"):
        return next((m for m in catalog.models if m.source == Path(name)), None)
    if revision is None or "@" in name:
        return catalog.lookup(name)
    return catalog.lookup(f"{name}@{revision}")


def as_source(key: str, text: str, revision: str | None) -> ModelRef | Path:
    """Read `org/name[@revision]` or an absolute path. Raises `SettingsError` for `key`."""
    if text.startswith("/"):
        return Path(text)
    try:
        ref = ModelRef.parse(text)
        if ref.revision is None and revision is not None:
            ref = ModelRef.parse(f"{text}@{revision}")
    except InvalidModelId as error:
        allowed = f"org/name, org/name@revision or an absolute path. {error.message}"
        raise SettingsError(key, text, allowed) from None
    return ref


def engine_spec(
    model: ResolvedModel,
    operator: OperatorModel | None,
    settings: Settings,
    flags: tuple[str, ...] = (),
) -> EngineSpec:
    """How to start the engine for `model`. `flags` are those of every engine.

    A model that the operator did not name never runs its own code, even if `flags` allow it:
    the operator wrote them with the named models in mind.
    """
    if operator is None:
        return EngineSpec(
            model,
            flags=(*(f for f in flags if not trusts(f)), *_isolation(model.task, settings)),
            idle_ttl=_idle_ttl(model, settings),
        )
    task = operator.task or model.task
    trust = ("--trust-remote-code",) if operator.trust_remote_code else ()
    spec = EngineSpec(
        replace(model, task=task),
        flags=(*flags, *operator.flags, *trust, *_isolation(task, settings)),
        memory=operator.memory,
        hf_token=(
            settings.engine_hf_token
            and settings.hf_token is not None
            # A model with its own token must not get the worker's.
            and operator.token_env is None
            and model.access in {Access.GATED, Access.PRIVATE}
        ),
        listed=True,
    )
    return spec.ruled_as(operator)


def unruled(operator: OperatorModel) -> OperatorModel:
    """The entry without its rules: the part that an engine's start depends on."""
    return replace(
        operator,
        pinned=False,
        idle_ttl=None,
        group=None,
        max_concurrency=None,
        max_queue=None,
    )


def _isolation(task: Task, settings: Settings) -> tuple[str, ...]:
    """Flags for models that embed or classify: for them, SGLang takes no cache salt."""
    strict = settings.strict_cache_isolation and task is not Task.GENERATE
    return ("--disable-radix-cache",) if strict else ()


def _idle_ttl(model: ResolvedModel, settings: Settings) -> float | None:
    """Idle seconds until the engine of a caller's model expires; None: never."""
    limits = [settings.model_idle_ttl]
    if model.access is Access.PRIVATE:
        limits.append(settings.private_idle_ttl)
    return min((limit for limit in limits if limit is not None), default=None)
