from __future__ import annotations

import secrets

import pytest

from router.access.credentials import ChosenToken, Credentials
from router.config.catalog import Catalog, OperatorModel
from router.config.settings import Settings, SettingsError
from router.models import ModelRef
from router.secrets import Token

CALLER = Token("hf_" + secrets.token_hex(16))
WORKER = Token("hf_" + secrets.token_hex(16))
OWN = Token("hf_" + secrets.token_hex(16))

NAMED = OperatorModel(source=ModelRef("org/named"))
WITH_OWN = OperatorModel(source=ModelRef("org/own"), token_env="OWN")
STRANGER = ModelRef("some/model")

OPEN = {"HOST": "0.0.0.0"}


def credentials(**environ: str) -> Credentials:
    environ = {"OWN": OWN.reveal(), "HF_TOKEN": WORKER.reveal()} | environ
    catalog = Catalog([NAMED, WITH_OWN])
    return Credentials.read(Settings.from_environ(environ), catalog, environ)


def test_a_callers_token_is_always_the_one_that_is_checked() -> None:
    for operator, ref in ((None, STRANGER), (NAMED, NAMED.ref), (WITH_OWN, WITH_OWN.ref)):
        choice = credentials().choose(CALLER, operator, ref)
        assert choice == ChosenToken(CALLER, granted=False)


def test_an_operators_model_is_granted_to_a_caller_without_a_token() -> None:
    assert credentials().choose(None, NAMED, NAMED.ref) == ChosenToken(WORKER, granted=True)
    assert credentials(HF_TOKEN="").choose(None, NAMED, NAMED.ref) == ChosenToken(
        None, granted=True
    )


def test_a_models_own_token_comes_before_the_workers() -> None:
    choice = credentials().choose(None, WITH_OWN, WITH_OWN.ref)
    assert choice == ChosenToken(OWN, granted=True)


def test_a_directory_of_the_operators_needs_no_token_and_sees_none() -> None:
    for caller in (None, CALLER):
        assert credentials().choose(caller, NAMED, None) == ChosenToken(None, granted=True)


@pytest.mark.parametrize(
    ("environ", "used"),
    [
        ({}, True),
        ({"HOST": "localhost"}, True),
        ({"HOST": "::1"}, True),
        (OPEN, False),
        ({"HOST": "::"}, False),
        ({"HOST": "gpu.example.org"}, False),
        (OPEN | {"API_KEYS": "a-long-enough-key"}, True),
        (OPEN | {"RUNPOD_POD_ID": "p", "PORT": "80"}, False),
        (OPEN | {"RUNPOD_POD_ID": "p", "PORT": "80", "RUNPOD_ENDPOINT_ID": "e"}, True),
        (OPEN | {"RUNPOD_WEBHOOK_GET_JOB": "https://take"}, True),
        (OPEN | {"HF_TOKEN_MODELS": "some/*"}, True),
        (OPEN | {"HF_TOKEN_MODELS": "other/*"}, False),
        ({"HF_TOKEN_MODELS": "none"}, False),
    ],
)
def test_the_workers_token_serves_other_models_only_where_callers_are_known(
    environ: dict[str, str], used: bool
) -> None:
    choice = credentials(**environ).choose(None, None, STRANGER)
    assert choice == ChosenToken(WORKER if used else None, granted=False)


def test_the_workers_token_may_not_serve_the_canonical_id_of_a_name() -> None:
    found = credentials(**OPEN, HF_TOKEN_MODELS="some/*")
    assert found.choose(None, None, ModelRef("some/model")).token == WORKER
    assert found.choose(None, None, ModelRef("elsewhere/model")).token is None


@pytest.mark.parametrize("value", ["", " ", "not a token"])
def test_a_missing_or_malformed_token_of_a_model_is_an_error(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        credentials(OWN=value)
    assert "OWN" in str(refused.value)
    assert "not a token" not in str(refused.value)


@pytest.mark.parametrize(
    ("spoil", "flaw"), [('"{}"', "in quotes"), ("{{{{ RUNPOD_SECRET_{} }}}}", "unresolved")]
)
def test_what_was_done_wrong_with_a_token_of_a_model_is_named(spoil: str, flaw: str) -> None:
    with pytest.raises(SettingsError, match=f"^OWN=.*{flaw}") as refused:
        credentials(OWN=spoil.format(OWN.reveal()))
    assert OWN.reveal() not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "all models: only this machine"),
        (OPEN, "only the operator's models: anyone can call 0.0.0.0"),
        (OPEN | {"API_KEYS": "a-long-enough-key"}, "all models: callers need one of API_KEYS"),
        (OPEN | {"API_KEYS_FILE": "/keys.yaml"}, "callers need one of API_KEYS_FILE"),
        ({"HF_TOKEN_MODELS": "some/*"}, "the operator's and some/*: HF_TOKEN_MODELS says so"),
        ({"RUNPOD_WEBHOOK_GET_JOB": "https://take"}, "RunPod's queue authenticates callers"),
        ({"HF_TOKEN": ""}, "HF_TOKEN is not set"),
    ],
)
def test_the_rule_is_summarized_in_one_line(environ: dict[str, str], says: str) -> None:
    line = credentials(**environ).summary()
    assert says in line
    assert "\n" not in line
    assert WORKER.reveal() not in line


def test_no_token_prints() -> None:
    found = credentials()
    shown = f"{found!r} {found.choose(CALLER, None, STRANGER)!r}"
    assert not any(token.reveal() in shown for token in (CALLER, WORKER, OWN))
    assert found.secrets == (OWN,)
