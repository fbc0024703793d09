"""Sends each model to a worker of a RunPod load-balancing endpoint where it is warm.

    ENDPOINT=... RUNPOD_KEY=... python examples/fleet/by_model.py Qwen/Qwen3-0.6B org/other

Each of RunPod's answers names its worker. A request can name that worker as a wish. If that
worker is gone or full, another one answers, so a wish never makes a request fail.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from threading import Lock

from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

WORKER = "X-Runpod-Worker-Id"
_IN_VAIN = 8  # requests in a row without a wish and without a new worker, at most


class ByModel:
    """Remembers the worker of each model, and spreads models over the known workers.

    Make one for all threads of a process. It keeps two small maps.
    """

    def __init__(self, client: OpenAI) -> None:
        self._client = client
        self._homes: dict[str, str] = {}  # the worker of each model
        self._met: dict[str, None] = {}  # known workers, in the order of their first answers
        self._in_vain = 0  # requests without a wish since a new worker was met
        self._lock = Lock()  # for all three

    def chat(
        self, model: str, messages: list[ChatCompletionMessageParam], max_tokens: int = 64
    ) -> ChatCompletion:
        """Like `chat.completions.create`, on the model's worker if it can answer."""
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
        """The worker for the model's next request; empty if unknown."""
        with self._lock:
            return self._homes.get(model, "")

    def _learn(self, model: str, wish: str, worker: str) -> None:
        if not worker:
            return
        if wish and worker != wish:  # it is gone or full; the next request will tell
            self._met.pop(wish, None)
        if not wish:
            self._in_vain = self._in_vain + 1 if worker in self._met else 0
        self._met[worker] = None
        self._homes[model] = worker
        models = Counter(self._homes.values())
        fewest = min(self._met, key=lambda one: models[one])
        if models[worker] > models[fewest] + 1:  # one more start, then both are warm
            self._homes[model] = fewest

    def _wish(self, model: str) -> str:
        home = self._homes.get(model, "")
        alone = list(self._homes.values()).count(home) < 2
        if home and (alone or self._in_vain >= _IN_VAIN):
            return home
        return self._worker_without_models()  # there may be unknown workers

    def _worker_without_models(self) -> str:
        """A known worker without models; otherwise RunPod chooses, maybe an unknown worker."""
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
