"""A worker's state, as lines and a table. `ps` shows it once, `top` continuously.

docs/operations.md describes each field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from router.commands.operate.texts import cause_text, share_text, span_text, waiting_text
from router.commands.output import Cell, Row, size_text

Json = dict[str, Any]

_COLUMNS = (
    "model",
    "state",
    "memory",
    "in flight",
    "waiting",
    "next out",
    "pinned",
    "last start",
    "last failure",
)
_DISPENSABLE = ("last start", "next out", "pinned", "memory")  # dropped in this order
_GAP = 3  # between two columns, on a terminal
_STYLES = {"ready": "green", "cold": "dim", "fetched": "dim", "draining": "yellow"}
_COMMIT = 7  # characters of a commit; enough for a name
_GOOD, _BAD, _NOTED = "green", "bold red", "yellow"


def header(state: Json) -> Iterator[Cell]:
    """Lines about the whole worker."""
    yield _worker(state)
    yield Cell(_models(state))
    for one in state["devices"]:
        yield Cell(_device(one))
    if (disk := state["disk"]) is not None:
        yield _disk(disk)


def table(state: Json, width: int | None) -> tuple[Sequence[str], Sequence[Row]]:
    """Columns, and a row for each model.

    If the table is wider than `width`, the terminal's, empty columns and then some others are
    left out. None: all columns.
    """
    rows = [_row(one, state["now"]) for one in state["engines"]]
    shown = list(range(len(_COLUMNS)))
    if width is not None:
        shown = [at for at in shown if any(row[at].text for row in rows)]
        for name in _DISPENSABLE:
            if _width(shown, rows) > width:
                shown = [at for at in shown if _COLUMNS[at] != name]
    return [_COLUMNS[at] for at in shown], [[row[at] for at in shown] for row in rows]


def _width(shown: Sequence[int], rows: Sequence[Sequence[Cell]]) -> int:
    """The width of a table with these columns on a terminal."""
    longest = [max(len(_COLUMNS[at]), *(len(row[at].text) for row in rows)) for at in shown]
    return sum(longest) + _GAP * len(shown) - 1


def causes(state: Json) -> Iterator[str]:
    """Why models fail, which engines make room, and which callers have the most requests."""
    for one in state["engines"]:
        if (failure := one["last_failure"]) is not None:
            yield f"{name_of(one)}: {failure['kind']}: {cause_text(failure['text'])}"
        if leaving := one["waiting"]["leaving"]:
            names = ", ".join(_short(each) for each in leaving)
            yield f"{name_of(one)} gets the room of {names}"
        yield from _crowd(one)
    if state["more_engines"]:
        yield f"{state['more_engines']} more models are not shown"


def one_line(state: Json) -> str:
    """The state on one line."""
    engines = state["engines"]
    flying = sum(one["in_flight"]["requests"] for one in engines)
    devices = ", ".join(
        f"{_device_name(one)} {share_text(one['held_bytes'], one['budget_bytes'])}"
        for one in state["devices"]
    )
    models = ", ".join(f"{name_of(one)} {_word(one['state'])}" for one in engines)
    told = (devices, f"{flying} in flight", f"{state['queue']['waiting']} waiting", models)
    return "; ".join(filter(None, told))


def name_of(engine: Json) -> str:
    """An alias, else `org/name@` with the first characters of its commit."""
    return engine["names"][0] if engine["names"] else _short(engine["id"])


def _worker(state: Json) -> Cell:
    worker = state["worker"]
    if worker["leaving"]:
        condition, style = "leaving: it takes no more requests", _BAD
    elif worker["ready"]:
        condition, style = "ready", _GOOD
    else:
        condition, style = "starting: its first models are not up", _NOTED
    uptime = span_text(state["now"] - worker["started_at"])
    return Cell(f"worker    {condition}, up for {uptime}", style)


def _models(state: Json) -> str:
    queue, loaded = state["queue"], state["loaded"]
    limit = "" if loaded["limit"] is None else f" of {loaded['limit']}"
    return (
        f"models    {loaded['engines']}{limit} loaded; "
        f"{queue['waiting']} of {queue['limit']} places in the queue taken"
    )


def _device(one: Json) -> str:
    held, budget = one["held_bytes"], one["budget_bytes"]
    told = [f"{share_text(held, budget)} held", f"{size_text(max(budget - held, 0))} left"]
    if one["free_bytes"] is not None:
        told.append(f"{size_text(one['free_bytes'])} measured free")
    if one["standby_bytes"]:
        told.append(f"{size_text(one['standby_bytes'])} for starts ahead")
    if one["written_off_bytes"]:
        told.append(f"{size_text(one['written_off_bytes'])} missing")
    return f"{_device_name(one)}  {', '.join(told)}"


def _device_name(one: Json) -> str:
    return f"device {one['index']}"


def _disk(disk: Json) -> Cell:
    budget = f" of {size_text(disk['budget_bytes'])}" if disk["budget_bytes"] else ""
    free, reserve = disk["free_bytes"], disk["reserve_bytes"]
    return Cell(
        f"disk      {size_text(disk['used_bytes'])}{budget} used by models; "
        f"{size_text(free)} free, of which {size_text(reserve)} stay free",
        _BAD if free <= reserve else "",
    )


def _row(one: Json, now: float) -> Sequence[Cell]:
    return (
        Cell(name_of(one)),
        Cell(_condition(one, now), _style(one)),
        Cell(_memory(one)),
        Cell(str(one["in_flight"]["requests"] or "")),
        Cell(waiting_text(one["waiting"]), _NOTED),
        Cell(str(one["evicted_next"] or "")),
        Cell("pinned" if one["pinned"] else ""),
        Cell(_start(one["last_start"], now)),
        Cell(_failure(one, now), _BAD),
    )


def _crowd(one: Json) -> Iterator[str]:
    waiting = one["waiting"]
    if waiting["requests"] > 1 and waiting["callers"]:
        most = max(waiting["callers"], key=lambda each: each["requests"])
        caller = _caller(most["caller"])
        count = f"{most['requests']} of the {waiting['requests']} requests"
        yield f"{name_of(one)}: {count} in line are from {caller}"


def _caller(caller: str | None) -> str:
    if caller is None:
        return "the operator"
    return f"caller {caller}" if caller else "callers without a key or a token"


def _style(one: Json) -> str:
    return _STYLES.get(one["state"], "cyan")


def _condition(one: Json, now: float) -> str:
    last = ", to be unloaded" if one["unloading"] else ""
    return f"{_word(one['state'])} {span_text(now - one['since'])}{last}"


def _memory(one: Json) -> str:
    if not one["claim_bytes"]:
        return ""
    places = ", ".join(map(str, one["devices"]))
    claim = size_text(one["claim_bytes"])
    return f"{claim} on {places}" if places else f"({claim})"


def _start(start: Json | None, now: float) -> str:
    if start is None:
        return ""
    return f"{start['seconds']:.1f} s, {span_text(now - start['at'])} ago"


def _failure(one: Json, now: float) -> str:
    failure = one["last_failure"]
    if failure is None:
        return ""
    told = [f"{failure['kind']} {span_text(now - failure['at'])} ago"]
    if one["failures"] > 1:
        told.append(f"{one['failures']} in a row")
    if one["retry_at"] is not None and one["retry_at"] > now:
        told.append(f"again in {span_text(one['retry_at'] - now)}")
    return ", ".join(told)


def _short(identifier: str) -> str:
    name, at, commit = identifier.partition("@")
    return f"{name}{at}{commit[:_COMMIT]}"


def _word(state: str) -> str:
    return state.replace("_", " ")
