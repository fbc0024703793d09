"""The JSON schema of the values that a rule admits.

The description says what a schema can't express: how complex a grammar may be, how many values
an object may contain in total, and how large a model's vocabulary is.
"""

from __future__ import annotations

from math import isfinite

from router.requests import rules
from router.requests.grammars import MOST_VALUES, Expression, Schemas
from router.requests.patterns import MOST_CHARACTERS
from router.requests.rules import Rule
from router.requests.token_rules import HIGHEST, Bias, IdLists, Ids, Prompt, TopTokens

Json = dict[str, object]

# A refused field with one of these values is dropped, because clients send their defaults.
NOTHING: list[object] = [None, False, 0, "", [], {}]
_TOKEN: Json = {"type": "integer", "minimum": 0, "maximum": HIGHEST}
_FOLLOWED = "What an engine could not follow is refused."


def reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def either(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


def listed(items: Json, most: int) -> Json:
    return {"type": "array", "items": items, "maxItems": most}


def filled(schema: Json) -> Json:
    """The same schema without an empty list: an engine requires an entry."""
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        return {**schema, "anyOf": [filled(one) for one in choices]}
    return {**schema, "minItems": 1} if schema.get("type") == "array" else schema


def or_null(schema: Json) -> Json:
    """The same schema or null, because clients use null to omit a field."""
    kind, choices = schema.get("type"), schema.get("anyOf")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    if isinstance(choices, list):
        return {**schema, "anyOf": [*choices, {"type": "null"}]}
    return either(schema, {"type": "null"}) if schema.keys() - {"description"} else schema


def admitted(rule: Rule, item: Json | None = None) -> Json:
    """The schema for `rule`. `item` describes the entries of its list in more detail.

    Raises `TypeError` for a kind of rule without a schema here.
    """
    for kind in (_composed, _many, _number_or_text, _grammar, _of_tokens):
        if (schema := kind(rule, item)) is not None:
            return schema
    raise TypeError(f"{type(rule).__name__} has no schema")


def _composed(rule: Rule, item: Json | None) -> Json | None:
    match rule:
        case rules.Both(first, second):
            return {**admitted(second, item), **admitted(first, item)}
        case rules.Either(first, second):
            return _joined(admitted(first, item), admitted(second, item))
        case rules.OneOrMore(one, most):
            schema = admitted(one, item)
            return _joined(schema, listed(or_null(schema), most))
        case rules.Object(fields, closed):
            properties = {name: or_null(admitted(one)) for name, one in fields.items()}
            found: Json = {"type": "object", "properties": properties}
            return {**found, "additionalProperties": {"enum": NOTHING}} if closed else found
    return None


def _many(rule: Rule, item: Json | None) -> Json | None:
    match rule:
        case rules.Objects(most):
            many = listed(item or {"type": "object"}, most)
            return many if item else either({"type": "object"}, many)
        case rules.Items(most):
            return listed(item or {}, most)
        case rules.Nested(values, numbers):
            beyond = f", and no number beyond {numbers:.0f}" if isfinite(numbers) else ""
            return {"description": f"At most {values} values in all{beyond}."}
    return None


def _number_or_text(rule: Rule, _: Json | None) -> Json | None:
    match rule:
        case rules.Whole(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case rules.Real(low, high):
            return {"type": "number", "minimum": low, "maximum": high}
        case rules.Flag(also):
            truth: Json = {"type": "boolean"}
            return either(truth, {"enum": sorted(also)}) if also else truth
        case rules.Text():
            return {"type": "string"}
        case rules.Texts(most, longest):
            text: Json = {"type": "string", "maxLength": longest}
            return either(text, listed(text, most))
    return None


def _grammar(rule: Rule, _: Json | None) -> Json | None:
    match rule:
        case Expression():
            text: Json = {"type": "string", "maxLength": MOST_CHARACTERS}
            return {**text, "description": _FOLLOWED}
        case Schemas(written):
            words = f"{_FOLLOWED} At most {MOST_VALUES} values."
            text = {"type": "string", "contentMediaType": "application/json"}
            return {**(text if written else {}), "description": words}
    return None


def _of_tokens(rule: Rule, _: Json | None) -> Json | None:
    match rule:
        case TopTokens(most):
            count: Json = {"type": "integer", "minimum": 0, "maximum": most}
            return either(count, {"type": "boolean"})
        case Ids(most):
            return listed(_TOKEN, most)
        case IdLists(lists, most):
            ids = listed(_TOKEN, most)
            return either(ids, listed(ids, lists))
        case Prompt(most, texts, ids_too):
            text: Json = {"type": "string", "minLength": 1}
            ids = {"type": "array", "items": _TOKEN, "minItems": 1}
            kinds = [text] * texts + [ids] * ids_too
            found = either(*(choice for one in kinds for choice in (one, listed(one, most))))
            return found if texts else filled(found)
        case Bias(low, high):
            number: Json = {"type": "number", "minimum": low, "maximum": high}
            names = {"pattern": _decimals(HIGHEST)}
            kind: Json = {"type": "object", "propertyNames": names}
            return {**kind, "additionalProperties": number, "description": "By token id."}
    return None


def _decimals(highest: int) -> str:
    """A pattern for integers from 0 to `highest`, with no more digits than `highest`."""
    text = str(highest)
    fewer = f"[0-9]{{1,{len(text) - 1}}}"
    lower = (
        f"{text[:at]}[0-{int(digit) - 1}][0-9]{{{len(text) - at - 1}}}"
        for at, digit in enumerate(text)
        if digit != "0"
    )
    return f"^({'|'.join([fewer, *lower, text])})$"


def _joined(first: Json, second: Json) -> Json:
    """Either of them, as one flat list of choices."""
    choices: list[Json] = []
    for schema in (first, second):
        inner = schema.get("anyOf")
        choices += inner if isinstance(inner, list) else [schema]
    return {"anyOf": choices}
