"""One entry of the models file: its keys, their values, and their meaning.

docs/models.schema.json and the table in docs/settings.md are generated from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, WithJsonSchema

from router.config.parsers import (
    as_arguments,
    as_count,
    as_flag,
    as_one_of,
    as_size,
    as_ttl,
)
from router.models import Task

T = TypeVar("T")

_SERVED = [task for task in Task if task is not Task.TRANSCRIBE]

_Word = str | int | float
_NAME = r"^[A-Za-z][A-Za-z0-9._-]{0,39}$"
# What no command line can hold, or no log can show. A long JSON value may have several lines.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SIZE = r"^[0-9]+(\.[0-9]+)? ?([KMGTkmgt]([Ii]?[Bb])?|[Bb])$"  # what `as_size` accepts


def schema() -> dict[str, Any]:
    """The JSON schema of the whole file, for editors."""
    document = TypeAdapter[Any](list[ModelEntry] | _ModelsFile)
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "The operator's models"} | document.json_schema()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text (in quotes, where YAML would read a number or a date)")
    if not value.isprintable():  # names, paths and variables have no control characters
        raise ValueError("text on one line, without control characters")
    return value.strip()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value if isinstance(value, list) else [value]))


def as_name(value: object) -> str:
    """Check a group's name. Raises `ValueError`."""
    name = _text(value)
    if not re.fullmatch(_NAME, name):
        raise ValueError(
            "a name of 1 to 40 letters, digits, `.`, `_` and `-`, with a letter first"
        )
    return name


def _task(value: object) -> Task:
    return Task(as_one_of(*_SERVED)(_text(value)))


def _scalar(parse: Callable[[str], T]) -> Callable[[object], T]:
    """Make a parser for environment variables read a YAML scalar."""

    def read(value: object) -> T:
        if not isinstance(value, str | int | float):
            raise ValueError("a single value")  # noqa: TRY004 - what pydantic expects
        return parse(str(value))

    return read


def _flags(value: object) -> tuple[str, ...]:
    """Read flags from a shell line, a list of words, or a mapping."""
    match value:
        case str():
            words = as_arguments(value)
        case list():
            words = tuple(map(_word, value))
        case dict():
            words = tuple(word for key, wanted in value.items() for word in _flag(key, wanted))
        case _:
            words = ()
    if not words or not words[0].startswith("--"):
        raise ValueError("SGLang flags: `--flag value`, a list of words, or a mapping")
    if any(map(_UNFIT.search, words)):
        raise ValueError("SGLang flags without control characters and lone surrogates")
    return words


def _flag(key: object, wanted: object) -> list[str]:
    name = f"--{_text(key).removeprefix('--').replace('_', '-')}"
    match wanted:
        case True:
            return [name]
        case False:
            return []
        case list():
            return [name, *map(_word, wanted)]
        case dict():
            return [name, _json(wanted)]
        case _:
            return [name, _word(wanted)]


def _json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):  # a date, or an anchor that contains itself
        raise ValueError("flags with values that JSON can hold") from None


def _word(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("flags with values that are text or numbers")  # noqa: TRY004 - as above
    return str(value)


# Each pairs a value's parser with the type for the JSON schema, which editors use.
_Text = Annotated[str, PlainValidator(_text, json_schema_input_type=str)]
_Flag = Annotated[bool, PlainValidator(_scalar(as_flag), json_schema_input_type=bool)]
_Texts = Annotated[
    tuple[str, ...], PlainValidator(_texts, json_schema_input_type=str | list[str])
]
_Flags = Annotated[
    tuple[str, ...],
    PlainValidator(_flags, json_schema_input_type=str | list[_Word] | dict[str, Any]),
]
_Size = Annotated[
    int,
    PlainValidator(
        _scalar(as_size),
        json_schema_input_type=Annotated[str, Field(pattern=_SIZE)],
    ),
]
_Count = Annotated[
    int,
    PlainValidator(_scalar(as_count), json_schema_input_type=Annotated[int, Field(ge=1)]),
]
_Name = Annotated[
    str, PlainValidator(as_name, json_schema_input_type=Annotated[str, Field(pattern=_NAME)])
]
_Ttl = Annotated[
    float | None,
    PlainValidator(_scalar(as_ttl), json_schema_input_type=float | Literal["off"]),
]
_TASKS = WithJsonSchema({"type": "string", "enum": [*_SERVED]})
_Task = Annotated[Task, PlainValidator(_task, json_schema_input_type=Annotated[str, _TASKS])]


class ModelEntry(BaseModel):
    """One of the operator's models. A key without a value counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: _Text = Field(description="org/name, org/name@revision, or an absolute path.")
    revision: _Text | None = Field(
        None, description="Branch, tag or commit. @revision in `model` wins."
    )
    aliases: _Texts = Field(
        (), description="More names, one or a list. /v1/models shows the first."
    )
    flags: _Flags = Field(
        (),
        description="SGLang's flags: a mapping ({context-length: 8192}), a list of words, or "
        "text quoted as for a shell.",
    )
    task: _Task | None = Field(
        None,
        description="The model's task. Absent: read from its architecture, its files and its "
        "card; for a directory, at the worker's start.",
    )
    pin: _Flag = Field(default=False, description="Never evict it.")
    preload: _Flag = Field(default=False, description="Start it before the first request.")
    idle_ttl: _Ttl = Field(
        None,
        description="Seconds until it expires when idle, or off. Absent: MODEL_IDLE_TTL.",
    )
    memory: _Size | None = Field(
        None,
        description="Its claim on GPU_MEMORY_BUDGET, with a unit, such as 20GiB: weights, KV "
        "cache and activations. For an engine on several GPUs: per GPU.",
    )
    token_env: _Text | None = Field(
        None, description="The environment variable that holds this model's own Hub token."
    )
    trust_remote_code: _Flag = Field(
        default=False, description="Let the model run the code in its repository."
    )
    group: _Name | None = Field(
        None,
        description="Its group. At most one model of a group is loaded at a time, or as many "
        "as `groups` says.",
    )
    max_concurrency: _Count | None = Field(
        None, description="Requests in flight at its engine. Absent: MAX_CONCURRENCY."
    )
    max_queue: _Count | None = Field(
        None,
        description="Requests that may wait for it, as a part of MAX_QUEUE. Absent: MAX_QUEUE.",
    )


class GroupEntry(BaseModel):
    """A group of models that may not all be loaded at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_loaded: _Count = Field(
        1, description="Models of the group that may be loaded at the same time. Absent: 1."
    )
    exclusive: _Flag = Field(
        default=False,
        description="While one of its models is loaded, no model outside the group is loaded.",
    )


# Only for the schema: models_file.py reads the file itself.
class _ModelsFile(BaseModel):
    """A models file with groups."""

    model_config = ConfigDict(extra="forbid")

    models: list[ModelEntry]
    groups: dict[_Name, GroupEntry | None] = Field(
        {},
        description="All groups that models name. Absent: each group has one loaded model at "
        "a time.",
    )
