"""Sends one question to the worker, with the official `openai` client."""

from __future__ import annotations

import time
from typing import Any, Self

import openai

from examples.demo.steps import Answer, Step

QUESTION = "Who are you?"
_MAX_TOKENS = 32  # a model's answer has four
_TIMEOUT = 180.0  # seconds; an engine takes 20 to start on two cores


class Client:
    """A caller of the worker at `url`. Stays open during a `with` block."""

    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="none is needed",
            max_retries=0,
            timeout=_TIMEOUT,
            # Ignore proxies in the environment: they can't reach loopback.
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, step: Step) -> Answer:
        """Send the step's request. Raises `openai.APIConnectionError` without an answer."""
        began = time.perf_counter()
        try:
            pieces = self._pieces(step)
        except openai.APIStatusError as error:
            seconds = time.perf_counter() - began
            return Answer(error.status_code, error.code, error.message, 0, seconds)
        seconds = time.perf_counter() - began
        return Answer(200, None, "".join(pieces), len(pieces), seconds)

    def _pieces(self, step: Step) -> list[str]:
        request: dict[str, Any] = {
            "model": step.model.repo_id,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": _MAX_TOKENS,
            "temperature": 0,
            "extra_headers": {"X-HF-Token": step.caller.token} if step.caller.token else {},
        }
        chat = self._client.chat.completions
        if not step.stream:
            return [chat.create(**request).choices[0].message.content or ""]
        # SGLang may send several tokens in one event. An endless answer needs several events.
        endless = {"ignore_eos": True}
        with chat.create(**request, stream=True, extra_body=endless) as chunks:
            texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        return [text for text in texts if text]
