"""Chats, streams, responds, embeds and lists models with OpenAI's client for Python.

    MODEL=Qwen/Qwen3-0.6B python examples/clients/openai_client.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import os

import openai

ROUTER = os.environ.get("ROUTER", "http://127.0.0.1:8000")
API_KEY = os.environ.get("API_KEY", "unused")
HF_TOKEN = os.environ.get("HF_TOKEN")
MODEL = os.environ.get("MODEL", "Qwen/Qwen3-0.6B")
EMBEDDER = os.environ.get("EMBEDDER", "Qwen/Qwen3-Embedding-0.6B")
QUESTION = "Who are you?"


def chat(client: openai.OpenAI) -> str | None:
    """Return a whole answer."""
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}]
    )
    return answer.choices[0].message.content


def stream(client: openai.OpenAI) -> str | None:
    """Print an answer as it arrives, and return the whole answer from the client."""
    with client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        stream_options={"include_usage": True},
    ) as events:
        for event in events:
            if event.type == "content.delta":
                print(event.delta, end="", flush=True)
        whole = events.get_final_completion()
    tokens = whole.usage.completion_tokens if whole.usage else 0
    print(f" ({tokens} tokens)")
    return whole.choices[0].message.content


def respond(client: openai.OpenAI) -> str:
    """Return a whole answer from the Responses API."""
    return client.responses.create(model=MODEL, input=QUESTION).output_text


def stream_response(client: openai.OpenAI) -> str:
    """The same, as it arrives."""
    with client.responses.stream(model=MODEL, input=QUESTION) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
        print()
        return events.get_final_response().output_text


def embed(client: openai.OpenAI) -> list[list[float]]:
    """Return one vector per text."""
    answer = client.embeddings.create(model=EMBEDDER, input=["one", "another"])
    return [item.embedding for item in answer.data]


def ask_for_a_missing_model(client: openai.OpenAI) -> None:
    """The status decides the class of an error. Its `code` is the worker's."""
    try:
        client.chat.completions.create(model="nobody/nothing", messages=[])
    except openai.NotFoundError as error:
        print(error.code)


def main() -> None:
    """Run all of these."""
    client = openai.OpenAI(
        base_url=f"{ROUTER}/v1",
        api_key=API_KEY,
        default_headers={"X-HF-Token": HF_TOKEN} if HF_TOKEN else None,
        timeout=600,  # seconds; a cold start downloads the model first
    )
    print(chat(client))
    stream(client)
    print(respond(client))
    stream_response(client)
    print(len(embed(client)), "vectors")
    ask_for_a_missing_model(client)
    print(*(model.id for model in client.models.list()))


if __name__ == "__main__":
    main()
