"""SGLang's refusals on its OpenAI routes."""

from __future__ import annotations


def flat(status: int, message: str) -> dict[str, object]:
    """SGLang's own error on the OpenAI routes. It has no envelope."""
    kind = "BadRequestError" if status < 500 else "InternalServerError"
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


def invalid(fault: str, path: str) -> dict[str, object]:
    """FastAPI's refusal of a bad body: several lines, one of them with a file name of
    SGLang's."""
    message = f"1 validation error:\n  {{'type': {fault!r}, 'loc': ('body',)}}\n\n"
    message += f'  File "/opt/sglang/http_server.py", line 1860, in handler\n    POST {path}'
    return flat(400, message) | {"type": "Bad Request"}
