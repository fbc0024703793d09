"""Kept kernels are code. These tests show who may write them, and whose engines load them."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import kernel_cache
from engines.command import Device
from engines.engine_user import User
from engines.kernel_archive import UnusableArchive, pack, unpack
from engines.kernel_cache import KernelCache, Kernels, VolumeLease, variables
from engines.launcher import SglangLauncher
from router.downloads.volume_lock import LockContender
from router.models import EngineSpec, ResolvedModel
from router.scheduler.actions import Allotment
from tests.engines.test_remove_tree import deep
from tests.fake_engine import FILE, PYTHON, behaviour

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
UID = 60800
USER = f"{UID}:{UID}"
WITHIN = 90.0  # seconds
ALLOTMENT = Allotment(claim=1, free=1, whole=True)

pytestmark = ROOT


def spec(name: str = "a", *flags: str, listed: bool = True) -> EngineSpec:
    return EngineSpec(ResolvedModel(f"org/{name}", "c" * 40), flags, listed=listed)


def contend(folder: Path) -> Callable[[], VolumeLease | None]:
    return LockContender(folder, "worker").poll


class Machine:
    """Workers with one volume. Each has private directories that end with it."""

    def __init__(self, directory: Path) -> None:
        self.volume = directory / "volume"
        self.volume.mkdir(mode=0o755)

    def worker(self, platform: str = "sglang 1, H200") -> KernelCache:
        return KernelCache(self.volume, platform, contend)

    def archives(self) -> list[Path]:
        return sorted(self.volume.rglob("*.tar"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "private").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "private"))
    return Machine(tmp_path)


def start(worker: KernelCache, model: EngineSpec) -> Kernels:
    kernels = worker.open(model, USER)
    assert kernels is not None
    return kernels


def compiles(kernels: Kernels, name: str, content: str = "code") -> None:
    """Compile a kernel, as an engine does."""
    path = kernels.directory / "triton" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    for made in (path.parent, path):
        os.chown(made, UID, UID)


def ready(worker: KernelCache, kernels: Kernels) -> None:
    kernels.keep()
    if worker.publishing is not None:
        worker.publishing.join(WITHIN)
        worker.publishing = None


def found(kernels: Kernels) -> set[str]:
    return {one.name for one in kernels.directory.rglob("*") if one.is_file()}


def fill(machine: Machine, model: EngineSpec) -> None:
    worker = machine.worker()
    kernels = start(worker, model)
    compiles(kernels, "kernel")
    ready(worker, kernels)
    kernels.close()


def test_what_one_start_compiled_the_next_one_finds_on_any_worker(machine: Machine) -> None:
    fill(machine, spec())
    kernels = start(machine.worker(), spec())
    [file] = (kernels.directory / "triton").iterdir()
    assert (file.read_text(), file.stat().st_uid) == ("code", UID)
    assert kernels.directory.stat().st_uid == UID
    kernels.close()
    assert not kernels.directory.exists()


def test_kernels_lie_where_they_lay_and_are_as_old(machine: Machine) -> None:
    worker = machine.worker()
    first = start(worker, spec())
    compiles(first, "kernel")
    os.utime(first.directory / "triton/kernel", (1e9, 1e9))
    ready(worker, first)
    first.close()
    second = start(machine.worker(), spec())
    assert second.directory == first.directory
    assert (second.directory / "triton/kernel").stat().st_mtime == 1e9
    second.close()


@pytest.mark.parametrize("other", [spec("b"), spec("a", "--dtype", "half")])
def test_no_other_models_engine_finds_them(machine: Machine, other: EngineSpec) -> None:
    fill(machine, spec())
    kernels = start(machine.worker(), other)
    assert found(kernels) == set()
    kernels.close()


def test_no_other_machine_finds_them(machine: Machine) -> None:
    fill(machine, spec())
    kernels = start(machine.worker("sglang 1, L4"), spec())
    assert found(kernels) == set()
    kernels.close()


@pytest.mark.parametrize(
    "stranger", [spec("b", listed=False), spec("b", "--trust-remote-code")]
)
def test_what_is_not_the_operators_or_runs_its_own_code_has_no_part(
    machine: Machine, stranger: EngineSpec
) -> None:
    assert machine.worker().open(stranger, USER) is None


def test_a_worker_that_has_run_a_strangers_engine_keeps_no_more(machine: Machine) -> None:
    worker = machine.worker()
    kernels = start(worker, spec())
    worker.open(spec("b", listed=False), USER)  # it could reach into the copy
    compiles(kernels, "planted")
    ready(worker, kernels)
    kernels.close()
    assert machine.archives() == []


@pytest.mark.parametrize("user", ["", "bare", f"{os.geteuid()}:0"])
def test_an_engine_that_could_write_to_the_volume_has_no_part(
    machine: Machine, user: str
) -> None:
    assert machine.worker().open(spec(), user) is None


def test_an_engine_can_not_enter_the_volume_or_change_its_archive(machine: Machine) -> None:
    fill(machine, spec())
    [archive] = machine.archives()
    for path in (archive, archive.parent, archive.parent.parent):
        status = path.stat()
        assert (status.st_uid, status.st_mode & 0o022) == (0, 0)


@pytest.mark.parametrize("where", ["archive", "folder"])
@pytest.mark.parametrize("how", ["owner", "mode"])
def test_an_archive_that_others_may_have_written_is_not_used(
    machine: Machine, where: str, how: str
) -> None:
    fill(machine, spec())
    [archive] = machine.archives()
    path = archive if where == "archive" else archive.parent
    if how == "owner":
        os.chown(path, UID, UID)
    else:
        path.chmod(0o777)
    kernels = start(machine.worker(), spec())
    assert found(kernels) == set()
    kernels.close()


def test_only_what_is_new_is_written(machine: Machine) -> None:
    fill(machine, spec())
    [archive] = machine.archives()
    before = archive.stat().st_ino
    fill(machine, spec())
    assert archive.stat().st_ino == before
    worker = machine.worker()
    kernels = start(worker, spec())
    compiles(kernels, "another")
    ready(worker, kernels)
    kernels.close()
    again = start(machine.worker(), spec())
    assert found(again) == {"kernel", "another"}
    again.close()


def test_one_worker_at_a_time_writes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(machine, spec())
    [archive] = machine.archives()
    content = archive.read_bytes()
    lease = LockContender(archive.with_suffix(".writer"), "other").poll()
    assert lease is not None
    monkeypatch.setattr(kernel_cache, "_POLLS", 2)
    monkeypatch.setattr(kernel_cache, "_POLL", 0.01)
    worker = machine.worker()
    kernels = start(worker, spec())
    compiles(kernels, "another")
    ready(worker, kernels)
    assert archive.read_bytes() == content
    lease.release()
    ready(worker, kernels)
    assert archive.read_bytes() != content
    kernels.close()


def test_a_holder_that_lost_the_lock_does_not_replace_the_archive(machine: Machine) -> None:
    fill(machine, spec())
    [archive] = machine.archives()
    content = archive.read_bytes()

    class Lost:
        def heartbeat(self) -> None:
            raise OSError("lost")

        def release(self) -> None:
            pass

    worker = KernelCache(machine.volume, "sglang 1, H200", lambda _: Lost)
    kernels = start(worker, spec())
    compiles(kernels, "another")
    ready(worker, kernels)
    kernels.close()
    assert archive.read_bytes() == content
    assert not list(archive.parent.glob("*.part"))


def test_kernels_in_very_deep_directories_are_not_kept(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    worker = machine.worker()
    kernels = start(worker, spec())
    compiles(kernels, "kernel")
    deep(kernels.directory / "triton")
    ready(worker, kernels)
    kernels.close()
    assert "compiled kernels are not kept" in caplog.text
    assert machine.archives() == []
    assert not kernels.directory.exists()


def test_a_damaged_archive_costs_the_kernels_and_not_the_start(machine: Machine) -> None:
    fill(machine, spec())
    [archive] = machine.archives()
    archive.write_bytes(b"no archive" * 100)
    assert machine.worker().open(spec(), USER) is None


def test_two_engines_of_one_model_do_not_share_a_copy(machine: Machine) -> None:
    kernels = start(machine.worker(), spec())
    assert machine.worker().open(spec(), USER) is None
    kernels.close()


# Archives


def engine_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "engine"
    directory.mkdir()
    (directory / "own").write_text("own")
    os.chown(directory / "own", UID, UID)
    return directory


def packed(directory: Path) -> set[str]:
    archive = directory.parent / "packed.tar"
    pack(directory, archive, UID)
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


def test_an_engine_can_not_have_the_routers_files_packed(tmp_path: Path) -> None:
    directory, secret = engine_directory(tmp_path), tmp_path / "secret"
    secret.write_text("secret")
    (directory / "symbolic").symlink_to(secret)
    (directory / "folder").symlink_to(tmp_path)
    os.link(secret, directory / "hard")
    os.mkfifo(directory / "pipe")
    assert packed(directory) == {"own"}


def test_what_is_too_much_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.kernel_archive.MOST_BYTES", 2)
    with pytest.raises(UnusableArchive):
        packed(engine_directory(tmp_path))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("/outside", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("link", tarfile.LNKTYPE),
        ("device", tarfile.CHRTYPE),
    ],
)
def test_nothing_is_unpacked_but_files_within(tmp_path: Path, name: str, kind: bytes) -> None:
    archive, directory = tmp_path / "a.tar", tmp_path / "into"
    directory.mkdir()
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member, io.BytesIO())
    with pytest.raises(UnusableArchive):
        unpack(archive, directory)
    assert not list(directory.iterdir())
    assert not (tmp_path / "outside").exists()


def test_no_unpacked_file_is_set_user_id(tmp_path: Path) -> None:
    archive, directory = tmp_path / "a.tar", tmp_path / "into"
    directory.mkdir()
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("program")
        member.mode = 0o6777
        tar.addfile(member, io.BytesIO())
    unpack(archive, directory)
    assert (directory / "program").stat().st_mode & 0o7022 == 0


def test_every_cache_lies_in_the_private_copy() -> None:
    assert all(value.startswith("/copy") for value in variables(Path("/copy")).values())


# With an engine's process


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Open pytest's own directories, which are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.mark.process
async def test_an_engine_finds_what_the_last_one_compiled(
    open_to_all: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = open_to_all / "model"
    model.mkdir()
    (model / FILE).write_bytes(behaviour(compiles="kernel"))
    monkeypatch.setattr(tempfile, "tempdir", str(open_to_all))
    caplog.set_level("INFO")
    machine = Machine(open_to_all)
    for expected in ("compiled kernel", "found kernel"):
        worker = machine.worker()
        launcher = SglangLauncher(
            python=str(PYTHON),
            environ={"PATH": "/usr/bin:/bin"},
            hf_token=None,
            start_timeout=WITHIN,
            device=Device.CPU,
            user=User(UID, UID),
            kernels=worker,
        )
        if not runs_as_engines_user(launcher, model):
            pytest.skip("the engines' user can't read these tests")
        caplog.clear()
        engine = await launcher.start(spec(), model, ALLOTMENT)
        for _ in range(2):
            await engine.stop()
        assert f"engine[org/a] {expected}" in caplog.messages
        if worker.publishing is not None:
            worker.publishing.join(WITHIN)
    assert not left_in(open_to_all), "a copy was left behind"


def left_in(directory: Path) -> list[Path]:
    return list(directory.glob("router-kernels-*/*/*"))


def runs_as_engines_user(launcher: SglangLauncher, model: Path) -> bool:
    workspace = launcher._workspaces.new(model)
    workspace.clear()
    return workspace.user == USER
