"""`logs`: shows the output of a model's engines."""

from __future__ import annotations

import sys

from router.commands.operate.client import WorkerClient, path_of
from router.commands.output import Output, printable


def logs(
    worker: WorkerClient, output: Output, model: str, *, follow: bool, as_json: bool
) -> None:
    """Show the last lines. With `follow`, show new lines too, until the worker ends."""
    path = path_of(model, "logs")
    if not follow:
        answer = worker.get(path)
        if as_json:
            output.json(answer)
            return
        for line in answer["lines"]:
            output.line(line)
        if not answer["lines"]:
            said = f"no engine of {model} has printed anything since the worker began"
            print(printable(f"{said}: `ps` lists the names"), file=sys.stderr)  # noqa: T201
        return
    with worker.events(f"{path}?follow=1", output.check_reader) as events:
        for _, content in events:
            if as_json:
                output.json_line(content)
                continue
            for line in content["lines"]:
                output.line(line)
            output.flush()
