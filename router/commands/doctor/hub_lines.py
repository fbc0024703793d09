"""`doctor`'s lines about the Hub, the worker's token, and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from router.commands.doctor.line import ExamLine, ok, problem, warning
from router.config.settings import Settings
from router.errors import HubUnavailable
from router.hub.account import HubAnswers, ask_account

_SKEW = 60.0  # seconds: certificates and signed addresses are checked against the clock


def hub_lines(settings: Settings) -> Iterator[ExamLine]:
    if settings.hf_hub_offline:
        yield ok("Hub", "not asked: HF_HUB_OFFLINE")
        return
    token, ca_file = settings.hf_token, settings.ssl_cert_file
    try:
        answers = ask_account(
            settings.hf_endpoint, token, ca_file=str(ca_file) if ca_file else None
        )
    except HubUnavailable as error:
        yield problem(
            "Hub",
            f"{settings.hf_endpoint} can't be reached: {error.message}",
            "check the network, HF_ENDPOINT and proxies; or serve from the disk: "
            "HF_HUB_OFFLINE=1",
        )
        return
    yield from answer_lines(settings.hf_endpoint, answers, with_token=token is not None)
    if answers.date is not None:
        yield clock_line((datetime.now(UTC) - answers.date).total_seconds())


def answer_lines(endpoint: str, answers: HubAnswers, *, with_token: bool) -> Iterator[ExamLine]:
    if answers.status >= 500:
        yield problem(
            "Hub", f"{endpoint} answers {answers.status}", "wait, or see its status page"
        )
        return
    yield ok("Hub", f"{endpoint} can be reached")
    if not with_token:
        yield ok("HF_TOKEN", "not set: public models only, or each caller's own token")
    elif answers.status == 401:
        yield problem(
            "HF_TOKEN", "the Hub refuses it", "make a new one at huggingface.co/settings/tokens"
        )
    elif not answers.account:
        yield warning(
            "HF_TOKEN",
            f"the Hub does not say whose token it is (status {answers.status})",
            "ask again later",
        )
    elif answers.may_write:
        yield warning(
            "HF_TOKEN",
            f"of the account {answers.account}; it may write",
            "use one that may only read",
        )
    else:
        yield ok("HF_TOKEN", f"of the account {answers.account}")


def clock_line(ahead: float) -> ExamLine:
    """`ahead`: seconds by which this clock is ahead of the Hub's; may be negative."""
    way = "ahead of" if ahead > 0 else "behind"
    text = f"{abs(ahead):.0f} s {way} the Hub's"
    if abs(ahead) > _SKEW:
        return warning("clock", text, "set this machine's clock: certificates depend on it")
    return ok("clock", text)
