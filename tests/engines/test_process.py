from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from engines.output import LINE_MAX, TAIL
from engines.process import EngineProcess, Exit
from engines.process_tree import Kin
from router.pool.interfaces import Unkillable
from tests.engines.kinship import WITHIN, Family, eventually

Spawn = Callable[..., Awaitable[EngineProcess]]

EVERYBODY = ("child", "daemon", "deaf")
# From before the guard's first line to well after the whole family stands.
MOMENTS = [0.0, 0.01, 0.02, 0.04, 0.08]
ROOT = Path(__file__).parents[2]


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
async def spawn(family: Family, lines: Lines) -> AsyncIterator[Spawn]:
    spawned: list[EngineProcess] = []

    async def start(argv: list[str], on_line: Callable[[str], None] = lines) -> EngineProcess:
        spawned.append(await EngineProcess.spawn(argv, family.env, on_line))
        return spawned[-1]

    yield start
    for process in spawned:
        await process.stop(0)


async def stands(family: Family) -> None:
    await asyncio.to_thread(eventually, family.stands)


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


# How it ended


@pytest.mark.parametrize(
    ("trait", "end", "words"),
    [
        ("exit=0", Exit(code=0), "exit status 0"),
        ("exit=1", Exit(code=1), "exit status 1"),
        ("kill=9", Exit(signal=9), "killed by SIGKILL"),
        ("kill=11", Exit(signal=11), "killed by SIGSEGV"),
        ("kill=40", Exit(signal=40), "killed by signal 40"),
    ],
)
async def test_an_exit_says_how_it_was(
    spawn: Spawn, family: Family, trait: str, end: Exit, words: str
) -> None:
    process = await spawn(family.argv("child", trait))
    assert await ends(process) == end
    assert str(end) == words


async def test_everybody_who_waits_for_the_exit_is_told(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv())
    waiters = [asyncio.create_task(process.exited()) for _ in range(3)]
    await stands(family)
    waiters[0].cancel()
    os.kill(family.pid("main"), signal.SIGKILL)
    assert await asyncio.gather(*waiters[1:]) == [Exit(signal=9)] * 2
    assert await process.exited() == Exit(signal=9)


async def test_an_engine_that_is_not_there_is_named_in_the_log(spawn: Spawn) -> None:
    process = await spawn(["/nowhere/python"])
    assert await ends(process) == Exit(code=127)
    assert process.tail == ["can't start /nowhere/python: No such file or directory"]


# Stopping


async def test_a_polite_engine_ends_on_request(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv("child", "daemon"))
    await stands(family)
    await process.stop(grace=WITHIN)
    assert await process.exited() == Exit(signal=signal.SIGINT)
    assert family.is_gone()


async def test_an_engine_deaf_to_interrupts_is_terminated(spawn: Spawn, lines: Lines) -> None:
    code = "import signal; signal.signal(2, signal.SIG_IGN); print('deaf', flush=True)"
    process = await spawn(script(f"{code}; signal.pause()"))
    await asyncio.to_thread(eventually, lambda: "deaf" in lines)
    await process.stop(grace=0.2)
    assert await process.exited() == Exit(signal=signal.SIGTERM)


async def test_a_deaf_family_is_killed_whole(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await stands(family)
    await process.stop(grace=0.02)
    assert await process.exited() == Exit(signal=signal.SIGKILL)
    assert family.is_gone()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_stop_at_any_moment_of_the_start_leaves_nothing(
    spawn: Spawn, family: Family, moment: float
) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await asyncio.sleep(moment)
    await process.stop(grace=0)
    assert family.is_gone()


async def test_stops_join(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await stands(family)
    await asyncio.gather(*(process.stop(grace=0.02) for _ in range(5)))
    assert family.is_gone()
    await process.stop(grace=WITHIN)


async def test_a_cancelled_stop_goes_on(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await stands(family)
    stop = asyncio.create_task(process.stop(grace=0.05))
    await asyncio.sleep(0.01)
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    await ends(process)
    await asyncio.to_thread(eventually, family.is_gone)


async def test_a_frozen_family_is_killed_too(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv("child", "daemon"))
    await stands(family)
    os.killpg(process.pid, signal.SIGSTOP)
    await process.stop(grace=0)
    assert family.is_gone()


class Immortal(Kin):
    def kill(self) -> list[int]:
        return [self.group]


async def test_survivors_of_a_kill_are_reported_until_they_are_gone(
    family: Family, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    process = await EngineProcess.spawn(family.argv(), family.env, lines, kill_after=0.05)
    mortal, process._kin = process._kin, Immortal(process.pid, "")
    with pytest.raises(Unkillable, match=rf"processes \[{process.pid}\] survived SIGKILL"):
        await process.stop(grace=0)
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    process._kin = mortal
    await process.stop(grace=0)
    assert family.is_gone()


# Whoever is killed


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_guard_leaves_no_engine(
    spawn: Spawn, family: Family, moment: float
) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await asyncio.sleep(moment * random.uniform(0.8, 1.2))
    os.kill(process.pid, signal.SIGKILL)
    assert await ends(process) == Exit(signal=signal.SIGKILL)
    await process.stop(grace=WITHIN)
    assert family.is_gone()


async def test_a_killed_guard_leaves_no_engine_though_nobody_calls_stop(
    spawn: Spawn, family: Family
) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await stands(family)
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(eventually, family.is_gone)


async def test_a_killed_main_leaves_no_engine(spawn: Spawn, family: Family) -> None:
    process = await spawn(family.argv(*EVERYBODY))
    await stands(family)
    os.kill(family.pid("main"), signal.SIGKILL)
    assert await ends(process) == Exit(signal=signal.SIGKILL)
    assert family.is_gone()


@pytest.mark.parametrize("moment", [*MOMENTS, 0.16, 0.24, 0.32])
def test_a_killed_router_leaves_no_engine(family: Family, moment: float) -> None:
    router = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.router_double", *family.argv(*EVERYBODY)],
        env=family.env,
        cwd=ROOT,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        router.wait(moment * random.uniform(0.8, 1.2))
    router.kill()
    router.wait()
    eventually(family.is_gone)


def test_a_router_killed_beside_a_running_engine_leaves_none(family: Family) -> None:
    router = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.router_double", *family.argv(*EVERYBODY)],
        env=family.env,
        cwd=ROOT,
    )
    eventually(family.stands)
    router.kill()
    router.wait()
    eventually(family.is_gone)


# The log


async def test_every_line_arrives_also_those_of_a_progress_bar(
    spawn: Spawn, lines: Lines
) -> None:
    code = r"import sys; sys.stdout.write('one\ntwo\r\n\n 10%\r 20%\rthe end\n')"
    await ends(await spawn(script(code)))
    assert lines == ["one", "two", " 10%", " 20%", "the end"]


async def test_a_last_line_without_an_end_is_kept(spawn: Spawn) -> None:
    process = await spawn(script("print('no end', end='')"))
    await process.exited()
    await process.stop(0)
    assert process.tail == ["no end"]


async def test_a_long_line_is_cut_and_bad_bytes_are_replaced(spawn: Spawn) -> None:
    code = r"import os; os.write(1, b'\xff' + b'x' * 1_000_000 + b'\nnext\n')"
    process = await spawn(script(code))
    await ends(process)
    cut, following = process.tail
    assert cut == "\N{REPLACEMENT CHARACTER}" + "x" * (LINE_MAX - 1) + " [cut]"
    assert following == "next"


async def test_a_flood_does_not_stop_the_engine(spawn: Spawn, lines: Lines) -> None:
    process = await spawn(script("for i in range(200_000): print('line', i)"))
    assert await ends(process) == Exit(code=0)
    assert len(lines) == 200_000
    assert process.tail == [f"line {i}" for i in range(200_000 - TAIL, 200_000)]


async def test_a_reader_that_fails_does_not_stop_the_engine(
    spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    def full(line: str) -> None:
        raise OSError("no space left")

    process = await spawn(script("for i in range(3): print(i)"), full)
    assert await ends(process) == Exit(code=0)
    assert process.tail == ["0", "1", "2"]
    assert "no space left" in caplog.text


async def test_an_engine_lives_on_when_its_log_has_ended(spawn: Spawn) -> None:
    code = "import os, sys, time; os.closerange(1, 3); time.sleep(0.05); sys.exit(5)"
    assert await ends(await spawn(script(code))) == Exit(code=5)


# Files


async def test_twenty_lives_leave_no_file_open(family: Family, lines: Lines) -> None:
    async def live() -> None:
        process = await EngineProcess.spawn(family.argv(), family.env, lines)
        await process.stop(grace=0)

    await live()
    before = open_files()
    for _ in range(20):
        await live()
    assert open_files() == before


async def test_a_guard_that_cannot_start_leaves_no_file_open(lines: Lines) -> None:
    before = open_files()
    with pytest.raises(OSError, match="too long"):
        await EngineProcess.spawn(["x" * 10_000_000], {}, lines)
    assert open_files() == before


async def test_other_children_do_not_hold_the_lifeline(spawn: Spawn, family: Family) -> None:
    await spawn(family.argv())
    assert not any(name.startswith("socket:") for name in files_of_another_child())
