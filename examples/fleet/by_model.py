"""Sends each model to the worker of a RunPod load-balancing endpoint that has it warm.

    ENDPOINT=... RUNPOD_KEY=... python examples/fleet/by_model.py Qwen/Qwen3-0.6B org/other

RunPod says with each answer which worker it is from, and takes that id as a wish: where that
worker is gone or full, any other answers. So nothing here can make a request fail.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from threading import Lock

from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

WORKER = "X-Runpod-Worker-Id"
_IN_VAIN = 8  # requests in a row without a wish that may meet no new worker


class ByModel:
    """Remembers the worker of each model, and spreads models over the workers that it met.

    Make one for all threads of a process: it keeps two small maps.
    """

    def __init__(self, client: OpenAI) -> None:
        self._client = client
        self._homes: dict[str, str] = {}  # the worker of each model
        self._met: dict[str, None] = {}  # workers, in the order of their first answers
        self._in_vain = 0  # requests without a wish since a new worker was met
        self._lock = Lock()  # of all three

    def chat(
        self, model: str, messages: list[ChatCompletionMessageParam], max_tokens: int = 64
    ) -> ChatCompletion:
        """As `chat.completions.create`, on the model's worker if that can answer."""
        with self._lock:
            wish = self._wish(model)
        answer = self._client.chat.completions.with_raw_response.create(
            model=model,
            messages=messages,
            max_tokens=max_tokens,
            extra_headers={WORKER: wish} if wish else None,
        )
        with self._lock:
            self._learn(model, wish, answer.headers.get(WORKER, ""))
        return answer.parse()

    def home(self, model: str) -> str:
        """The worker to which the model's next request goes; empty where none is known."""
        with self._lock:
            return self._homes.get(model, "")

    def _learn(self, model: str, wish: str, worker: str) -> None:
        if not worker:
            return
        if wish and worker != wish:  # gone, or full: another request will tell
            self._met.pop(wish, None)
        if not wish:
            self._in_vain = self._in_vain + 1 if worker in self._met else 0
        self._met[worker] = None
        self._homes[model] = worker
        models = Counter(self._homes.values())
        fewest = min(self._met, key=lambda one: models[one])
        if models[worker] > models[fewest] + 1:  # one more start, and then both are warm
            self._homes[model] = fewest

    def _wish(self, model: str) -> str:
        home = self._homes.get(model, "")
        alone = list(self._homes.values()).count(home) < 2
        if home and (alone or self._in_vain >= _IN_VAIN):
            return home
        return self._worker_without_models()  # there may be workers that were not met yet

    def _worker_without_models(self) -> str:
        """One that was met and has none; else RunPod chooses, and another may be met."""
        taken = set(self._homes.values())
        return next((one for one in self._met if one not in taken), "")


def main() -> None:
    """Ask each model twice: the second answer is from a warm worker."""
    endpoint, url, key = map(os.getenv, ("ENDPOINT", "ENDPOINT_URL", "RUNPOD_KEY"))
    if not (endpoint or url) or not key or not sys.argv[1:]:
        sys.exit("ENDPOINT=... RUNPOD_KEY=... python examples/fleet/by_model.py MODEL ...")
    url = url or f"https://{endpoint}.api.runpod.ai"
    client = OpenAI(base_url=f"{url}/v1", api_key=key, timeout=330)
    fleet = ByModel(client)
    for model in sys.argv[1:] * 2:
        answer = fleet.chat(model, [{"role": "user", "content": "Who are you?"}])
        print(f"{model}, next on {fleet.home(model)}: {answer.choices[0].message.content}")


if __name__ == "__main__":
    main()
