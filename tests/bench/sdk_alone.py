"""A worker that is only the SDK: its jobs stream like the others', without an engine."""

import asyncio
import sys

import runpod

TOKENS, INTERVAL = 20, 0.02  # like the engine of the others
EVENT = 'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'


async def handler(job):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    if not job["input"].get("stream"):
        await asyncio.sleep(TOKENS * INTERVAL)
        yield {"choices": [{"index": 0, "message": {"content": " word" * TOKENS}}]}
        return
    for _ in range(TOKENS):
        await asyncio.sleep(INTERVAL)
        yield EVENT


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    runpod.serverless.start(
        {
            "handler": handler,
            "concurrency_modifier": lambda _: 64,
            "return_aggregate_stream": True,
        }
    )
