"""The commands that change a worker: `load`, `unload`, `pin`, `unpin`, `reload`, `drain`."""

from __future__ import annotations

from router.commands.operate import status
from router.commands.operate.client import (
    Json,
    RefusedByWorker,
    WorkerClient,
    WorkerUnreached,
    path_of,
)
from router.commands.operate.texts import rest_text
from router.commands.output import Output

_UNSEEN = ("model_gated:", "model_not_found:")
_LOADS_WITH = "`load` uses the worker's own tokens: HF_TOKEN, or the model's `token_env`."


def deed(
    worker: WorkerClient,
    output: Output,
    verb: str,
    model: str,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Run the command `verb`, and show the affected engines afterwards.

    With `wait`, a `load` returns when the model is ready.
    """
    query = "?wait=1" if wait else ""
    try:
        done = worker.post(path_of(model, verb) + query, patient=wait)
    except RefusedByWorker as refused:
        if verb == "load" and str(refused).startswith(_UNSEEN):
            raise RefusedByWorker(f"{refused} {_LOADS_WITH}", refused.answer) from None
        raise
    if as_json:
        output.json(done)
        return
    shown = {one["id"]: one for one in done.get("engines", ())}
    for identifier in done["ids"]:
        output.line(f"{verb}: {_told(identifier, shown.get(identifier))}")


def reload(worker: WorkerClient, output: Output, *, as_json: bool) -> None:
    done = worker.post("/admin/reload")
    if as_json:
        output.json(done)
        return
    models, keys = done.get("models_file"), done.get("keys_file")
    if models:
        output.line(f"reload: {_counted(len(done['models']), 'model')} from {models}")
    else:
        output.line("reload: no models file was read: MODELS_CONFIG names none")
    if keys:
        output.line(f"reload: {_counted(done['keys'], 'key')} from {keys}")
    else:
        output.line("reload: no keys file was read: API_KEYS_FILE is not set")
    for identifier in done["unloaded"]:
        output.line(f"unload: {identifier}, which is gone from the list or has changed")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def drain(worker: WorkerClient, output: Output, *, wait: bool, as_json: bool) -> None:
    """Drain the worker. With `wait`, show what is left until it ends.

    The events are opened first: a worker that drains takes no new connections.
    """
    if not wait:
        _drain(worker, output, as_json=as_json)
        return
    leaves, last = False, ""
    with worker.events("/admin/events", output.check_reader) as events:
        _drain(worker, output, as_json=as_json)
        for name, state in events:
            if name != "state":
                continue
            leaves, line = state["worker"]["leaving"], status.one_line(state)
            if as_json:
                output.json_line(state)
            elif line != last:
                output.line(line)
            last = line
            output.flush()
    if not leaves:
        raise WorkerUnreached(f"{worker.address} no longer answers, and may not have ended")
    if not as_json:
        output.line("The worker has stopped its engines, and ends.")


def _drain(worker: WorkerClient, output: Output, *, as_json: bool) -> None:
    done = worker.post("/admin/drain")
    if as_json:
        output.json_line(done)
        return
    output.line(
        "The worker takes no more requests, and ends after those in flight (DRAIN_TIMEOUT)."
    )


def _told(identifier: str, engine: Json | None) -> str:
    if engine is None:
        return f"{identifier} is not loaded"
    told = [engine["state"].replace("_", " ")]
    if engine["pinned"]:
        told.append("pinned")
    if engine["in_flight"]["requests"]:
        told.append(f"{engine['in_flight']['requests']} in flight")
    told += filter(None, [rest_text(engine["waiting"])])
    return f"{status.name_of(engine)} is {', '.join(told)}"
