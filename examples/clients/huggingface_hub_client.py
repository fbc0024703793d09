"""Chats and streams with the `InferenceClient` of huggingface_hub.

    MODEL=Qwen/Qwen3-0.6B python examples/clients/huggingface_hub_client.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import os

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

ROUTER = os.environ.get("ROUTER", "http://127.0.0.1:8000")
API_KEY = os.environ.get("API_KEY", "unused")
HF_TOKEN = os.environ.get("HF_TOKEN")
MODEL = os.environ.get("MODEL", "Qwen/Qwen3-0.6B")
QUESTION = [{"role": "user", "content": "Who are you?"}]


def main() -> None:
    """The client's other tasks use their own APIs, which the worker does not serve. For
    embeddings, use OpenAI's client."""
    client = InferenceClient(
        base_url=f"{ROUTER}/v1",
        api_key=API_KEY,  # otherwise it sends the token stored by `hf auth login`
        headers={"X-HF-Token": HF_TOKEN} if HF_TOKEN else None,
        timeout=600,  # seconds; a cold start downloads the model first
    )
    answer = client.chat_completion(QUESTION, model=MODEL)
    print(answer.choices[0].message.content)
    for chunk in client.chat_completion(QUESTION, model=MODEL, stream=True):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
    try:
        client.chat_completion(QUESTION, model="nobody/nothing")
    except HfHubHTTPError as error:
        print(error.response.status_code)


if __name__ == "__main__":
    main()
