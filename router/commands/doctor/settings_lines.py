"""`doctor`'s lines about the settings, and about RunPod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engines import flags
from router.app.configuration import Configuration
from router.commands.doctor.line import ExamLine, ok, problem, warning
from router.commands.variables import misspelled_variables
from router.config.errors import SettingsError
from router.config.platform import Platform, detect
from router.config.settings import SETTINGS
from router.traces.collector import Collector

_TOPIC = "settings"
_RUNPOD = ("RUNPOD_POD_ID", "RUNPOD_ENDPOINT_ID", "RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_API_KEY")


def read_settings(environ: Mapping[str, str]) -> tuple[Configuration | None, list[ExamLine]]:
    """The configuration, or None if it can't be used, and lines about it."""
    try:
        configuration = Configuration.read(environ)
    except SettingsError as error:
        return None, [
            problem(_TOPIC, text, "correct it, or take it out") for text in error.problems
        ]
    return configuration, list(_settings_lines(configuration))


def _settings_lines(configuration: Configuration) -> Iterator[ExamLine]:
    environ = configuration.environ
    given = sorted(
        name for one in SETTINGS.values() for name in one.names if environ.get(name, "").strip()
    )
    yield ok(_TOPIC, ", ".join(given) if given else "all as by default")
    for text in misspelled_variables(configuration):
        yield warning(_TOPIC, text, "correct its name, or unset it")
    for text in flags.warnings(environ):
        yield warning(_TOPIC, text, "unset it")
    models = configuration.catalog.models
    if models:
        yield ok("models", ", ".join(model.name for model in models))
    yield ok("tokens", configuration.credentials.summary())
    if configuration.collector is not None:
        yield _spans_line(configuration.collector)


def _spans_line(collector: Collector) -> ExamLine:
    try:
        collector.check_installed()
    except SettingsError as error:
        return problem("spans", str(error), "install these packages, or unset the variable")
    return ok("spans", f"of requests are sent to {collector.address}")


def runpod_lines(environ: Mapping[str, str]) -> Iterator[ExamLine]:
    """Shows only the names of variables, because their values may be secrets."""
    found = [name for name in _RUNPOD if environ.get(name)]
    platform = detect(environ)
    if not found and platform is Platform.PLAIN:
        yield ok("RunPod", "not detected: this is a standalone server")
        return
    named = ", ".join(found) or "RunPod's variables"
    yield ok("RunPod", f"detected: {platform}, from {named}")
    if platform is Platform.QUEUE and not environ.get("RUNPOD_API_KEY"):
        yield warning(
            "RunPod",
            "RUNPOD_API_KEY is not set, so results can't be sent",
            "start the worker as an endpoint, not by hand",
        )
