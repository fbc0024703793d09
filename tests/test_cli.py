from __future__ import annotations

import io
import os
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engines import flags
from router.app.configuration import Configuration
from router.cli import main
from router.commands.run import _forget_empty
from router.commands.serve import _check_cache
from router.commands.variables import misspelled_variables
from router.config.errors import SettingsError
from router.config.settings import SETTINGS
from router.downloads.snapshots import Snapshots
from router.http.open_files import NEEDED, raise_open_files
from router.scheduler import actions, events
from router.scheduler.history import History, Stage
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.scheduler.trace import Journal, replay
from tests.fake_engine import PYTHON
from tests.pool.fakes import spec

ROOT = Path(__file__).parents[1]


def test_an_empty_variable_is_unset_for_the_libraries_too() -> None:
    environ = {"SSL_CERT_FILE": "", "HF_HOME": "", "HF_TOKEN": "set", "OTHERS": ""}
    _forget_empty(environ)
    assert environ == {"HF_TOKEN": "set", "OTHERS": ""}


def test_as_many_files_may_be_open_as_it_takes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        assert raise_open_files() == min(hard, NEEDED)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (raise_open_files(), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_settings_that_can_not_be_used_are_named_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAX_QUEUE", "many")
    assert main(["serve"]) == 2
    assert "MAX_QUEUE='many': must be a whole number" in capsys.readouterr().err


def test_a_cache_that_can_not_be_written_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert main(["serve"]) == 2
    assert "HF_HUB_CACHE" in (said := capsys.readouterr().err)
    assert "a directory to write to: Not a directory" in said


def test_a_default_model_on_the_disk_needs_no_cache_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    baked, commit = tmp_path / "models", "a" * 40
    Snapshots(baked).path("org/model", commit).mkdir(parents=True)
    Snapshots(baked).seal("org/model", commit, ())
    environ = {
        "HOME": str(tmp_path),
        "HF_HUB_CACHE": str(tmp_path / "file"),
        "BAKED_MODELS": str(baked),
    }
    for name in ("org/model", f"org/model@{commit}", str(baked)):
        [warning] = _check_cache(Configuration.read(environ | {"MODEL_NAME": name}))
        assert f"nothing can be downloaded to {tmp_path}/file: File exists" in warning
    for name in ("org/other", f"org/model@{'b' * 40}"):
        with pytest.raises(SettingsError, match="File exists"):
            _check_cache(Configuration.read(environ | {"MODEL_NAME": name}))


@pytest.mark.process
@pytest.mark.parametrize("command", ["serve", "runpod"])
def test_a_worker_without_sglang_ends_with_a_hint(tmp_path: Path, command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "router", command],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "ENGINE_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert ended.returncode == 2
    assert "ENGINE_PYTHON" in ended.stderr
    assert "must be a Python that has SGLang" in ended.stderr


@pytest.mark.process
def test_help_and_the_version_need_none_of_what_the_commands_import() -> None:
    heavy = {"aiohttp", "huggingface_hub", "pydantic", "runpod", "uvloop", "yaml"}
    script = (
        "import sys, router.cli\n"
        "try: router.cli.main(sys.argv[1:])\n"
        "finally: print(*sys.modules)"
    )
    for arguments in (["--help"], ["serve", "--help"], ["--version"]):
        ended = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "model-router" in ended.stdout
        assert not heavy & set(ended.stdout.splitlines()[-1].split())


@pytest.mark.process
def test_a_worker_needs_none_of_what_other_commands_import() -> None:
    elsewhere = (
        "rich",
        "ray",
        "router.commands",
        "router.ray",
        "router.fleet",
        "router.app.fleet",
    )
    script = (
        "import sys, router.commands.serve, router.runpod.worker\n"
        f"print(*(name for name in sys.modules if name.startswith({elsewhere})))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    own = {"serve", "starting", "variables"}
    assert set(ended.stdout.split()) == {
        "router.commands",
        *(f"router.commands.{name}" for name in own),
    }


def test_help_lists_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    most_used = [one.name for one in SETTINGS.values() if one.most_used]
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [name for name in most_used if f"  {name}" not in lines] == []


@pytest.mark.parametrize("command", ["serve", "runpod"])
def test_a_workers_help_lists_each_setting_once_the_most_used_first(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    shown = [
        line.split()[-1] for line in lines if re.fullmatch(r"  --[a-z0-9-]+, [A-Z_0-9]+", line)
    ]
    alone = [line.split()[0] for line in lines if line.endswith(" (no option)")]
    every = {**SETTINGS, **flags.SETTINGS}
    assert sorted([*shown, *alone]) == sorted(every)
    assert set(alone) == {name for name, one in every.items() if one.secret}
    most_used = [one.name for one in SETTINGS.values() if one.most_used and not one.secret]
    assert shown[: len(most_used)] == most_used


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DISABLE_RADIX_CACHE", "enabled", "DISABLE_RADIX_CACHE='enabled': must be true or"),
        ("GPU_MEMORY_BUDGET", "75", "GPU_MEMORY_BUDGET='75': must be a size with a unit"),
        ("ENGINE_ARGS", "--port 1", "ENGINE_ARGS='--port': must be without --port"),
        (
            "MODELS_CONFIG",
            "[{model: a/b, flags: {host: x}}]",
            "entry 1 (a/b): flags='--host': must be",
        ),
        (
            "MODELS_CONFIG",
            "[{model: a/b, size: 1}]",
            "entry 1 (a/b): unknown key 'size': keys",
        ),
    ],
)
def test_bad_settings_are_one_line_and_exit_code_2(
    name: str,
    value: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["serve"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_misspelled_variable_is_told_of_without_its_value() -> None:
    token = "hf_" + "a1" * 16
    environ = {"HF_TOKN": token, "MAX_QUEUES": "", "API_KEY": token, "HF_TOKEN_B": token}
    environ["MODELS_CONFIG"] = "[{model: org/name, token_env: HF_TOKEN_B}]"
    warnings = list(misspelled_variables(Configuration.read(environ)))
    assert warnings == ["HF_TOKN is not a setting, and is ignored: did you mean HF_TOKEN?"]


def test_an_option_overrides_its_variable_and_is_read_like_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAX_QUEUE", "7")
    monkeypatch.setenv("PORT", "7000")
    assert main(["serve", "--max-queue", "many", "--port", "9000"]) == 2
    assert "MAX_QUEUE='many': must be a whole number" in capsys.readouterr().err
    assert os.environ["PORT"] == "9000"


def test_a_flag_needs_no_value_and_may_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_QUEUE", "")  # so that monkeypatch restores it
    for given, text in (([], "true"), (["no"], "no")):
        monkeypatch.setenv("HF_HUB_OFFLINE", "")
        main(["serve", "--hf-hub-offline", *given, "--max-queue=x"])
        assert os.environ["HF_HUB_OFFLINE"] == text


def test_an_engines_flag_is_an_option_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINE_ARGS", "")
    assert main(["serve", "--engine-args=--port 1"]) == 2
    assert "ENGINE_ARGS='--port'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--hf-token", "--api-keys", "--hf-tokn"])
def test_a_secret_is_no_option_and_is_not_repeated(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    token = "hf_" + "a1" * 16
    with pytest.raises(SystemExit) as left:
        main(["serve", option, token])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert token not in said
    assert option in said


@pytest.mark.process
def test_the_log_tells_of_a_misspelled_variable_at_start(tmp_path: Path) -> None:
    token = "hf_" + "a1" * 16
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = subprocess.run(
            [sys.executable, "-m", "router", "serve"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PORT": str(taken.getsockname()[1]),
                "ENGINE_PYTHON": str(PYTHON),
                "HF_TOKN": token,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
    assert ended.returncode == 1  # it can't listen
    assert "HF_TOKN is not a setting, and is ignored: did you mean HF_TOKEN?" in ended.stderr
    assert token not in ended.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (["serve"], "HF_ENDPOINT", "http://hub:port"),
        (["check", "org/name"], "HF_ENDPOINT", "http://hub:port"),
        (["cache", "ls"], "HF_HUB_DOWNLOAD_TIMEOUT", "10s"),
    ],
)
def test_a_variable_that_the_hubs_client_refuses_is_one_line(
    tmp_path: Path, command: list[str], name: str, value: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "router", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "huggingface_hub" in ended.stderr


def test_a_journal_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "/not/there"]) == 2
    assert "/not/there" in capsys.readouterr().err


def test_a_mistyped_command_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["server"])
    assert left.value.code == 2
    assert "serve" in capsys.readouterr().err


def test_a_journal_can_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as stream:
        journal = Journal(stream, Limits(budget=1))
        journal(1.0, events.Wanted(1, 1, spec("a"), "payer", 60.0))
    assert main(["replay", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "Wanted(waiter=1" in shown
    assert "-> Fetch(" in shown


def test_a_replay_knows_what_the_worker_knew_of_earlier_starts() -> None:
    model, stream = spec("a"), io.StringIO()
    earlier = History()
    earlier.took(Stage.START, model.key, 1, 200.0)
    limits = Limits(budget=10)
    journal = Journal(stream, limits, earlier.take_news())
    scheduler = Scheduler(limits, earlier)
    for now, event in (
        (1.0, events.Wanted(1, 1, model, "", 60.0)),
        (2.0, events.Fetched(model.key, 1, Path("/s"), 1)),
        (3.0, events.Measured(10)),
        (60.0, events.Tick()),
    ):
        journal(now, event)
        done = scheduler.handle(event, now)
    *_, last = replay(stream.getvalue().splitlines())
    [failed], [replayed] = done, last.actions
    assert isinstance(failed, actions.Fail)
    assert isinstance(replayed, actions.Fail)
    assert replayed.error.retry_after == failed.error.retry_after


def test_a_replay_learns_what_the_worker_learned_of_other_workers() -> None:
    other, stream = History(), io.StringIO()
    other.took(Stage.START, spec("a").key, 1, 200.0)
    learned = events.Learned(tuple(other.take_news()))
    Journal(stream, Limits(budget=10))(1.0, learned)
    [step] = replay(stream.getvalue().splitlines())
    assert step.event == learned


def test_a_journal_that_a_killed_worker_left_is_replayed_up_to_the_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as stream:
        journal = Journal(stream, Limits(budget=1))
        journal(1.0, events.Wanted(1, 1, spec("a"), "payer", 60.0))
        stream.write('[2.0, {"Tic')
    assert main(["replay", str(path)]) == 2
    shown = capsys.readouterr()
    assert "-> Fetch(" in shown.out
    assert shown.err == f"{path} can't be replayed: line 3 is not a whole line of JSON\n"


@pytest.mark.parametrize(
    "line",
    [
        '{"budget": 1, "of_a_later_version": 2}',
        '[1.0, {"OfALaterVersion": {}}]',
        '[1.0, {"Tick": {"of_a_later_version": 1}}]',
        '[1.0, {"Wanted": {"waiter": 1}}]',
        '[1.0, {"FetchFailed": {"key": 1, "error": {"code": "of_a_later_version"}}}]',
        *("[1.0]", "[]", "1", "null", '"x"', "[1.0, {}]", '[1.0, {"Tick": {}, "Thawed": {}}]'),
    ],
)
def test_a_journal_of_another_version_is_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as stream:
        Journal(stream, Limits(budget=1))
        stream.write(line + "\n")
    assert main(["replay", str(path)]) == 2
    shown = capsys.readouterr().err
    assert f"{path} can't be replayed: line 2 is not of this version of the router" in shown


@pytest.mark.process
@pytest.mark.parametrize("start", [["-m", "router"], [".runpod/handler.py"]])
def test_the_hubs_handler_starts_what_the_command_starts(start: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, *start],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "none"},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert ended.returncode == 2
    assert "PORT='none'" in ended.stderr


def test_a_journal_that_can_not_be_written_ends_and_the_pool_goes_on() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    journal = Journal(Full(), Limits(budget=1))
    journal(1.0, events.Tick())


def test_a_journal_holds_one_run_after_the_other() -> None:
    stream = io.StringIO()
    for run in (1.0, 2.0):
        Journal(stream, Limits(budget=1))(run, events.Wanted(1, 1, spec("a"), "", 60.0))
    steps = list(replay(stream.getvalue().splitlines()))
    assert [step.now for step in steps] == [1.0, 2.0]
    assert [len(step.actions) for step in steps] == [1, 1]
