"""Completes, streams and embeds with litellm's SDK.

    MODEL=Qwen/Qwen3-0.6B python examples/clients/litellm_client.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import os
from typing import Any

# Otherwise the import fetches a price list from the internet.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

MODEL = os.environ.get("MODEL", "Qwen/Qwen3-0.6B")
EMBEDDER = os.environ.get("EMBEDDER", "Qwen/Qwen3-Embedding-0.6B")
ROUTER = os.environ.get("ROUTER", "http://127.0.0.1:8000")
HF_TOKEN = os.environ.get("HF_TOKEN")
WORKER: dict[str, Any] = {
    "api_base": f"{ROUTER}/v1",
    "api_key": os.environ.get("API_KEY", "unused"),
    "extra_headers": {"X-HF-Token": HF_TOKEN} if HF_TOKEN else None,
    "timeout": 600,  # seconds; a cold start downloads the model first
}
QUESTION = [{"role": "user", "content": "Who are you?"}]


def main() -> None:
    """The prefix `openai/` is for litellm only: the worker never sees it."""
    answer = litellm.completion(model=f"openai/{MODEL}", messages=QUESTION, **WORKER)
    print(answer.choices[0].message.content)
    chunks = litellm.completion(
        model=f"openai/{MODEL}",
        messages=QUESTION,
        stream=True,
        stream_options={"include_usage": True},
        **WORKER,
    )
    tokens = 0
    for chunk in chunks:
        for choice in chunk.choices:  # the chunk with the usage has none
            print(choice.delta.content or "", end="", flush=True)
        if usage := getattr(chunk, "usage", None):
            tokens = usage.completion_tokens
    print(f" ({tokens} tokens)")
    vectors = litellm.embedding(
        model=f"openai/{EMBEDDER}", input=["one", "another"], encoding_format="float", **WORKER
    )
    print(len(vectors.data), "vectors")
    litellm.suppress_debug_info = True  # otherwise errors print an advertisement
    try:
        litellm.completion(model="openai/nobody/nothing", messages=QUESTION, **WORKER)
    except litellm.NotFoundError as error:
        print(error.status_code)


if __name__ == "__main__":
    main()
