"""Invokes, streams and embeds with langchain-openai.

    MODEL=Qwen/Qwen3-0.6B python examples/clients/langchain_client.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import os
from typing import Any

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

ROUTER = os.environ.get("ROUTER", "http://127.0.0.1:8000")
HF_TOKEN = os.environ.get("HF_TOKEN")
QUESTION = "Who are you?"
WORKER: dict[str, Any] = {
    "base_url": f"{ROUTER}/v1",
    "api_key": SecretStr(os.environ.get("API_KEY", "unused")),
    "default_headers": {"X-HF-Token": HF_TOKEN} if HF_TOKEN else None,
    "timeout": 600,  # seconds; a cold start downloads the model first
}


def main() -> None:
    """Run all of these."""
    model = ChatOpenAI(model=os.environ.get("MODEL", "Qwen/Qwen3-0.6B"), **WORKER)
    print(model.invoke(QUESTION).text)

    tokens = 0
    for chunk in model.stream(QUESTION, stream_usage=True):
        print(chunk.text, end="", flush=True)
        tokens += chunk.usage_metadata["output_tokens"] if chunk.usage_metadata else 0
    print(f" ({tokens} tokens)")

    embedder = OpenAIEmbeddings(
        model=os.environ.get("EMBEDDER", "Qwen/Qwen3-Embedding-0.6B"),
        check_embedding_ctx_length=False,  # otherwise it sends tokens of OpenAI's own models
        **WORKER,
    )
    print(len(embedder.embed_documents(["one", "another"])), "vectors")

    try:
        ChatOpenAI(model="nobody/nothing", **WORKER).invoke(QUESTION)
    except openai.NotFoundError as error:  # errors come from OpenAI's client
        print(error.code)


if __name__ == "__main__":
    main()
