"""Faults occur where, and as often as, a test asks for."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.client import Client, Failure
from tests.loopback_hub.faults import Kind
from tests.loopback_hub.raw import Answer, ask

INFO = "/api/models/acme/tiny"
CHECK = f"{INFO}/auth-check"


@pytest.fixture(scope="module", autouse=True)
def _tiny(hub: LoopbackHub) -> None:
    hub.add_repo("acme/tiny", {"config.json": b'{"model_type": "llama"}'})


@pytest.fixture(autouse=True)
def _no_faults(hub: LoopbackHub) -> None:
    hub.faults.clear()
    hub.requests.clear()


@pytest.mark.parametrize("kind", ["429", "500", "503"])
def test_an_error_status_is_raised_as_it_is(
    hub: LoopbackHub, client: Client, kind: Kind
) -> None:
    hub.faults.add(CHECK, kind)
    assert client.failure("auth_check", "acme/tiny") == Failure("HfHubHTTPError", int(kind))
    client.call("auth_check", "acme/tiny")


def test_a_rate_limit_says_how_long(hub: LoopbackHub, client: Client) -> None:
    hub.faults.add(CHECK, "429")
    assert "Retry after 55 seconds" in client.failure("auth_check", "acme/tiny").message
    hub.faults.add(CHECK, "429")
    assert ask(hub, "GET", CHECK).headers["RateLimit"] == '"api";r=0;t=55'


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_broken_answer_is_no_answer(hub: LoopbackHub, client: Client, kind: Kind) -> None:
    hub.faults.add(INFO, kind)
    failure = client.failure("model_info", "acme/tiny")
    assert failure == Failure("RemoteProtocolError", None)
    assert client.call("model_info", "acme/tiny")["id"] == "acme/tiny"


def test_a_stalled_body_comes_to_its_end_when_the_fault_is_cleared(hub: LoopbackHub) -> None:
    hub.faults.add(INFO, "stall")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, hub, "GET", INFO)
        time.sleep(0.2)
        assert not answer.done()
        hub.faults.clear()
        assert b"acme/tiny" in answer.result().body


def test_a_cut_spares_requests_that_have_no_body_to_cut(hub: LoopbackHub) -> None:
    hub.faults.add(INFO, "cut")
    assert ask(hub, "HEAD", INFO).status == 200
    with pytest.raises(http.client.IncompleteRead):
        ask(hub, "GET", INFO)


def test_a_hanging_request_outlasts_the_patience_of_a_client(
    hub: LoopbackHub, client: Client
) -> None:
    struck = hub.faults.add(INFO, "hang", times=None)
    failures = []
    while not struck():  # on a busy machine, the client may leave before its request comes
        failures.append(client.failure("model_info", "acme/tiny", timeout=0.2))
    assert Failure("ReadTimeout", None) in failures
    assert {request.status for request in hub.requests} == {None}


def test_a_hanging_request_is_answered_after_clear(hub: LoopbackHub) -> None:
    hub.faults.add(CHECK, "hang")
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(ask, hub, "GET", CHECK)
        _wait_for_a_request(hub)
        assert not answer.done()
        hub.faults.clear()
        assert answer.result(timeout=60).status == 200


def test_leaving_breaks_off_what_hangs() -> None:
    with ThreadPoolExecutor() as threads:
        with LoopbackHub() as hub:
            hub.faults.add("/.*", "hang", times=None)
            answer = threads.submit(_outcome, hub)
            _wait_for_a_request(hub)
        assert answer.result(timeout=60) is not None


def test_a_fault_strikes_as_often_as_asked(hub: LoopbackHub) -> None:
    hub.faults.add(CHECK, "500", times=2)
    hub.faults.add(CHECK, "503")
    assert [ask(hub, "GET", CHECK).status for _ in range(4)] == [500, 500, 503, 200]
    hub.faults.add(CHECK, "500", times=None)
    assert [ask(hub, "GET", CHECK).status for _ in range(3)] == [500, 500, 500]
    hub.faults.clear()
    assert ask(hub, "GET", CHECK).status == 200


def test_a_fault_strikes_the_whole_path_only(hub: LoopbackHub) -> None:
    hub.faults.add(INFO, "500", times=None)
    assert ask(hub, "GET", CHECK).status == 200
    hub.faults.add(r"/api/models/[^/]+/tiny/auth-.*", "503")
    assert ask(hub, "GET", CHECK).status == 503


def test_there_is_no_fault_of_another_kind(hub: LoopbackHub) -> None:
    with pytest.raises(ValueError, match="418"):
        hub.faults.add(CHECK, cast("Kind", "418"))


def test_an_unknown_route_is_not_found_without_a_code(hub: LoopbackHub) -> None:
    answer = ask(hub, "GET", f"{INFO}/no-such-route")
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, None)


def test_the_journal_names_callers_but_keeps_no_token(hub: LoopbackHub) -> None:
    token = hub.add_account("frank")
    for sent in (False, token, "hf_of_nobody"):
        ask(hub, "GET", CHECK, token=sent)
    assert [(r.method, r.path, r.account, r.status) for r in hub.requests] == [
        ("GET", CHECK, None, 200),
        ("GET", CHECK, "frank", 200),
        ("GET", CHECK, "invalid", 401),
    ]
    assert token not in repr(hub.requests)


def test_two_hubs_know_nothing_of_each_other(hub: LoopbackHub, tmp_path: Path) -> None:
    token = hub.add_account("grace")
    with LoopbackHub() as other, Client(other.environment(), tmp_path) as client:
        failure = client.failure("auth_check", "acme/tiny", token=token)
        assert failure == Failure("HfHubHTTPError", 401)
        assert client.failure("auth_check", "acme/tiny").kind == "RepositoryNotFoundError"


def _outcome(hub: LoopbackHub) -> Answer | Exception:
    try:
        return ask(hub, "GET", CHECK)
    except (OSError, http.client.HTTPException) as error:
        return error


def _wait_for_a_request(hub: LoopbackHub) -> None:
    deadline = time.monotonic() + 60
    while not hub.requests:
        assert time.monotonic() < deadline, "no request came"
        time.sleep(0.01)
