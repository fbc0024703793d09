"""Runs, streams and cancels jobs of a RunPod queue endpoint with RunPod's own client.

    ENDPOINT=... RUNPOD_KEY=... MODEL=Qwen/Qwen3-0.6B python examples/clients/runpod_client.py

For a gated or private model, set HF_TOKEN to a token that may read it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import runpod

MODEL = os.environ.get("MODEL", "Qwen/Qwen3-0.6B")


def question(**fields: object) -> dict[str, Any]:
    """A job: an object with `input`. The client adds `input` only if there is none. A request
    for embeddings has its own `input`, so the client would take it for a job."""
    token = os.environ.get("HF_TOKEN")
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Who are you?"}],
        **({"hf_token": token} if token else {}),
    }
    return {"input": body | fields}


def main() -> None:
    """Run all of these."""
    name = os.environ["ENDPOINT"]
    endpoint = runpod.Endpoint(name, api_key=os.environ["RUNPOD_KEY"])

    [answer] = endpoint.run_sync(question(), timeout=600)
    print(answer["choices"][0]["message"]["content"])

    job = endpoint.run(question())
    [answer] = job.output(timeout=600)
    print(job.status(), answer["choices"][0]["message"]["content"])

    for events in endpoint.run(question(stream=True)).stream():  # text: server-sent events
        print(events, end="")

    # A failed job's output is None. The status contains its error, as a JSON string.
    job = endpoint.run(question(model="nobody/nothing"))
    print(job.output(timeout=600), job.status())
    failed = endpoint.rp_client.get(f"{name}/status/{job.job_id}")
    print(json.loads(failed["error"])["error"]["code"])

    print(endpoint.run(question()).cancel()["status"])


if __name__ == "__main__":
    main()
