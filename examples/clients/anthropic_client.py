"""Chats, streams and counts tokens with Anthropic's client for Python.

    MODEL=Qwen/Qwen3-0.6B python examples/clients/anthropic_client.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import os

import anthropic
from anthropic.types import MessageParam

ROUTER = os.environ.get("ROUTER", "http://127.0.0.1:8000")
API_KEY = os.environ.get("API_KEY", "unused")
HF_TOKEN = os.environ.get("HF_TOKEN")
MODEL = os.environ.get("MODEL", "Qwen/Qwen3-0.6B")
QUESTION: list[MessageParam] = [{"role": "user", "content": "Who are you?"}]


def ask(client: anthropic.Anthropic) -> None:
    """Print a whole answer."""
    message = client.messages.create(model=MODEL, max_tokens=64, messages=QUESTION)
    print("".join(block.text for block in message.content if block.type == "text"))


def stream(client: anthropic.Anthropic) -> None:
    """Print an answer as it arrives, then the whole answer from the client."""
    with client.messages.stream(model=MODEL, max_tokens=64, messages=QUESTION) as events:
        for text in events.text_stream:
            print(text, end="", flush=True)
        whole = events.get_final_message()
    print(f" ({whole.usage.output_tokens} tokens, {whole.stop_reason})")


def count(client: anthropic.Anthropic) -> None:
    """Count the tokens of a prompt with the model's own tokenizer and chat template."""
    counted = client.messages.count_tokens(model=MODEL, messages=QUESTION)
    print(counted.input_tokens, "tokens")


def ask_for_a_missing_model(client: anthropic.Anthropic) -> None:
    """The status decides the class of an error. Its body has Anthropic's form."""
    try:
        client.messages.create(model="nobody/nothing", max_tokens=64, messages=QUESTION)
    except anthropic.NotFoundError as error:
        print(error.type)


def main() -> None:
    """Run all of these."""
    client = anthropic.Anthropic(
        base_url=ROUTER,  # without /v1
        api_key=API_KEY,
        default_headers={"X-HF-Token": HF_TOKEN} if HF_TOKEN else None,
        timeout=600,  # seconds; a cold start downloads the model first
    )
    ask(client)
    stream(client)
    count(client)
    ask_for_a_missing_model(client)


if __name__ == "__main__":
    main()
