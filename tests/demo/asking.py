"""One question to the worker, by the official `openai` client."""

from __future__ import annotations

import time
from typing import Any, Self

import openai

from tests.demo.steps import Answer, Step

QUESTION = "Who are you?"
_LONGEST_ANSWER = 32  # tokens, of which the models need four
_PATIENCE = 180.0  # seconds; an engine's start takes 20 on two cores


class Asker:
    """Asks the worker at `url`, as long as its block lasts."""

    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="none is needed",
            max_retries=0,
            timeout=_PATIENCE,
            # A proxy of the environment is no way to loopback.
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, step: Step) -> Answer:
        """Raises `openai.APIConnectionError` where there is no answer at all."""
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
            "max_tokens": _LONGEST_ANSWER,
            "temperature": 0,
            "extra_headers": {"X-HF-Token": step.caller.token} if step.caller.token else {},
        }
        chat = self._client.chat.completions
        if not step.stream:
            return [chat.create(**request).choices[0].message.content or ""]
        # Over and over: SGLang sends together what it has at hand, perhaps all of a few tokens.
        endless = {"ignore_eos": True}
        with chat.create(**request, stream=True, extra_body=endless) as chunks:
            texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        return [text for text in texts if text]
