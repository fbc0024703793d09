"""The possible outcomes of a request."""

from __future__ import annotations

from functools import cache

from router.errors import RouterError


class Outcome:
    """The outcome of a request. Any other outcome is the code of the caller's error."""

    OK = "ok"
    CALLER_LEFT = "caller_left"
    NOT_READ = "not_read"  # the caller did not read its answer
    ENGINE_DIED = "engine_died"  # before or during the answer
    ERROR_EVENT = "error_event"  # the engine's own, in a stream that went on to its end
    BROKE_OFF = "broke_off"  # during the answer; `error` says why
    SHUT_DOWN = "shut_down"  # the worker was shutting down
    ENGINE = "engine_error"  # the engine's own error


def known_code(code: str) -> str:
    """The code of an error for a record. An engine's own code can be any text."""
    return code if code in _codes() else Outcome.ENGINE


@cache
def _codes() -> frozenset[str]:
    """The codes of all errors of the router."""
    kinds, codes = [RouterError], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        codes.add(getattr(kind, "code", ""))
    return frozenset(codes - {""})
