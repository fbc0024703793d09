"""OpenTelemetry's variables say where spans go."""

from __future__ import annotations

import secrets

import pytest

from router.config.errors import SettingsError
from router.traces.collector import Collector, configured_collector

ALL, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({ALL: "http://collector:4318"}, "http://collector:4318/v1/traces"),
        ({ALL: "https://collector/otlp/"}, "https://collector/otlp/v1/traces"),
        ({ALL: "http://all:4318", TRACES: "http://one:4318/x"}, "http://one:4318/x"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        (
            {ALL: "http://collector", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http://collector/v1/traces",
        ),
    ],
)
def test_spans_go_where_the_variables_say(environ: dict[str, str], address: str) -> None:
    found = configured_collector(environ)
    assert found is not None
    assert found.address == address


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {ALL: " "},
        {"OTEL_SERVICE_NAME": "worker"},
        {ALL: "http://collector:4318", "OTEL_SDK_DISABLED": "true"},
        {ALL: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_by_default_and_on_demand_there_are_none(environ: dict[str, str]) -> None:
    assert configured_collector(environ) is None


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({ALL: "collector:4317"}, f"{ALL}='collector:4317': must be a URL"),
        ({ALL: "http://collector:port"}, f"{ALL}='http://collector:port': must be a URL"),
        ({TRACES: "//user:pass@collector"}, f"{TRACES}='***': must be a URL"),
        ({ALL: "collector:4318/?key=secret-key"}, f"{ALL}='***': must be a URL"),
        ({ALL: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "must be http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "must be otlp or none"),
    ],
)
def test_what_can_not_be_done_is_refused_at_the_start(
    environ: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        configured_collector(environ)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "9" * 5000),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),  # less than a batch
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000"),  # more than the queue
        ("OTEL_BSP_SCHEDULE_DELAY", "0.5"),
    ],
)
def test_a_number_that_can_not_be_used_is_refused_with_its_variable(
    name: str, text: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        configured_collector({ALL: "http://collector:4318", name: text})
    assert str(refused.value).startswith(f"{name}='")
    assert configured_collector({name: text}) is None  # nothing reads it


def test_numbers_that_can_be_used_are_taken() -> None:
    numbers = {
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": " 100 ",
    }
    assert configured_collector({ALL: "http://collector:4318"} | numbers) is not None


def test_what_may_be_a_secret_is_hidden_and_known() -> None:
    header, password, parameter = (secrets.token_hex(8) for _ in range(3))
    found = configured_collector(
        {
            ALL: f"https://user:{password}@collector:4318?key={parameter}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{header},x-tenant=a",
        }
    )
    assert found is not None
    assert found.address == "https://collector:4318/v1/traces"
    known = {one.reveal() for one in found.secrets}
    assert known == {f"Bearer {header}", header, password, parameter}
    assert not any(one in repr(found) for one in known)


def test_what_is_missing_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.traces.collector._is_installed", lambda: False)
    with pytest.raises(SettingsError, match="pip install opentelemetry-sdk"):
        Collector(ALL, "http://collector:4318/v1/traces").check_installed()
