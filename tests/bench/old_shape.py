"""A worker as RunPod's users run it today: one engine, one job at a time, and an async
generator that blocks on `requests`."""

import os
import sys

import requests
import runpod


def concurrency(default: int = 300) -> int:
    return default  # the SDK calls it with the current value, which is 1


async def handler(job):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    url = os.environ["ENGINE_URL"] + "/v1/chat/completions"
    response = requests.post(url, json=job["input"], timeout=600)  # noqa: ASYNC210
    for line in response.iter_lines():
        if line:
            yield line.decode() + "\n\n"


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    runpod.serverless.start(
        {
            "handler": handler,
            "concurrency_modifier": concurrency,
            "return_aggregate_stream": True,
        }
    )
