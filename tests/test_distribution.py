"""What `pip install .` installs, and which versions the lock files pin. `test_wheel.py`
installs it."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import router
from tests.import_graph import ROOT, imports, is_ours, modules, room

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, PROJECT["project"]["dependencies"])
}
OPTIONAL = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, PROJECT["project"]["optional-dependencies"]["otel"])
}
RUNTIME, DEVELOPMENT = "requirements.txt", "tests/requirements.txt"
LOCKS = (
    RUNTIME,
    DEVELOPMENT,
    "requirements-build.txt",
    "tests/image/requirements.txt",
    "tests/audit/requirements.txt",
    "tests/bench/requirements.txt",
    "tests/e2e_ray/requirements.txt",
)


def pins(lock: str) -> dict[str, str]:
    """The versions in a lock file, by the name of the distribution."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def imported(*, by_traces: bool) -> list[set[str]]:
    """The distributions that the router and the engines import, as the alternatives for each
    package."""
    packages = {
        name.partition(".")[0]
        for module in modules()
        for name in imports(module)
        if not is_ours(name) and (room(module) == "traces") is by_traces
    } - {"ray"}  # from an extra that is not installed here (`tests/ray/test_no_cost.py`)
    owners = packages_distributions()
    return [{canonicalize_name(one) for one in owners[package]} for package in packages]


def test_the_declared_dependencies_are_the_packages_that_are_imported() -> None:
    found = imported(by_traces=False)
    assert {min(owners) for owners in found} == DECLARED.keys()


def test_the_extra_has_what_is_imported_for_spans_alone() -> None:
    found = imported(by_traces=True)
    assert all(owners & OPTIONAL.keys() for owners in found)
    assert OPTIONAL.keys() <= set().union(*found)


def test_the_lock_pins_what_is_declared() -> None:
    locked = pins(RUNTIME)
    wrong = {
        name: locked.get(name)
        for name, requirement in (DECLARED | OPTIONAL).items()
        if name not in locked or not requirement.specifier.contains(locked[name])
    }
    assert not wrong, "run `make lock`"


def test_tests_run_with_the_versions_that_the_image_has() -> None:
    assert pins(RUNTIME).items() <= pins(DEVELOPMENT).items(), "run `make lock`"


def test_the_package_is_built_with_the_version_that_pyproject_asks_for() -> None:
    locked = pins("requirements-build.txt")
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_each_pin_and_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_sglang_and_torch_stay_in_an_environment_of_their_own() -> None:
    assert not {"sglang", "torch"} & (pins(RUNTIME).keys() | pins(DEVELOPMENT).keys())


def test_the_image_is_labeled_with_the_version() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f'org.opencontainers.image.version="{router.__version__}"' in dockerfile


def test_the_version_has_a_dated_section_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(rf"^## {re.escape(router.__version__)} - (\S+)$", changelog, re.MULTILINE)
    assert found
    assert date.fromisoformat(found[1])
