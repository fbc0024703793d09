"""Reads from OpenTelemetry's own variables where to send spans, if anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from router.config.errors import SettingsError
from router.secrets import Secret
from router.traces.numbers import check_numbers

_OTLP = "OTEL_EXPORTER_OTLP_"
_DEFAULT = "http://localhost:4318"
_ROUTE = "v1/traces"
_PROTOCOL = "http/protobuf"
_SHORTEST_SECRET = 8  # characters; redacting shorter ones would make logs unreadable
_PACKAGE = "opentelemetry.exporter.otlp.proto.http"
_INSTALL = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http requests"


@dataclass(frozen=True, slots=True)
class Collector:
    """The collector for spans. `variable`: the variable that names it. `address`: its URL
    without possible secrets."""

    variable: str
    address: str
    secrets: tuple[Secret, ...] = ()

    def check_installed(self) -> None:
        """Raise `SettingsError` if the packages that send spans are not installed."""
        if not _is_installed():
            allowed = f"unset, as long as OpenTelemetry is not installed here: {_INSTALL}"
            raise SettingsError(self.variable, self.address, allowed)


def configured_collector(environ: Mapping[str, str]) -> Collector | None:
    """The collector; None if no spans are sent. Raises `SettingsError`.

    OpenTelemetry's SDK reads its other variables itself.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter not in {"", "otlp", "none"}:
        raise SettingsError("OTEL_TRACES_EXPORTER", exporter, "otlp or none")
    variable, endpoint = _given(environ, "ENDPOINT")
    if exporter == "none" or not (endpoint or exporter):
        return None
    named, protocol = _given(environ, "PROTOCOL")
    if protocol not in {"", _PROTOCOL}:
        raise SettingsError(named, protocol, f"{_PROTOCOL}, which is all that is sent here")
    url = _url(variable, endpoint or _DEFAULT)
    if not variable.startswith(f"{_OTLP}TRACES_"):
        url = url._replace(path=f"{url.path.removesuffix('/')}/{_ROUTE}")
    check_numbers(environ)
    address = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    _, headers = _given(environ, "HEADERS")
    found = (*_values(headers), *_in_url(url))
    secrets = tuple(Secret(text) for text in found if len(text) >= _SHORTEST_SECRET)
    return Collector(variable or "OTEL_TRACES_EXPORTER", address, secrets)


def _given(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """A variable and its value: the one for traces, or the one for all signals."""
    for variable in (f"{_OTLP}TRACES_{name}", f"{_OTLP}{name}"):
        if text := environ.get(variable, "").strip():
            return variable, text
    return "", ""


def _url(variable: str, endpoint: str) -> SplitResult:
    shown = "***" if {"@", "?"} & set(endpoint) else endpoint  # it may hold a password or a key
    error = SettingsError(variable, shown, "a URL such as http://collector:4318")
    try:
        url = urlsplit(endpoint)
        valid = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        raise error from None
    if not valid:
        raise error
    return url


def _values(headers: str) -> Iterator[str]:
    """The values of `name=value,name=value`, unescaped as in URLs. For `Bearer x`, `x` too."""
    for pair in headers.split(","):
        text = unquote(pair.partition("=")[2]).strip()
        yield text
        if " " in text:
            yield text.rpartition(" ")[2]


def _in_url(url: SplitResult) -> Iterator[str]:
    if url.password is not None:
        yield unquote(url.password)
    for _, value in parse_qsl(url.query):
        yield value


def _is_installed() -> bool:
    try:
        return find_spec(_PACKAGE) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False
