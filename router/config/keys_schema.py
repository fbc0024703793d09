"""One entry of the keys file: its fields, their values, and their meaning.

docs/keys.schema.json and the table in docs/sharing.md are generated from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter

from router.config.caller_keys import KeyModels
from router.config.parsers import as_count, as_flag, as_key
from router.secrets import Secret

T = TypeVar("T")

_DIGEST = r"^[0-9A-Fa-f]{64}$"
_NAME = r"^[A-Za-z][A-Za-z0-9._-]{0,39}$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_TAKEN = "operator"  # the operator's name in the log


def schema() -> dict[str, Any]:
    """The JSON schema of the whole file, for editors."""
    document = TypeAdapter[Any](list[KeyEntry] | dict[Literal["keys"], list[KeyEntry]])
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "The callers' keys"} | document.json_schema()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text (in quotes, where YAML would read a number or a date)")
    return value.strip()


def _name(value: object) -> str:
    name = _text(value)
    if not re.fullmatch(_NAME, name) or name == _TAKEN:
        raise ValueError(
            "a name of 1 to 40 letters, digits, `.`, `_` and `-`, with a letter first, and not "
            f"`{_TAKEN}`"
        )
    return name


def _key(value: object) -> Secret:
    return as_key(_text(value))


def _variable(value: object) -> str:
    name = _text(value)
    if not re.fullmatch(_VARIABLE, name):
        raise ValueError("the name of an environment variable")
    return name


def _digest(value: object) -> str:
    digest = _text(value)
    if not re.fullmatch(_DIGEST, digest):
        raise ValueError("64 hexadecimal digits, in quotes")
    return digest.lower()


def _models(value: object) -> KeyModels:
    texts = value if isinstance(value, list) else [value]
    return KeyModels.parse(tuple(map(_text, texts)))


def _scalar(parse: Callable[[str], T]) -> Callable[[object], T]:
    def read(value: object) -> T:
        return parse(str(value) if isinstance(value, str | int) else "")

    return read


_Name = Annotated[
    str, PlainValidator(_name, json_schema_input_type=Annotated[str, Field(pattern=_NAME)])
]
_Key = Annotated[
    Secret,
    PlainValidator(_key, json_schema_input_type=Annotated[str, Field(min_length=8)]),
]
_Variable = Annotated[
    str,
    PlainValidator(_variable, json_schema_input_type=Annotated[str, Field(pattern=_VARIABLE)]),
]
_Digest = Annotated[
    str,
    PlainValidator(_digest, json_schema_input_type=Annotated[str, Field(pattern=_DIGEST)]),
]
_Models = Annotated[KeyModels, PlainValidator(_models, json_schema_input_type=str | list[str])]
_Count = Annotated[
    int,
    PlainValidator(_scalar(as_count), json_schema_input_type=Annotated[int, Field(ge=1)]),
]
_Flag = Annotated[bool, PlainValidator(_scalar(as_flag), json_schema_input_type=bool)]


class KeyEntry(BaseModel):
    """One key. A field without a value counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: _Name = Field(description="The caller's name in the log and in states.")
    key: _Key | None = Field(
        None, description="The key itself. Each entry has one of `key`, `key_env` and `sha256`."
    )
    key_env: _Variable | None = Field(
        None,
        description="The environment variable that holds the key. It is read at the start.",
    )
    sha256: _Digest | None = Field(
        None,
        description="The SHA-256 digest of the key, so that the file holds no secret. The key "
        "must be long and random.",
    )
    models: _Models | None = Field(
        None,
        description="The models that the key may use, one or a list: patterns as in "
        "ALLOWED_MODELS, and names of your own models. The list applies to your "
        "models too. Absent: all.",
    )
    requests_per_minute: _Count | None = Field(
        None, description="Requests that may begin per minute. They may all come at once."
    )
    tokens_per_minute: _Count | None = Field(
        None,
        description="Tokens of prompts and answers per minute. They are charged after each "
        "answer, so one answer may exceed the limit; then requests are refused "
        "until the excess is paid off.",
    )
    max_concurrency: _Count | None = Field(
        None, description="Requests at once, including waiting ones."
    )
    disabled: _Flag = Field(default=False, description="Refuse this key.")
