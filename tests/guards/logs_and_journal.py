"""Guards: logs and journals are readable, but nobody can forge them, and they reveal no
secrets."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, swap, text, value

_LOGS = "tests/test_logs.py::test_"
_WRITTEN = "tests/security/test_written_down.py::test_"
_FILES = "tests/config/test_files.py::test_"

GUARDS = (
    Guard(
        "A record is one line, whatever its text",
        "router.logs:one_line",
        body("return text"),
        _LOGS + "no_text_makes_a_line_of_its_own_or_hides_one",
    ),
    Guard(
        "No line of a traceback looks like a record",
        "router.logs:_TextFormatter.format",
        text("  | ", ""),
        _LOGS + "no_text_makes_a_line_of_its_own_or_hides_one",
    ),
    Guard(
        "C1 controls and marks that turn text around are escaped",
        "router.logs:_UNSAFE",
        value("re.compile(r'[\\x00-\\x08\\x0a-\\x1f\\x7f]')"),
        _LOGS + "what_is_escaped_can_be_read",
    ),
    Guard(
        "So are the lines of the JSON format",
        "router.logs:_ascii",
        swap("json.dumps(line)", "json.dumps(line, ensure_ascii=False)"),
        _LOGS + "no_text_leaves_its_json_object",
    ),
    Guard(
        "The line of a request names no secret as its model",
        "router.requests.recorder:Recorder._told",
        swap("one_line(self._redact(name))", "one_line(name)"),
        "tests/requests/test_recorder.py::test_no_secret_is_told",
    ),
    Guard(
        "The line of a request repeats no secret as its id",
        "router.requests.recorder:Recorder._plain",
        swap("self._redact(request_id)", "request_id"),
        "tests/requests/test_recorder.py::test_no_secret_is_told",
    ),
    Guard(
        "A digest says nothing of a weak key",
        "router.secrets:digest_of",
        body("return hashlib.sha256(secret.encode()).hexdigest()"),
        "tests/test_secrets.py::test_nobody_can_guess_a_secret_from_its_digest",
    ),
    Guard(
        "The journal is for the operator alone",
        "router.config.files:append_privately",
        drop("fchmod"),
        _FILES + "an_older_file_is_closed_to_others_and_continued",
    ),
    Guard(
        "Nobody else chooses which file it is",
        "router.config.files:append_privately",
        swap("_ | os.O_NOFOLLOW", "_"),
        _FILES + "a_link_that_is_put_there_later_is_not_followed",
    ),
    Guard(
        "A journal of another version is told apart",
        "router.scheduler.trace:replay",
        swap("(AttributeError, LookupError, TypeError, ValueError)", "OSError"),
        "tests/test_cli.py::test_a_journal_of_another_version_is_told_apart",
    ),
    Guard(
        "Strangers write no line of a worker's log",
        "router.logs:one_line",
        body("return text"),
        _WRITTEN + "strangers_write_no_line_of_the_log",
    ),
    Guard(
        "A worker's journal shows nothing to guess a key from",
        "router.secrets:digest_of",
        body("return hashlib.sha256(secret.encode()).hexdigest()"),
        _WRITTEN + "the_journal_is_the_operators_and_shows_no_key",
    ),
)
