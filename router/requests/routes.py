"""The routes, and the tasks that each of them serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.models import Task
from router.requests.dialects import ANTHROPIC, NATIVE, OPENAI, RESPONSES, Dialect

_GENERATE = frozenset({Task.GENERATE})
_JUDGES = frozenset({Task.CLASSIFY, Task.GENERATE})
_ANY = frozenset({Task.GENERATE, Task.EMBED, Task.CLASSIFY})


@dataclass(frozen=True, slots=True)
class Route:
    """A path of SGLang's that callers may POST to.

    A generation request kills an embedding engine, so `tasks` protects the engines.

    * `dialect`: the error format.
    * `streams`: it supports `"stream": true`.
    * `has_model`: SGLang reads `model` here.
    * `salted`: SGLang takes `cache_salt` here.
    * `shares`: SGLang takes no `cache_salt` here but uses the prefix cache of a generation
      engine, so callers could time each other's prompts.
    * `pairs`: it takes pairs of texts (True) or single texts (False); None: no check.
    """

    path: str
    tasks: frozenset[Task]
    dialect: Dialect = OPENAI
    streams: bool = False
    has_model: bool = True
    salted: bool = False
    shares: bool = False
    pairs: bool | None = None

    def shares_cache_of(self, task: Task) -> bool:
        """Whether callers share the prefix cache of an engine for `task` here. Engines that
        embed or classify have none where that matters (`catalog.engine_spec`)."""
        return self.shares and task is Task.GENERATE

    def __reduce__(self) -> tuple[Callable[[str], Route], tuple[str]]:
        """Unpickle to the route object of the receiving process."""
        return _route, (self.path,)


# `/v1/rerank` and `/v1/score` serve generation models (Qwen3-Reranker) and cross-encoders.
# SGLang looks at the model before it decides which kind of request to create, so both tasks are
# safe. A plain embedding model can do neither.
_RERANK = Route("/v1/rerank", _JUDGES, has_model=False, shares=True, pairs=True)
_TOKENIZE = Route("/v1/tokenize", _ANY)
_DETOKENIZE = Route("/v1/detokenize", _ANY)
# The names that clients of Jina, Cohere and SGLang use.
_ALIASES = {
    "/rerank": _RERANK,
    "/v2/rerank": _RERANK,
    "/tokenize": _TOKENIZE,
    "/detokenize": _DETOKENIZE,
}

ROUTES: Mapping[str, Route] = {
    route.path: route
    for route in (
        Route("/v1/chat/completions", _GENERATE, streams=True, salted=True),
        Route("/v1/completions", _GENERATE, streams=True, salted=True),
        Route("/v1/responses", _GENERATE, RESPONSES, streams=True, salted=True),
        Route("/v1/messages", _GENERATE, ANTHROPIC, streams=True, shares=True),
        Route("/v1/messages/count_tokens", _GENERATE, ANTHROPIC),
        Route("/generate", _GENERATE, NATIVE, streams=True, has_model=False, salted=True),
        Route("/v1/embeddings", frozenset({Task.EMBED})),
        Route("/v1/classify", frozenset({Task.CLASSIFY}), pairs=False),
        _RERANK,
        Route("/v1/score", _JUDGES, shares=True, pairs=False),
        _TOKENIZE,
        _DETOKENIZE,
    )
} | _ALIASES


def _route(path: str) -> Route:
    return ROUTES[path]


def dialect_of(path: str) -> Dialect:
    """The error format of a path, even if it is not a route."""
    route = ROUTES.get(path)
    return route.dialect if route is not None else OPENAI
