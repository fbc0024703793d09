from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from engines.output import MAX_LINE
from engines.process import EngineProcess, Exit
from engines.process_tree import ProcessTree
from router.pool.interfaces import Unkillable
from tests.engines.trees import WITHIN, StubbornTree, eventually

pytestmark = pytest.mark.process

Spawn = Callable[..., Awaitable[EngineProcess]]

ALL_TRAITS = ("child", "daemon", "ignores")
# Seconds, from before the supervisor's first line to well after all processes run.
MOMENTS = [0.0, 0.01, 0.02, 0.04, 0.08]
ROOT = Path(__file__).parents[2]


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
async def spawn(tree: StubbornTree, lines: Lines) -> AsyncIterator[Spawn]:
    spawned: list[EngineProcess] = []

    async def start(argv: list[str], on_line: Callable[[str], None] = lines) -> EngineProcess:
        spawned.append(await EngineProcess.spawn(argv, tree.env, on_line))
        return spawned[-1]

    yield start
    for process in spawned:
        await process.stop(0)


async def stands(tree: StubbornTree) -> None:
    await asyncio.to_thread(eventually, tree.stands)


async def ends(process: EngineProcess) -> Exit:
    return await asyncio.wait_for(process.exited(), WITHIN)


def script(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def files_of_another_child() -> list[str]:
    code = "import os; fds = (f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd'))"
    code += "; print(*(os.readlink(fd) for fd in fds if os.path.lexists(fd)), sep='\\n')"
    return subprocess.check_output(script(code), close_fds=False, text=True).splitlines()


# The exit


@pytest.mark.parametrize(
    ("trait", "end", "words"),
    [
        ("exit=0", Exit(code=0), "exit status 0"),
        ("exit=1", Exit(code=1), "exit status 1"),
        ("exit=255", Exit(code=255), "exit status 255"),
        ("kill=9", Exit(signal=9), "killed by SIGKILL"),
        ("kill=11", Exit(signal=11), "killed by SIGSEGV"),
        ("kill=40", Exit(signal=40), "killed by signal 40"),
    ],
)
async def test_an_exit_says_how_the_engine_ended(
    spawn: Spawn, tree: StubbornTree, trait: str, end: Exit, words: str
) -> None:
    process = await spawn(tree.argv("child", trait))
    assert await ends(process) == end
    assert str(end) == words


async def test_all_waiters_get_the_exit(spawn: Spawn, tree: StubbornTree) -> None:
    process = await spawn(tree.argv())
    waiters = [asyncio.create_task(process.exited()) for _ in range(3)]
    await stands(tree)
    waiters[0].cancel()
    os.kill(tree.pid("main"), signal.SIGKILL)
    assert await asyncio.gather(*waiters[1:]) == [Exit(signal=9)] * 2
    assert await process.exited() == Exit(signal=9)


async def test_a_missing_executable_is_named_in_the_output(spawn: Spawn, lines: Lines) -> None:
    process = await spawn(["/nowhere/python"])
    assert await ends(process) == Exit(code=127)
    assert lines == ["can't start /nowhere/python: No such file or directory"]


# Stopping


async def test_an_engine_ends_on_request(spawn: Spawn, tree: StubbornTree) -> None:
    process = await spawn(tree.argv("child", "daemon"))
    await stands(tree)
    await process.stop(grace=WITHIN)
    assert await process.exited() == Exit(signal=signal.SIGINT)
    assert tree.is_gone()


class Impatient(EngineProcess):
    """Waits but a moment after the first request to end, and long after the second."""

    asked_again = False

    async def _ends_within(self, seconds: float) -> bool:
        patience = seconds if self.asked_again else 0.01
        self.asked_again = True
        return await super()._ends_within(patience)


async def test_an_engine_that_ignores_interrupts_is_terminated(
    tree: StubbornTree, lines: Lines
) -> None:
    code = "import signal; signal.signal(2, signal.SIG_IGN); print('deaf', flush=True)"
    process = await Impatient.spawn(script(f"{code}; signal.pause()"), tree.env, lines)
    await asyncio.to_thread(eventually, lambda: "deaf" in lines)
    await process.stop(grace=WITHIN)
    assert await process.exited() == Exit(signal=signal.SIGTERM)


async def test_a_process_tree_that_ignores_signals_is_killed(
    spawn: Spawn, tree: StubbornTree
) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await stands(tree)
    await process.stop(grace=0.02)
    assert await process.exited() == Exit(signal=signal.SIGKILL)
    assert tree.is_gone()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_stop_at_any_moment_of_the_start_leaves_nothing(
    spawn: Spawn, tree: StubbornTree, moment: float
) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await asyncio.sleep(moment)
    await process.stop(grace=0)
    assert tree.is_gone()


async def test_simultaneous_stops_join(spawn: Spawn, tree: StubbornTree) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await stands(tree)
    await asyncio.gather(*(process.stop(grace=0.02) for _ in range(5)))
    assert tree.is_gone()
    await process.stop(grace=WITHIN)


async def test_a_cancelled_stop_goes_on(spawn: Spawn, tree: StubbornTree) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await stands(tree)
    stop = asyncio.create_task(process.stop(grace=0.05))
    await asyncio.sleep(0.01)
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    await ends(process)
    await asyncio.to_thread(eventually, tree.is_gone)


async def test_a_frozen_process_tree_is_killed(spawn: Spawn, tree: StubbornTree) -> None:
    process = await spawn(tree.argv("child", "daemon"))
    await stands(tree)
    os.killpg(process.pid, signal.SIGSTOP)
    await process.stop(grace=0)
    assert tree.is_gone()


class Immortal(ProcessTree):
    def kill(self) -> list[int]:
        return [self.group]


async def test_survivors_of_a_kill_are_reported_until_they_are_gone(
    tree: StubbornTree, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    process = await EngineProcess.spawn(tree.argv(), tree.env, lines, kill_after=0.05)
    real_tree, process._tree = process._tree, Immortal(process.pid, "")
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(Unkillable, match=rf"processes \[{process.pid}\] survived SIGKILL"):
        await process.stop(grace=WITHIN)
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    process._tree, process._kill_after = real_tree, WITHIN
    await process.stop(grace=0)
    assert tree.is_gone()


class Hesitant(ProcessTree):
    """The machine stands still while it is killed, and it is gone a moment later."""

    kills = 0

    def kill(self) -> list[int]:
        time.sleep(0.1)
        left = super().kill()
        Hesitant.kills += 1
        return left or [self.group] * (Hesitant.kills < 3)


async def test_a_machine_that_stands_still_does_not_make_a_process_unkillable(
    tree: StubbornTree, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hesitant, "kills", 0)
    process = await EngineProcess.spawn(tree.argv(), tree.env, lines, kill_after=0.05)
    process._tree = Hesitant(process.pid, process._tree.mark)
    os.kill(process.pid, signal.SIGKILL)
    await process.stop(grace=WITHIN)
    assert tree.is_gone()


# Kills from outside


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_supervisor_leaves_no_engine(
    spawn: Spawn, tree: StubbornTree, moment: float
) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await asyncio.sleep(moment * random.uniform(0.8, 1.2))
    os.kill(process.pid, signal.SIGKILL)
    assert await ends(process) == Exit(signal=signal.SIGKILL)
    await process.stop(grace=WITHIN)
    assert tree.is_gone()


async def test_a_killed_supervisor_leaves_no_engine_even_without_a_stop(
    spawn: Spawn, tree: StubbornTree
) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await stands(tree)
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(eventually, tree.is_gone)


async def test_a_killed_main_leaves_no_engine(spawn: Spawn, tree: StubbornTree) -> None:
    process = await spawn(tree.argv(*ALL_TRAITS))
    await stands(tree)
    os.kill(tree.pid("main"), signal.SIGKILL)
    assert await ends(process) == Exit(signal=signal.SIGKILL)
    assert tree.is_gone()


@pytest.mark.parametrize("moment", [*MOMENTS, 0.16, 0.24, 0.32])
def test_a_killed_router_leaves_no_engine(tree: StubbornTree, moment: float) -> None:
    router = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.fake_router", *tree.argv(*ALL_TRAITS)],
        env=tree.env,
        cwd=ROOT,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        router.wait(moment * random.uniform(0.8, 1.2))
    router.kill()
    router.wait()
    eventually(tree.is_gone)


def test_a_router_killed_beside_a_running_engine_leaves_none(tree: StubbornTree) -> None:
    router = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.fake_router", *tree.argv(*ALL_TRAITS)],
        env=tree.env,
        cwd=ROOT,
    )
    eventually(tree.stands)
    router.kill()
    router.wait()
    eventually(tree.is_gone)


# The output


async def test_every_line_is_passed_on_also_those_of_a_progress_bar(
    spawn: Spawn, lines: Lines
) -> None:
    code = r"import sys; sys.stdout.write('one\ntwo\r\n\n 10%\r 20%\rthe end\n')"
    await ends(await spawn(script(code)))
    assert lines == ["one", "two", " 10%", " 20%", "the end"]


async def test_a_last_line_without_an_end_is_kept(spawn: Spawn, lines: Lines) -> None:
    process = await spawn(script("print('no end', end='')"))
    await process.exited()
    await process.stop(0)
    assert lines == ["no end"]


async def test_a_long_line_is_cut_and_bad_bytes_are_replaced(
    spawn: Spawn, lines: Lines
) -> None:
    code = r"import sys; sys.stdout.buffer.write(b'\xff' + b'x' * 1_000_000 + b'\nnext\n')"
    process = await spawn(script(code))
    await ends(process)
    cut, following = lines
    assert cut == "\N{REPLACEMENT CHARACTER}" + "x" * (MAX_LINE - 1) + " [cut]"
    assert following == "next"


async def test_a_flood_does_not_stop_the_engine(spawn: Spawn, lines: Lines) -> None:
    process = await spawn(script("for i in range(200_000): print('line', i)"))
    assert await ends(process) == Exit(code=0)
    assert lines == [f"line {i}" for i in range(200_000)]


async def test_a_reader_that_fails_does_not_stop_the_engine(
    spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def full(line: str) -> None:
        seen.append(line)
        raise OSError("no space left")

    process = await spawn(script("for i in range(3): print(i)"), full)
    assert await ends(process) == Exit(code=0)
    assert seen == ["0", "1", "2"]
    assert "no space left" in caplog.text


async def test_an_engine_may_close_its_output(spawn: Spawn) -> None:
    code = "import os, sys, time; os.closerange(1, 3); time.sleep(0.05); sys.exit(5)"
    assert await ends(await spawn(script(code))) == Exit(code=5)


# Files


async def test_twenty_starts_leave_no_file_open(tree: StubbornTree, lines: Lines) -> None:
    async def live() -> None:
        process = await EngineProcess.spawn(tree.argv(), tree.env, lines)
        await process.stop(grace=0)

    await live()
    before = open_files()
    for _ in range(20):
        await live()
    assert open_files() == before


async def test_a_supervisor_that_can_not_start_leaves_no_file_open(lines: Lines) -> None:
    before = open_files()
    with pytest.raises(OSError, match="too long"):
        await EngineProcess.spawn(["x" * 10_000_000], {}, lines)
    assert open_files() == before


async def test_other_children_do_not_hold_the_lifeline(
    spawn: Spawn, tree: StubbornTree
) -> None:
    await spawn(tree.argv())
    assert not any(name.startswith("socket:") for name in files_of_another_child())
