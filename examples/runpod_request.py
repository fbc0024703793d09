"""Streams an answer from a RunPod queue endpoint with the `openai` client.

    ENDPOINT=... RUNPOD_KEY=... MODEL=Qwen/Qwen3-0.6B python examples/runpod_request.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import os

from openai import OpenAI

API = os.environ.get("RUNPOD_API", "https://api.runpod.ai/v2")


def main() -> None:
    """Print the answer as it arrives."""
    client = OpenAI(
        base_url=f"{API}/{os.environ['ENDPOINT']}/openai/v1",
        api_key=os.environ["RUNPOD_KEY"],
        timeout=600,  # seconds; a cold start downloads the model first
    )
    token = os.environ.get("HF_TOKEN")
    stream = client.chat.completions.create(
        model=os.environ.get("MODEL", "Qwen/Qwen3-0.6B"),
        messages=[{"role": "user", "content": "Who are you?"}],
        max_tokens=64,
        stream=True,
        # The worker removes the token before it sends the request to the engine.
        extra_body={"hf_token": token} if token else None,
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
