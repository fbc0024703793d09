"""The documents match the code: blocks run, names exist, links resolve."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from opentelemetry.sdk import environment_variables

from engines.flags import FLAGS, GONE, GONE_VALUES
from router.config import keys_file, models_file
from router.config.settings import SETTINGS, Settings
from router.errors import QueueFull, RouterError
from router.requests.dialects import ANTHROPIC, OPENAI, RESPONSES, Problem
from router.requests.routes import ROUTES
from router.runpod.inputs import ListModels, read
from tests.import_graph import arrows

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "router/README.md", *ROOT.glob("docs/*.md")])
TEXTS = {str(file.relative_to(ROOT)): file.read_text() for file in DOCUMENTS}
# A "`path`" may start at the repository, or at the folder in a table's header.
STARTS = (ROOT, ROOT / "tests")
FOLDERS = ("router", "engines", "tests", "docs", "examples", ".runpod")

# Variables that others define: the platform, the shell, the Dockerfile, the commands.
OTHERS = {
    *("RUNPOD_INIT_TIMEOUT", "NO_COLOR", "ORG_TOKEN", "MIN_RESIDENCY", "MODEL_ROUTER_URL"),
    *(
        "CUDA_VISIBLE_DEVICES",
        "PYTORCH_ALLOC_CONF",
        "ENDPOINT_URL",
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_TMPDIR",
    ),
}

each = pytest.mark.parametrize("name", TEXTS)


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of one language; "" for those without one."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXTS[name], re.MULTILINE | re.DOTALL)
    return [content for kind, content in found if kind == language]


def prose(name: str) -> str:
    return re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)


def quoted(name: str) -> set[str]:
    """The texts in backticks."""
    return set(re.findall(r"`([^`\n]+)`", prose(name)))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes from headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def jobs() -> list[dict[str, object]]:
    lines = "".join(blocks("docs/runpod.md", "json")).splitlines()
    return [json.loads(line)["input"] for line in lines]


def test_the_documents_show_every_kind_of_job() -> None:
    assert len(jobs()) >= 6
    routes = {"list" if isinstance(r, ListModels) else r.route for r in map(read, jobs())}
    assert routes > {"list", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"}
    assert routes - {"list"} <= set(ROUTES)
    assert ListModels("Qwen/Qwen3-0.6B", None) in map(read, jobs())


def test_the_readme_shows_the_models_file_of_the_examples() -> None:
    (block,) = blocks("README.md", "yaml")
    assert models_file.parse(block) == models_file.parse(
        (ROOT / "examples/models.yaml").read_text()
    )


def test_the_document_shows_a_file_of_keys_that_can_be_read() -> None:
    (block,) = blocks("docs/sharing.md", "yaml")
    assert block.startswith("# yaml-language-server: $schema=keys.schema.json")
    environ = {"BILLING_KEY": "long-enough"}
    assert [one.name for one in keys_file.parse(block, environ).keys] == ["billing", "intern"]


@each
def test_python_in_a_document_compiles(name: str) -> None:
    for block in blocks(name, "python"):
        ast.parse(block)


@each
def test_settings_in_a_command_line_have_values_that_the_code_takes(name: str) -> None:
    for block in blocks(name, ""):
        for line in block.replace("\\\n", "").splitlines():
            words = re.match(r"((?:[A-Z_]+=\S+ +)+)(?:model-router|python -m router)", line)
            if words:
                pairs = dict(word.split("=", 1) for word in words[1].split())
                assert set(pairs) <= set(SETTINGS)
                Settings.from_environ(pairs)


@each
def test_a_setting_that_a_document_names_exists(name: str) -> None:
    known = {*FLAGS, "ENGINE_ARGS", *GONE, *OTHERS}
    known |= {name for one in SETTINGS.values() for name in one.names}
    known |= set(vars(environment_variables))  # of OpenTelemetry's SDK
    named = {
        match[1]
        for text in quoted(name)
        if (match := re.match(r"([A-Z0-9]+_[A-Z0-9_]+)\b", text))
    }
    assert named - known == set()


def test_the_notes_on_the_former_worker_name_all_that_is_ignored() -> None:
    assert set(GONE) <= quoted("docs/migrating.md")
    for variable, value in GONE_VALUES:
        assert re.search(
            rf"^\| `{variable}`:.*`{value}`", TEXTS["docs/migrating.md"], re.MULTILINE
        )


def errors(of: type[RouterError] = RouterError) -> set[tuple[str, int]]:
    own = {(of.code, of.status)} if hasattr(of, "code") else set()
    return own.union(*map(errors, of.__subclasses__()))


def test_the_table_of_errors_is_the_tree_of_errors() -> None:
    table = re.search(
        r"^\| code \| status \|.*?(?=^$)", TEXTS["docs/errors.md"], re.MULTILINE | re.DOTALL
    )
    assert table is not None
    shown = set()
    for row in table[0].splitlines()[2:]:
        _, codes, statuses, *_ = row.split("|")
        names = re.findall(r"`(\w+)`", codes)
        numbers = [int(number) for number in statuses.split(",")]
        assert len(numbers) in (1, len(names))
        shown |= set(zip(names, numbers * (len(names) // len(numbers)), strict=True))
    assert shown == errors()


def test_the_forms_of_errors_are_those_of_the_dialects() -> None:
    problem = Problem.of(QueueFull("Too many requests are waiting.", retry_after=2))
    event = RESPONSES.events(problem, 7).partition(b"data: ")[2]
    forms = (OPENAI.body(problem), event, ANTHROPIC.body(problem))
    shown = blocks("docs/errors.md", "json")
    assert [json.loads(block) for block in shown] == [json.loads(form) for form in forms]


def test_what_the_operator_can_do_is_told_of_codes_that_exist() -> None:
    table = TEXTS["docs/errors.md"].partition("## What the operator can do")[2]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named <= {code for code, _ in errors()}
    assert len(named) > 10


@each
def test_a_file_that_a_document_names_exists(name: str) -> None:
    for text in quoted(name):
        listed = re.fullmatch(r"[\w.-]+(?:/[\w.-]+)*/?", text) and (
            text.split("/")[0] in FOLDERS or ("/" in text and text.endswith((".py", ".md")))
        )
        if listed and not text.startswith("router."):
            assert any((start / text).exists() for start in STARTS), text


@each
def test_a_make_target_that_a_document_names_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        word
        for text in re.findall(r"(?:`|^)make ([^`#\n]+)", TEXTS[name], re.MULTILINE)
        for word in text.split()
        if "=" not in word
    }
    assert named <= targets


def test_a_test_that_the_makefile_names_exists() -> None:
    named = re.findall(r"tests/[\w/]+\.py", (ROOT / "Makefile").read_text())
    assert named
    assert [test for test in named if not (ROOT / test).is_file()] == []


def test_the_tests_that_show_a_promise_are_there() -> None:
    named = {
        test
        for name in ("router/README.md", "SECURITY.md")
        for test in re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)`", TEXTS[name])
    }
    assert len(named) > 40
    assert {test for test in named if not (ROOT / "tests" / test).is_file()} == set()


def test_the_map_shows_every_room() -> None:
    chapter = TEXTS["router/README.md"].partition("## The map")[2].partition("\nImports")[0]
    named = {Path(text).stem for text in re.findall(r"`((?:router|engines)/[\w/.]*)`", chapter)}
    assert named == set(arrows()) - {"router", "__init__"}


@each
def test_a_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text()), target
