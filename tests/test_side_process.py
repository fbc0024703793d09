"""Side processes: their results, their ends, and their memory."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.errors import InvalidRequest, QueueFull
from router.side_process import SideProcessDied, SideProcesses, pieces, size
from tests.doubles import whole
from tests.eventually import eventually

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
WITHIN = 90.0  # seconds; a test that hangs fails


def echo(data: bytes, *arguments: object) -> tuple[tuple[object, ...], bytes]:
    return arguments, data


def identify(_data: bytes) -> tuple[int, bytes]:
    return os.getpid(), b""


def environment(_data: bytes) -> tuple[dict[str, str], bytes]:
    return dict(os.environ), b""


def refuse(_data: bytes) -> tuple[None, bytes]:
    raise InvalidRequest("no", param="x")


def wait(_data: bytes) -> tuple[None, bytes]:
    time.sleep(600)
    return None, b""


def begin(data: bytes) -> tuple[None, bytes]:
    Path(data.decode()).write_text(str(os.getpid()))
    return wait(data)


def break_down(data: bytes) -> tuple[None, bytes]:
    raise ValueError(data)


def die(_data: bytes) -> tuple[None, bytes]:
    os.kill(os.getpid(), signal.SIGKILL)
    return None, b""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def command_of(pid: int) -> bytes:
    """Empty for a zombie, too: this container's first process may not reap it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
async def aside() -> AsyncIterator[SideProcesses]:
    processes = SideProcesses()
    async with asyncio.timeout(WITHIN):
        yield processes
    await processes.close()


async def test_data_come_back_whole_in_pieces(aside: SideProcesses) -> None:
    sent = (b"a" * 70_000, b"b", os.urandom(1_000_000))
    result, returned = await aside.run(echo, "a", 1, data=sent)
    assert result == ("a", 1)
    assert whole(returned) == whole(sent)
    assert max(map(len, returned)) <= 64 * 1024
    assert (await aside.run(echo))[1] == ()


async def test_one_process_does_one_thing_after_the_other(aside: SideProcesses) -> None:
    assert len({(await aside.run(identify))[0] for _ in range(5)}) == 1


async def test_a_refusal_is_raised_as_it_was(aside: SideProcesses) -> None:
    with pytest.raises(InvalidRequest, match="no") as refused:
        await aside.run(refuse)
    assert refused.value.param == "x"
    assert (await aside.run(echo, 1))[0] == (1,)


async def test_a_defect_is_told_without_its_text(aside: SideProcesses) -> None:
    with pytest.raises(SideProcessDied) as died:
        await aside.run(break_down, data=b"my secret plan")
    assert "ValueError" in str(died.value)
    assert "secret" not in str(died.value)


async def test_after_a_death_the_next_work_gets_a_new_process(aside: SideProcesses) -> None:
    with pytest.raises(SideProcessDied):
        await aside.run(die)
    assert (await aside.run(echo, 1))[0] == (1,)


async def test_a_process_that_died_while_idle_is_replaced(aside: SideProcesses) -> None:
    first, _ = await aside.run(identify)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: aside._free[0].gone)
    second, _ = await aside.run(identify)
    assert second != first


async def test_work_that_takes_too_long_ends_with_its_process() -> None:
    processes = SideProcesses(patience=0.5)
    async with asyncio.timeout(WITHIN):
        with pytest.raises(TimeoutError):
            await processes.run(wait)
    processes._patience = WITHIN
    assert (await processes.run(echo, 1))[0] == (1,)
    await processes.close()


async def test_canceled_work_ends_with_its_process(aside: SideProcesses) -> None:
    pid, _ = await aside.run(identify)
    working = asyncio.create_task(aside.run(wait))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not alive(pid)


OWNER = """
import asyncio, sys
from router.side_process import SideProcesses
from tests.test_side_process import begin
asyncio.run(SideProcesses().run(begin, data=sys.argv[1].encode()))
"""


async def test_work_ends_with_the_router_that_was_killed(tmp_path: Path) -> None:
    begun = tmp_path / "pid"
    command = (sys.executable, "-c", OWNER, str(begun))
    owner = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    await eventually(lambda: begun.exists() and begun.read_text() != "")
    left = int(begun.read_text())
    owner.kill()
    await owner.wait()
    await eventually(lambda: not command_of(left))


async def test_an_idle_process_ends() -> None:
    processes = SideProcesses(idle=0.0)
    pid, _ = await processes.run(identify)
    await eventually(lambda: not alive(pid))
    assert (await processes.run(identify))[0] != pid
    await processes.close()


async def test_no_secret_of_the_environment_goes_along(
    aside: SideProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen, _ = await aside.run(environment)
    assert seen.keys() <= {"PATH", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH"}


async def test_there_are_no_more_processes_than_places() -> None:
    processes = SideProcesses(most=2)
    found = await asyncio.gather(*(processes.run(identify) for _ in range(6)))
    assert len({pid for pid, _ in found}) == 2
    await processes.close()
    await eventually(lambda: not any(alive(pid) for pid, _ in found))


@pytest.mark.parametrize("body", [b"", b"a", (), (b"", b"a"), (b"a" * 70_000, b"b" * 200_000)])
def test_pieces_are_all_of_it(body: bytes | tuple[bytes, ...]) -> None:
    assert size(body) == len(whole(body))
    assert all(len(piece) <= 64 * 1024 for piece in pieces(body))


def test_errors_keep_their_time_to_wait() -> None:
    again = pickle.loads(pickle.dumps(QueueFull("full", retry_after=7.0)))
    assert (again.message, again.retry_after) == ("full", 7.0)
