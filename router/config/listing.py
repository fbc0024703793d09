"""Formats settings for documents: tables, `--help`, and RunPod Hub's form."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from router.config.options import option
from router.config.setting import Setting

# The form's type for tokens and keys. RunPod's guide does not list it, but `string` would show
# the typed text.
SECRET_INPUT = "password"  # noqa: S105 - a type


def table(settings: Iterable[Setting[Any]]) -> str:
    """A table in Markdown: one row for each setting."""
    rows = ["| variable | value | default | meaning |", "|---|---|---|---|"]
    for one in settings:
        cells = (_named(one), one.kind.noun, _default(one), one.meaning)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def sections(settings: Iterable[Setting[Any]]) -> str:
    """A heading and a table for each section."""
    found = _by_section(settings)
    return "\n\n".join(f"## {title}\n\n{table(members)}" for title, members in found.items())


def help_text(settings: Iterable[Setting[Any]]) -> str:
    """Lines for `--help`: name, meaning, default."""
    return "\n".join(line for one in settings for line in _help_lines(one))


def option_help(settings: Iterable[Setting[Any]], engine: Iterable[Setting[Any]]) -> str:
    """Lines for `serve --help`: the most used settings, each section, and engine settings."""
    ours = list(settings)
    groups = {"Most used": [one for one in ours if one.most_used], **_by_section(ours)}
    groups["Flags of every engine"] = list(engine)
    shown = set[str]()
    blocks = []
    for title, members in groups.items():
        left = [one for one in members if one.name not in shown]
        shown |= {one.name for one in left}
        blocks.append("\n".join([f"{title}:", *(_option_lines(left))]))
    return "\n\n".join(blocks)


def form(settings: Iterable[Setting[Any]]) -> list[dict[str, Any]]:
    """The `env` of RunPod Hub's hub.json. Fields that everybody sees come first."""
    ordered = sorted(settings, key=lambda one: one.advanced)
    return [{"key": one.name, "input": _input(one)} for one in ordered]


def _by_section(settings: Iterable[Setting[Any]]) -> dict[str, list[Setting[Any]]]:
    found: dict[str, list[Setting[Any]]] = {}
    for one in settings:
        title = one.section or next(reversed(found))
        found.setdefault(title, []).append(one)
    return found


def _named(one: Setting[Any]) -> str:
    older = ", ".join(f"`{alias}`" for alias in one.aliases)
    return f"`{one.name}`" + (f" (also {older})" if older else "")


def _default(one: Setting[Any]) -> str:
    if isinstance(one.default, Mapping):
        return ", ".join(f"`{text}` ({names})" for text, names in _by_platform(one.default))
    return f"`{one.default}`" if one.default else one.unset


def _by_platform(default: Mapping[Any, str]) -> Iterator[tuple[str, str]]:
    """Each default, with the platforms that have it."""
    for text in dict.fromkeys(default.values()):
        yield text, ", ".join(str(name) for name, one in default.items() if one == text)


def _help_lines(one: Setting[Any]) -> list[str]:
    return [f"  {one.name}", *_explained(one)]


def _option_lines(settings: Iterable[Setting[Any]]) -> Iterator[str]:
    for one in settings:
        name = option(one)
        yield f"  {one.name} (no option)" if name is None else f"  {name}, {one.name}"
        yield from _explained(one)


def _explained(one: Setting[Any]) -> list[str]:
    default = _default(one).replace("`", "")
    sentences = (one.meaning, one.kind.hint, f"Default: {default}." if default else "")
    text = " ".join(filter(None, sentences))
    indent = " " * 4
    return textwrap.wrap(text, 88, initial_indent=indent, subsequent_indent=indent)


def _input(one: Setting[Any]) -> dict[str, Any]:
    kind = one.kind
    default = _form_default(one)
    shown: dict[str, Any] = {
        "name": one.label,
        "type": SECRET_INPUT if one.secret else one.form_type or kind.form,
        "description": _description(one),
        "required": False,
        "default": default,
    }
    if kind.form == "boolean":
        shown |= {"trueValue": "true", "falseValue": "false"}
    if kind.form == "number" and default != "":
        # Only with a default: without one, an empty field must be allowed.
        bounds = {"min": kind.minimum, "max": kind.maximum}
        shown |= {name: bound for name, bound in bounds.items() if bound is not None}
    if options := kind.choices or one.options:
        unset = [] if one.default else [{"label": one.unset, "value": ""}]
        shown["options"] = [*unset, *({"label": text, "value": text} for text in options)]
    return shown | {"advanced": one.advanced}


def _description(one: Setting[Any]) -> str:
    unset = _default(one).replace("`", "") if isinstance(one.default, Mapping) else one.unset
    sentences = (one.meaning, one.kind.hint, f"Empty: {unset}." if unset else "")
    return " ".join(filter(None, sentences))


def _form_default(one: Setting[Any]) -> object:
    """The default in the form's type; empty if it depends on the platform."""
    text = one.form_default or (one.default if isinstance(one.default, str) else "")
    if one.kind.form == "boolean":
        return text == "true"
    if one.kind.form == "number" and text:
        return float(text) if "." in text else int(text)
    return text
