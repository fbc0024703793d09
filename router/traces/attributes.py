"""The attributes of spans, by OpenTelemetry's semantic conventions (1.45).

They contain nothing that callers send or get, except the request's id.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.requests.outcomes import Outcome
from router.requests.record import Record, Transport
from router.requests.recorder import NO_ROUTE

Attributes = Mapping[str, str | int | float | bool]

_NO_METHOD = "-"  # a record's method, if HTTP does not know it
# Other routes use their last path segment as the operation's name.
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/completions": "text_completion",
    "/generate": "text_completion",
    "/v1/embeddings": "embeddings",
}


def name(method: str, route: str) -> str:
    """The name of a request's span."""
    known = "HTTP" if method == _NO_METHOD else method
    return known if route == NO_ROUTE else f"{known} {route}"


def operation(route: str) -> str:
    return _OPERATIONS.get(route) or route.rpartition("/")[2]


def at_the_beginning(transport: Transport, method: str, route: str) -> Attributes:
    """The attributes that a sampler can use."""
    if transport is Transport.JOB:
        return {"faas.trigger": "pubsub"}
    known = "_OTHER" if method == _NO_METHOD else method
    found = {"http.request.method": known, "url.scheme": "http"}
    return found if route == NO_ROUTE else found | {"http.route": route, "url.path": route}


def of_request(record: Record) -> Attributes:
    found: dict[str, str | int | float | bool] = {"model_router.request.id": record.id}
    if record.transport is Transport.JOB:
        found["faas.invocation_id"] = record.id
        if record.route != NO_ROUTE:
            found["model_router.route"] = record.route
    elif record.status:
        found["http.response.status_code"] = record.status
    if record.caller:
        found["enduser.pseudo.id"] = record.caller
    if record.model:
        found["gen_ai.request.model"] = record.model
    if record.temperature:
        found["model_router.temperature"] = record.temperature
    return {**found, **of_failure(record)}


def of_call(record: Record) -> Attributes:
    """The attributes of a call to an engine."""
    return {
        "gen_ai.operation.name": operation(record.route),
        "gen_ai.provider.name": "sglang",
        "gen_ai.request.model": record.model,
        "gen_ai.request.stream": record.stream,
    }


def of_answer(record: Record, first: float | None) -> Attributes:
    """The attributes of an answered call. `first`: seconds from the call to the first bytes."""
    found: dict[str, str | int | float | bool] = {"gen_ai.response.model": record.model}
    if record.prompt_tokens is not None:
        found["gen_ai.usage.input_tokens"] = record.prompt_tokens
    if record.completion_tokens is not None:
        found["gen_ai.usage.output_tokens"] = record.completion_tokens
    if first is not None and record.stream:
        found["gen_ai.response.time_to_first_chunk"] = first
    return found


def of_failure(record: Record) -> dict[str, str]:
    """The error's type: the router's error code, or the outcome."""
    if record.outcome == Outcome.OK:
        return {}
    return {"error.type": record.error or record.outcome}


def is_servers_fault(record: Record) -> bool:
    """Whether a span counts as an error. A caller's mistake or disconnect does not."""
    if record.outcome in {Outcome.OK, Outcome.CALLER_LEFT, Outcome.NOT_READ}:
        return False
    return record.status >= 500 or not record.status
