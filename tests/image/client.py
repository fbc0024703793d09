"""A caller of the worker in the container."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from urllib.error import HTTPError

_TIMEOUT = 120.0  # seconds


def wait_until_ready(url: str) -> None:
    """Poll `/ping` until the default model is ready. Raises `TimeoutError`."""
    deadline = time.monotonic() + _TIMEOUT
    while _get(f"{url}/ping") != 200:
        if time.monotonic() > deadline:
            raise TimeoutError("the default model did not become ready")
        time.sleep(0.2)


def chat(url: str, model: str | None, headers: Mapping[str, str] | None = None) -> str:
    """The model's answer, or the error's code."""
    body = {"messages": [{"role": "user", "content": "Who are you?"}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body if model is None else {"model": model, **body}).encode(),
        {"Content-Type": "application/json", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            text: str = json.load(answer)["choices"][0]["message"]["content"]
            return text
    except HTTPError as error:
        with error:
            code: str = json.load(error)["error"]["code"]
            return code


def _get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        with error:
            return error.code
