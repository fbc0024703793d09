"""The answers that a connection gives by itself: to invalid HTTP, and after a defect."""

from __future__ import annotations

import logging

from router.errors import InternalError, RouterError
from router.http.answers import error_answer
from router.http.http_request import HttpRequest
from router.http.incoming import REQUEST_ID, new_request_id
from router.http.sites import ALWAYS
from router.http.writing import send_whole
from router.requests.dialects import OPENAI, Problem

logger = logging.getLogger("router.http")


def refuse(request: HttpRequest, error: RouterError) -> None:
    """Answer invalid HTTP without repeating any of it, because it may contain a token."""
    logger.info("a request that is not valid HTTP (%s)", error.code)
    _tell(request, error)


def tell_of_defect(request: HttpRequest) -> None:
    _tell(request, InternalError("The router failed on this request. Its log says why."))


def _tell(request: HttpRequest, error: RouterError) -> None:
    request.always = request.always or {REQUEST_ID: new_request_id(), **ALWAYS}
    request.keeps = False
    answer = error_answer(Problem.of(error), OPENAI)
    send_whole(request, answer.status, answer.headers, answer.body)
