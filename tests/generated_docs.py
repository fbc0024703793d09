"""`make docs`: write the documents generated from the code into the repository."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from engines import flags
from router.config import keys_schema, listing
from router.config.models_schema import GroupEntry, ModelEntry, schema
from router.config.settings import SETTINGS
from tests.import_graph import ROOT, drawing

README = ROOT / "README.md"
REFERENCE = ROOT / "docs/settings.md"
SCHEMA = ROOT / "docs/models.schema.json"
SHARING = ROOT / "docs/sharing.md"
KEYS_SCHEMA = ROOT / "docs/keys.schema.json"
HUB = ROOT / ".runpod/hub.json"


def generated() -> Iterator[tuple[Path, str]]:
    """Each file with generated parts, and its whole new text."""
    ours = list(SETTINGS.values())
    few = [one for one in ours if one.most_used]
    reference = between(REFERENCE.read_text(), "settings", listing.sections(ours))
    reference = between(reference, "engine-flags", listing.table(flags.SETTINGS.values()))
    reference = between(reference, "models-file", keys_of(ModelEntry))
    yield REFERENCE, between(reference, "groups", keys_of(GroupEntry))
    short = f"{listing.table(few)}\n\nAll settings: [docs/settings.md](docs/settings.md)."
    yield README, between(README.read_text(), "settings", short)
    yield SCHEMA, json.dumps(schema(), indent=2) + "\n"
    rows = keys_of(keys_schema.KeyEntry)
    yield SHARING, between(SHARING.read_text(), "keys-file", rows)
    yield KEYS_SCHEMA, json.dumps(keys_schema.schema(), indent=2) + "\n"
    yield HUB, with_form(HUB.read_text(), listing.form([*ours, *flags.SETTINGS.values()]))
    rooms = ROOT / "router/README.md"
    yield rooms, between(rooms.read_text(), "imports", drawing())


def keys_of(entry: type[BaseModel]) -> str:
    """A row in Markdown for each key of an entry."""
    keys = entry.model_fields.items()
    rows = [f"| `{name}` | {field.description} |" for name, field in keys]
    return "\n".join(["| key | meaning |", "|---|---|", *rows])


def with_form(hub: str, form: object) -> str:
    """hub.json with this `env`. The rest is written by hand and stays unchanged."""
    lines = json.dumps({"env": form}, indent=2, ensure_ascii=False).splitlines()[1:-1]
    env = "\n".join(f"  {line}" for line in lines)
    option = r'\{\s+("label": .*),\s+("value": .*)\s+\}'
    env = re.sub(option, r"{\1, \2}", env)
    found = re.fullmatch(r'(.*\n)    "env": \[.*?\n    \](.*)', hub, re.DOTALL)
    if found is None:
        raise ValueError("hub.json needs an `env` that is indented by 4")
    return f"{found[1]}{env}{found[2]}"


def between(text: str, name: str, new: str) -> str:
    """The text with `new` between its marks `<!-- name:begin -->` and `<!-- name:end -->`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    parts = re.split(f"({begin}|{end})", text)
    if parts[1::2] != [begin, end]:
        raise ValueError(f"needed once each, in this order: {begin} and {end}")
    return f"{parts[0]}{begin}\n{new}\n{end}{parts[4]}"


if __name__ == "__main__":
    for file, text in generated():
        file.write_text(text)
