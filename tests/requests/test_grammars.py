"""The allowed grammars: those that xgrammar follows in steps of bounded size."""

from __future__ import annotations

import string
import time
from contextlib import suppress
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRequest
from router.requests.call import parse
from router.requests.expressions import check_ebnf, check_regex
from router.requests.grammars import check_schemas
from router.requests.patterns import TooHard
from router.requests.routes import ROUTES

Json = dict[str, object]

CHAT, COMPLETIONS, NATIVE = "/v1/chat/completions", "/v1/completions", "/generate"
ANTHROPIC = "/v1/messages"
UNITS = [*string.punctuation, "a", "a*", "a|", "root ::= a\n", " ", "(a"]
CLEAR = [
    r"[a-z]+",
    r".*",
    r"(Paris|London)",
    r"\d{4}-\d{2}-\d{2}",
    r"(\w+ )+",
    r"(a|aa)+",
    r".*foo.*",
    r"[\w\d\s]{1,16}",
    r".{1,5000}",
    r"a{1,1000000}",
    r"(.{3}){100}",
    r"(/[\w .-]*)*/?$",
    r'\["[^"]+"(, "[^"]+")*\]',
    r"(yes|no)(, (yes|no)){0,9}",
    r"([A-Z][a-z]+ ?){1,3}",
    r"((25[0-5]|2[0-4]\d|[01]?\d\d?)\.){3}(25[0-5]|2[0-4]\d|[01]?\d\d?)",
    r"[a-zA-Z0-9_.+-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+",
    r"^(0|[1-9]\d*)(?:-(?:[1-9]\d*|\d*[a-z-][\da-z-]*)(?:\.(?:\d*[a-z-][\da-z-]*))*)?$",
    r"```\w+\n[\s\S]*?\n```",
    r"(?P<hour>[01]\d|2[0-3]):[0-5]\d",
    r"\u00e9[\x41-\x5a][^\]]\}",
    r"",
]
# Each blocked the real engine for more than 20 s, or would.
UNCLEAR = [
    r"(.*)*z",
    r"((.*)*)*z",
    r"(.*.*.*.*)*b",
    r"(a+)+",
    r"([a-zA-Z]+)*",
    r"(\w+ ?)+z",
    r"(\s*\w+)*",
    r"(.+){1,100}z",
    r"(.{0,100})*z",
    r"(.{0,30}){0,30}z",
    r"(.{1,3}){0,1000}z",
    r"(.?){0,1000}z",
    r"(a|[a-z]|.|..|...){0,1000}z",
    r"((((a{1,30}){1,30}){1,30}){1,30}){1,30}",
    r".{0,1000}.{0,1000}z",
    r".*.{0,1000}z",
    r".*" * 300,
    "(" * 60 + "a" + ")" * 60,
    "x" * 20_000,
]
UNREADABLE = ["[", "(a", "a)", "*", "a{5,1}", "(?=a)b", "\\1", r"\bfoo", "[z-a]", "a\\", "[]"]


@pytest.mark.parametrize("regex", CLEAR)
def test_a_regex_of_which_each_part_tells_where_it_ends_passes(regex: str) -> None:
    check_regex(regex)


@pytest.mark.parametrize("regex", [*UNCLEAR, *UNREADABLE])
def test_a_regex_with_many_ways_to_read_a_text_is_refused(regex: str) -> None:
    with pytest.raises(TooHard):
        check_regex(regex)


@pytest.mark.parametrize(
    "ebnf",
    [
        'root ::= "a"',
        'root ::= [a-z]+ "," [0-9]*  # a comment\n',
        'root ::= ("+" | "-")? [0-9]+ ("." [0-9]+)?',
        'root ::= item ("," item)*\nitem ::= [^,]+',
        'root ::= city | story\ncity ::= "Rome" | "Bonn"\nstory ::= city " is nice"',
    ],
)
def test_a_grammar_of_rules_that_lead_on_passes(ebnf: str) -> None:
    check_ebnf(ebnf)


@pytest.mark.parametrize(
    "ebnf",
    [
        "root ::= root",  # after it, the engine has no possible token and dies
        'root ::= "a" x\nx ::= x',
        'root ::= ("" | root)*',
        'root ::= s\ns ::= s s | "a" | ""',
        'x ::= "a"',
        "root ::= x",
        "root ::= [",
        "",
        "root ::= r*\nr ::= s*\ns ::= [a-z]",
        'root ::= TagDispatch(("a", b))\nb ::= "b"',
        "root ::= " + "(" * 5000,
        "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(40)),
        "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(1000)),
    ],
)
def test_a_grammar_that_leads_back_or_is_unclear_is_refused(ebnf: str) -> None:
    with pytest.raises(TooHard):
        check_ebnf(ebnf)


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}}},
        {"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"},  # pydantic's Decimal
        {"type": "string", "pattern": r"^(?=.*\d)(?!foo|bar)[a-z\d]{8,}$"},
        {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}], "$defs": {"node": NODE}},
        {"type": "object", "properties": {"pattern": {"type": "string"}}},
        {"type": "array", "minItems": 1_000_000, "items": {"type": "string"}},
        {"type": "object", "properties": {f"p{i}": {"type": "number"} for i in range(1000)}},
        {"$ref": "https://example.org/schema"},
        True,
    ],
)
def test_a_schema_as_clients_make_them_passes(schema: object) -> None:
    check_schemas(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$ref": "#/a", "a": {"allOf": [{"$ref": "#/b"}]}, "b": {"$ref": "#/a"}},
        {"properties": {"schema": {"$ref": "#/properties/schema"}}},
        {"properties": {"a": {"pattern": "(.*)*z"}}},
        {"properties": {"a": {"pattern": "(?!a)(.*)*z"}}},
        {"properties": {"a": {"pattern": r"(?!a\)(.*)*z"}}},
        {"properties": {"a": {"pattern": "(?![)](.*)*z)b"}}},
        {"properties": {"a": {"pattern": "((?!a).*)*z"}}},
        {"properties": {"a": {"pattern": "(?!a"}}},
        {"properties": {"a": {"pattern": "(?<=a)b"}}},
        {"patternProperties": {"(a{1,200}){1,200}": {}}},
        {"type": "structural_tag", "format": {"type": "grammar", "grammar": "root ::= root"}},
        {"enum": ["a"] * 2001},
        {"prefixItems": [{}] * 2001},
        {"minProperties": 50, "properties": {f"p{i}": {} for i in range(100)}},
        {"anyOf": [{"properties": {f"p{i}": {"type": "null"} for i in range(20)}}] * 1000},
    ],
)
def test_a_schema_that_leads_in_a_circle_or_is_huge_is_refused(schema: object) -> None:
    with pytest.raises(TooHard):
        check_schemas(schema)


# In any place

LOOP: Json = {"$ref": "#"}
FORMAT: Json = {"type": "json_schema", "json_schema": {"name": "x", "schema": LOOP}}
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": LOOP}}
STRICT: Json = {
    "type": "function",
    "function": {"name": "f", "parameters": LOOP, "strict": True},
}
WRITTEN = orjson.dumps(LOOP).decode()


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (CHAT, {"regex": "(.*)*z"}, "regex"),
        (CHAT, {"ebnf": "root ::= root"}, "ebnf"),
        (CHAT, {"response_format": FORMAT}, "response_format"),
        (CHAT, {"tools": [TOOL], "tool_choice": "required"}, "tools"),
        (CHAT, {"tools": [TOOL], "tool_choice": {"type": "function"}}, "tools"),
        (CHAT, {"tools": [STRICT]}, "tools"),
        (COMPLETIONS, {"json_schema": WRITTEN}, "json_schema"),
        (COMPLETIONS, {"json_schema": "{"}, "json_schema"),
        (NATIVE, {"sampling_params": {"regex": "(.*)*z"}}, "sampling_params.regex"),
        (
            NATIVE,
            {"sampling_params": [{"json_schema": WRITTEN}]},
            "sampling_params.json_schema",
        ),
        (
            NATIVE,
            {"sampling_params": {"structural_tag": orjson.dumps({"grammar": "x"}).decode()}},
            "sampling_params.structural_tag",
        ),
        ("/v1/responses", {"text": {"format": {"schema": LOOP}}}, "text"),
        ("/v1/responses", {"tools": [{"parameters": LOOP, "strict": True}]}, "tools"),
        (
            ANTHROPIC,
            {"output_config": {"format": {"schema": LOOP}}},
            "output_config.format",
        ),
        (
            ANTHROPIC,
            {"tools": [{"name": "f", "input_schema": LOOP}], "tool_choice": {"type": "any"}},
            "tools",
        ),
    ],
)
def test_every_place_of_a_grammar_is_looked_at(path: str, body: Json, named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(orjson.dumps(body), ROUTES[path])
    assert refused.value.param == named


@pytest.mark.parametrize("choice", [None, "auto", "none", {"type": "auto"}])
def test_tools_that_need_not_be_called_are_no_grammar(choice: object) -> None:
    body = {"tools": [TOOL], "tool_choice": choice}
    parse(orjson.dumps(body), ROUTES[CHAT])


@pytest.mark.parametrize("follows", ["*", "b*", "", "{0}"])
def test_counts_in_counts_without_end_are_refused(follows: str) -> None:
    text = "a"
    for _ in range(35):
        text = f"({text}{{9999999999}})"
    for field in ("regex", "ebnf"):
        written = text + follows if field == "regex" else "root ::= " + text.replace("a", '"a"')
        with pytest.raises(InvalidRequest, match="too long"):
            parse(orjson.dumps({field: written}), ROUTES[CHAT])


def test_rules_that_repeat_each_other_without_end_are_refused() -> None:
    names = [one + other for one in string.ascii_letters for other in string.ascii_letters]
    rules = [f"{name}::={f'{before} ' * 4}" for before, name in pairwise(names[:600])]
    text = f"root ::= {' '.join(names[:600])}*\n{names[0]}::='a'\n".replace("'", '"')
    with pytest.raises(TooHard, match="too long"):
        check_ebnf(text + "\n".join(rules))


def test_a_count_in_a_count_has_no_least_length_to_be_refused_for() -> None:
    text = "a"
    for _ in range(35):
        text = f"({text}{{0,9999999999}})"
    with pytest.raises(TooHard, match="repeats itself"):
        check_regex(text + "*")


# Any text

ALPHABET = st.text(alphabet='ab.*+?{}()[]|\\^-,0123d" :=r#\n', max_size=40)


@given(ALPHABET)
def test_any_text_is_judged(text: str) -> None:
    for check in (check_regex, check_ebnf):
        with suppress(TooHard):
            check(text)


@pytest.mark.parametrize(
    "unit", [*string.punctuation, "a", "a*", "a|", "root ::= a\n", " ", "(a"]
)
def test_no_text_is_judged_for_long(unit: str) -> None:
    text = (unit * 16384)[:16384]
    before = time.process_time()
    for check in (check_regex, check_ebnf):
        with suppress(TooHard):
            check(text)
    assert time.process_time() - before < 2.0
