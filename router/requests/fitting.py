"""Refuses requests that the model's engine would answer wrongly, or that would kill it."""

from __future__ import annotations

from router.errors import UnsupportedModel, WrongEndpoint
from router.models import EngineSpec, ResolvedModel, Task
from router.pool.interfaces import Engine
from router.requests.call import Call
from router.requests.routes import ROUTES, Route


def check_served(model: ResolvedModel) -> None:
    """Raises `UnsupportedModel` for a task that no route serves."""
    if model.task is Task.TRANSCRIBE:
        raise UnsupportedModel(
            f"{model.repo_id} only turns speech into text, and this worker has no "
            "/v1/audio/transcriptions. Use a model that takes audio in a chat."
        )


def check_fits(route: Route, spec: EngineSpec) -> None:
    """Check the route before anything is started. Raises `WrongEndpoint`."""
    model = spec.model
    if model.task not in route.tasks:
        raise WrongEndpoint(
            f"{model.repo_id} is a model for the task `{model.task}`, which {route.path} does "
            f"not serve. Use {_paths(model.task, pairs=model.reranks)}."
        )
    if model.task is Task.GENERATE and model.reranks is False and not spec.own_template:
        _check_pairs(route, model, scores_pairs=False)


def check_engine(call: Call, spec: EngineSpec, engine: Engine) -> None:
    """Check the call against the running engine, before it is sent. Raises `WrongEndpoint` or
    `InvalidRequest`."""
    _check_pairs(call.route, spec.model, scores_pairs=engine.scores_pairs)
    call.demands.check(engine.vocabulary)
    if not any(map(_truncates, spec.flags)):
        call.longest.check(engine.context_length)


def _check_pairs(route: Route, model: ResolvedModel, *, scores_pairs: bool | None) -> None:
    """Raises `WrongEndpoint` if a reranker would have to classify, or the reverse.

    `scores_pairs`: True if the model takes only pairs of texts, False if it takes only single
    texts; None: both.
    """
    if None in (route.pairs, scores_pairs) or route.pairs is scores_pairs:
        return
    if model.task is Task.GENERATE:
        raise WrongEndpoint(
            f"{model.repo_id} does not serve {route.path}: SGLang reranks with a generation "
            "model only if its chat template asks for yes or no, and this one's does not "
            f"(the operator can set another: --chat-template). Use "
            f"{_paths(Task.GENERATE, pairs=False)}."
        )
    raise WrongEndpoint(
        f"{model.repo_id} "
        + (
            "scores pairs of texts: use /v1/rerank."
            if scores_pairs
            else "classifies single texts: use /v1/classify or /v1/score."
        )
    )


def _truncates(flag: str) -> bool:
    """Whether the flag lets SGLang truncate prompts that are too long."""
    return flag.replace("_", "-").startswith("--allow-auto")


def _paths(task: Task, *, pairs: bool | None) -> str:
    """The paths that serve a model. `pairs`: whether it reranks; None: unknown."""
    fitting = (
        route.path
        for route in ROUTES.values()
        if task in route.tasks
        and not (task is Task.GENERATE and pairs is False and route.pairs)
    )
    return ", ".join(dict.fromkeys(fitting))
