"""Sends a worker the requests that schemathesis makes from its document, and checks answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode, Response
from schemathesis.specs.openapi import checks

from router.openapi.contents import item
from router.requests.bounds import BOUNDS
from router.requests.fields import REFUSED
from router.requests.routes import ROUTES
from tests.openapi.reading import Json, request_of, validator
from tests.openapi.test_values import LENIENT, ONLY_IN_WORDS, refusal

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
_PATIENCE = 600.0  # seconds; an engine may have to start
_DOCUMENTED = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")
_FEW = 4  # tokens of an answer, so that it does not take long
_EXACT = 2**53  # larger whole numbers are not exact in every JSON reader


@dataclass
class Asker:
    """`models` names the model for each route that needs another one than `model`.

    `mode`: requests that the document allows, or requests that it forbids.
    """

    url: str
    model: str
    models: Mapping[str, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    def ask(self, path: str, mode: GenerationMode, examples: int) -> None:
        """Send this many requests, always the same ones. Raises `AssertionError` for a wrong
        answer."""
        document = requests.get(f"{self.url}/openapi.json", timeout=_PATIENCE).json()
        method = "POST" if path in ROUTES else "GET"
        operation = schemathesis.openapi.from_dict(document)[path][method]

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case: Case[Any]) -> None:
            case.headers.pop("X-HF-Token", None)
            if isinstance(case.body, dict):
                case.body = self._tamed(path, case.body)
            answer = case.call(base_url=self.url, timeout=_PATIENCE)
            self.statuses[answer.status_code] += 1
            case.validate_response(answer, checks=_DOCUMENTED)
            assert answer.status_code < 500, answer.text
            if path in ROUTES:
                _check_verdict(path, mode, answer)

        check()

    def example(self, path: str) -> requests.Response:
        """The worker's answer to the document's own example of a request."""
        model = self.models.get(path, self.model)
        body = {**request_of(path)["example"], "model": model}
        return requests.post(f"{self.url}{path}", json=body, timeout=_PATIENCE)

    def _tamed(self, path: str, body: Json) -> Json:
        """The same body, for an existing model and a short answer."""
        body = {**_whole(body), "model": self.models.get(path, self.model)}
        body.pop("hf_token", None)
        sampling = body.get("sampling_params")
        for options in [body, *(sampling if isinstance(sampling, list) else [sampling])]:
            if isinstance(options, dict):
                _shorten(options)
        if path == "/generate" and sampling is None:
            body["sampling_params"] = {"max_new_tokens": _FEW}
        if path in ("/v1/chat/completions", "/v1/completions"):
            body.setdefault("max_tokens", _FEW)
        if path == "/v1/responses":
            body.setdefault("max_output_tokens", _FEW)
        return body


def _shorten(options: Json) -> None:
    for name, most in (*((limit, _FEW) for limit in _LIMITS), ("n", 2)):
        if isinstance(options.get(name), int | float) and options[name] > most:
            options[name] = most


def _whole(value: Any) -> Any:
    """The same with `5` for `5.0`: a schema takes both for whole numbers, but token ids must be
    `5`."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    is_whole = isinstance(value, float) and abs(value) < _EXACT and value == int(value)
    return int(value) if is_whole else value


def _check_verdict(path: str, mode: GenerationMode, answer: Response) -> None:
    """A request that the document allows may only be refused by the engine, or for a reason the
    document states in words. A request that it forbids must be refused, if the router judges
    it."""
    route, sent = ROUTES[path], _sent(answer)
    if sent is None:
        assert answer.status_code == 400, answer.text
        return
    said = refusal(route, sent)
    if said:
        assert answer.status_code in (400, 401), answer.text
        assert said in answer.text or orjson.dumps(said)[1:-1] in answer.content
    if mode is POSITIVE:
        assert not said or any(words in said for words in ONLY_IN_WORDS), (said, sent)
    elif _blamed(path, sent):
        assert said, (_blamed(path, sent), sent)


def _sent(answer: Response) -> Json | None:
    """The body that the worker received; None if it is not a JSON object."""
    body = answer.request.body
    assert body is None or isinstance(body, str | bytes)
    try:
        content = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def _blamed(path: str, body: Json) -> set[object]:
    """The fields with values that the router must refuse."""
    route = ROUTES[path]
    ruled = {name for name in BOUNDS[route.path] if item(route.path, name) is None}
    judged = ruled | REFUSED.keys() | {"model", "stream"}
    errors = validator(request_of(path)["schema"], LENIENT).iter_errors(body)
    fields = {error.absolute_path[0] for error in errors if error.absolute_path}
    return {name for name in fields & judged if body[str(name)] not in (None, [])}
