"""The checks of `ENGINE_PYTHON` before anything starts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from engines.interpreter import VERIFIED, Finding, InterpreterCheck
from router.config.errors import SettingsError
from tests.e2e_sglang.harness import PYTHON as REAL
from tests.eventually import eventually
from tests.fake_engine import PYTHON as FAKE

ENVIRON = {"PATH": os.environ["PATH"]}

Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Make an interpreter from a few lines of shell."""

    def make(lines: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return str(path)

    return make


def check(python: str, patience: float = 90.0, **environ: str) -> Finding:
    return InterpreterCheck.begin(python, ENVIRON | environ).finish(patience)


def test_an_interpreter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    for python in ("/no/such/python", f"{tmp_path}/{300 * 'x'}", "no-such-python"):
        with pytest.raises(SettingsError, match=r"ENGINE_PYTHON='.*there is no such file"):
            check(python)


def test_a_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\n")
    with pytest.raises(SettingsError, match="this file is not executable"):
        check(str(tmp_path / "python"))


@pytest.mark.process
def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").write_bytes(b"\x00\x01")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(SettingsError, match="Exec format error"):
        check(str(tmp_path / "python"))


@pytest.mark.process
def test_a_python_without_sglang_is_named_with_what_helps() -> None:
    with pytest.raises(SettingsError, match="this one has none"):
        check(sys.executable)


@pytest.mark.process
def test_a_wrapper_around_nothing_is_named(script: Script) -> None:
    with pytest.raises(SettingsError, match="not found"):
        check(script("exec /no/such/python"))


@pytest.mark.process
def test_a_package_on_the_path_counts_without_a_version(tmp_path: Path) -> None:
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "__init__.py").write_text("raise SystemExit('not imported')")
    found = check(sys.executable, PYTHONPATH=str(tmp_path))
    assert (found.is_warning, "an unknown version" in found.text) == (True, True)


@pytest.mark.process
def test_another_version_is_a_warning_that_names_both(script: Script) -> None:
    found = check(script("""echo '{"sglang": true, "version": "0.6.1"}'"""))
    assert found == Finding(
        f"engines run SGLang 0.6.1; this worker was tested with {VERIFIED}",
        is_warning=True,
        version="0.6.1",
    )


@pytest.mark.process
def test_an_answer_after_many_warnings_counts(script: Script) -> None:
    warns = "for number in $(seq 1000); do echo warning $number >&2; done"
    found = check(script(f"""{warns}; echo '{{"sglang": true, "version": "{VERIFIED}"}}'"""))
    assert found == Finding(
        f"engines run SGLang {VERIFIED}", is_warning=False, version=VERIFIED
    )
    with pytest.raises(SettingsError, match="this one has none"):
        check(script(f"""{warns}; echo '{{"sglang": false}}'"""))


@pytest.mark.process
@pytest.mark.parametrize("lines", ["exit 3", "echo hello", "echo '[1, 2]'", "echo '{}'"])
def test_a_wrapper_that_can_only_start_engines_is_a_warning(script: Script, lines: str) -> None:
    assert check(script(lines)).is_warning


@pytest.mark.process
async def test_an_interpreter_that_hangs_holds_up_the_start_for_a_bounded_time(
    script: Script, tmp_path: Path
) -> None:
    python = script(f"sleep 600 & echo $$ > {tmp_path}/pid; wait")
    checking = InterpreterCheck.begin(python, ENVIRON)
    await eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    found = await asyncio.to_thread(checking.finish, 0.5)
    assert found == Finding(
        "ENGINE_PYTHON did not report its SGLang version within 0.5 s", True
    )
    group = int((tmp_path / "pid").read_text())
    # A killed process is gone after a moment.
    await eventually(lambda: not [p for p in psutil.process_iter() if _is_alive_in(group, p)])


def _is_alive_in(group: int, process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.process
def test_it_sees_no_secret_of_the_worker(script: Script, tmp_path: Path) -> None:
    check(script(f"env > {tmp_path}/env"), HF_TOKEN="secret", API_KEYS="secret")
    assert "secret" not in (tmp_path / "env").read_text()


@pytest.mark.process
def test_the_tests_own_interpreters_are_known() -> None:
    text = f"engines run SGLang {VERIFIED}"
    for python, has_saver in ((FAKE, True), (REAL, False)):
        found = replace(check(str(python)), lacks=())
        assert found == Finding(text, False, has_saver, VERIFIED, has_gate=True)


@pytest.mark.process
def test_a_memory_saver_on_the_path_is_seen_and_not_imported(tmp_path: Path) -> None:
    for name in ("sglang", "torch_memory_saver"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not imported')")
    assert check(sys.executable, PYTHONPATH=str(tmp_path)).has_saver


@pytest.mark.process
@pytest.mark.parametrize("has", [True, False])
def test_a_gate_is_found_without_an_import_of_sglang(tmp_path: Path, *, has: bool) -> None:
    """An older SGLang would exit because of the unknown flag."""
    package = tmp_path / "sglang"
    module = package / "srt/distributed/gated_launch.py"
    module.parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('not imported')")
    if has:
        module.touch()
    assert check(sys.executable, PYTHONPATH=str(tmp_path)).has_gate is has


@pytest.mark.process
@pytest.mark.parametrize("said", ["false", '"yes"', "1"])
def test_engines_sleep_only_where_the_saver_is_said_to_be_there(
    script: Script, said: str
) -> None:
    line = f'{{"sglang": true, "version": "{VERIFIED}", "memory_saver": {said}}}'
    assert not check(script(f"echo '{line}'")).has_saver


@pytest.mark.process
def test_it_tells_what_it_lacks_of_what_tokenizers_need(script: Script) -> None:
    answer = '{"sglang": true, "version": "9", "lacks": ["jieba", "torch", 1]}'
    assert check(script(f"echo '{answer}'")).lacks == ("jieba",)
    assert check(script("""echo '{"sglang": true, "lacks": "jieba"}'""")).lacks == ()
    assert "sentencepiece" not in check(str(REAL)).lacks
