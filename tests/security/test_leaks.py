"""Send tokens of every kind and shape through every kind of trouble, at the most verbose log
level and in the libraries' debug modes. Then search everything that the worker showed.

The marker `control` is not a secret, and stands in each place that must not contain secrets. A
search that finds it would have found a secret too.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.evidence import found
from tests.e2e_runpod.harness import QueueHarness
from tests.security.harness import doomed_site
from tests.security.hunt import HOUSE, OPERATORS, SHAPES, Case, Hunt
from tests.security.memory import Memory

NOISY = {
    "LOG_LEVEL": "DEBUG",
    "RUNPOD_LOG_LEVEL": "DEBUG",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONFAULTHANDLER": "1",
}


@pytest.fixture(scope="module")
def house(harness: QueueHarness) -> None:
    harness.model(HOUSE, private=True)


@pytest.fixture(scope="module", params=["http", "queue"])
def case(
    request: pytest.FixtureRequest,
    harness: QueueHarness,
    house: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    memory = Memory(tmp_path_factory.mktemp("memory") / "of the worker")
    own = {role: harness.hub.add_account("acme") for role in OPERATORS}
    case = Case({"control": secrets.token_hex(16)})
    with (
        dumps_allowed(),
        doomed_site(
            harness,
            request.param,
            MODELS_CONFIG=f"[{{model: {HOUSE}, token_env: HOUSE_TOKEN}}]",
            MAX_LOADED_MODELS="2",
            FETCH_LINGER="0",
            DRAIN_TIMEOUT="0.2",
            **own,
            **NOISY,
            **memory.environment(),
        ) as place,
    ):
        hunt = Hunt(case, place, memory)
        hunt.note(own)
        asyncio.run(hunt.run())
    case.evidence.log = place.worker.log
    case.evidence.see_files(place.worker.directory)
    case.evidence.files[place.journal] = place.journal.read_bytes()
    case.upstream = harness.journal.path.read_bytes()
    return case


@contextmanager
def dumps_allowed() -> Iterator[None]:
    """Allow core dumps, like a container's default."""
    usual = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (usual[1], usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, usual)


def test_no_shape_but_a_tokens_is_asked_about(case: Case) -> None:
    codes = {"a_lone_surrogate": "invalid_request"}  # no JSON may contain it
    for name, code in case.codes.items():
        assert code == codes.get(name.split()[0], "invalid_hf_token"), name
    assert len(case.codes) == 3 * len(SHAPES)


def test_the_log_has_none_however_much_it_tells(case: Case) -> None:
    assert " DEBUG " in case.evidence.log
    assert not case.found(case.evidence.log)


def test_no_answer_progress_report_or_result_has_any(case: Case) -> None:
    assert len(case.evidence.answers) > 50
    assert not case.found(*case.evidence.answers)


def test_no_command_line_and_no_environment_has_any(case: Case) -> None:
    seen = case.evidence.processes
    assert [process for process in seen if process.is_download]
    assert not case.found(*(process.command for process in seen))
    assert not found(case.secrets, *(process.environment for process in seen))


def test_no_file_of_the_workers_has_any_in_it_or_in_its_name(case: Case) -> None:
    assert not case.found(*case.evidence.files.values())
    assert not case.found(*map(str, case.evidence.files))


def test_no_request_to_an_engine_has_any(case: Case) -> None:
    assert not case.found(case.upstream)


def test_once_its_requests_have_ended_the_worker_holds_its_own_alone(case: Case) -> None:
    assert set(case.left_in_memory) == OPERATORS, case.left_in_memory


def test_no_process_would_leave_its_memory_in_a_file_when_it_crashes(case: Case) -> None:
    assert len(case.dumping) > 5
    assert not any(case.dumping.values())
