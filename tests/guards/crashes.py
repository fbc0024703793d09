"""Guards: a caller that crashes a shared engine pays for it; other callers do not."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, swap, value, without

_TEST = "tests/scheduler/test_crash_authors.py::test_"
_JUDGE = "router.scheduler.suspicion:Suspicion."
_TRIALS = "router.scheduler.trials:Trials."
_SLOT = "router.scheduler.shared_slot:SharedSlot."
_ATTACK = "a_poison_sent_again_and_again_costs_the_other_caller_two_engines[1.0-0.2]"
_FRAMED = "no_poison_gets_the_other_caller_quarantined"

GUARDS = (
    Guard(
        "A probe that is older than a trial's last request does not end the trial",
        _TRIALS + "respond",
        never("unanswered"),
        _TEST + "an_older_probe_does_not_end_a_later_trial",
    ),
    Guard(
        "The author of a second crash is quarantined",
        _JUDGE + "judge",
        drop("blame"),
        _TEST + _ATTACK,
    ),
    Guard(
        "A busy caller that is in flight at every crash is not taken for its author",
        _JUDGE + "judge",
        swap("suspects[0] if _ else None", "suspects[-1] if suspects else None"),
        _TEST + _FRAMED + "[that takes 60 s]",
    ),
    Guard(
        "A crash among several callers makes none of them more than a suspect",
        "router.scheduler.suspicion:Conduct.suspect",
        body("self.blame(self.ended_at, alone=False)"),
        _TEST + _FRAMED + "[that takes 60 s]",
    ),
    Guard(
        "After a crash among several callers they are tried one at a time",
        _JUDGE + "active",
        body("return False"),
        _TEST + _ATTACK,
    ),
    Guard(
        "The next trial waits for the requests of the former",
        _TRIALS + "next",
        never("_passed"),
        _TEST + _FRAMED + "[that takes 4 s]",
    ),
    Guard(
        "The next trial begins when the engine has answered a probe",
        _TRIALS + "probe",
        body("self._probed = self._passed = True"),
        _TEST + "a_caller_that_hangs_the_engine_and_hangs_up_is_found_by_the_probe",
    ),
    Guard(
        "A trial ends while others wait",
        _TRIALS + "next",
        swap("len(waiting) == 1 or _", "True"),
        _TEST + "a_trial_ends_while_others_wait",
    ),
    Guard(
        "A poison that kills late is watched for longer",
        _JUDGE + "_open",
        drop("watch", "LONGEST_WATCH"),
        _TEST + _FRAMED + "[that takes 60 s]",
    ),
    Guard(
        "Who hangs up before the engine dies is a suspect",
        _JUDGE + "_suspects",
        drop("callers", "add"),
        _TEST + "a_caller_that_hangs_up_before_the_engine_dies_is_a_suspect",
    ),
    Guard(
        "Who hung the engine and hung up is a suspect until the engine answers",
        _JUDGE + "_suspects",
        without("left_at"),
        _TEST + "a_caller_that_hangs_the_engine_and_hangs_up_leaves_no_other_as_the_author",
    ),
    Guard(
        "The caller that a probe is to clear is a suspect",
        _JUDGE + "_suspects",
        swap("{_1 for request in in_flight} | _2", "{_1 for request in in_flight}"),
        _TEST + "an_answer_just_before_a_trial_is_ended_by_a_probe_clears_nobody",
    ),
    Guard(
        "A poison gets no second engine where others share it",
        _JUDGE + "_note_death",
        swap("_1 and _2", "_1").nth(1, of=2),
        _TEST + "a_poison_gets_one_engine_where_others_share_it_and_two_where_nobody_does",
    ),
    Guard(
        "A few good answers buy a poison no second engine",
        _JUDGE + "_known",
        body("return self.answers(caller) > 0"),
        _TEST + "a_caller_that_shares_the_engine_gets_no_second_one_for_few_good_answers",
    ),
    Guard(
        "A crash with an author makes nobody else wait for a cool-down",
        "router.scheduler.engine_life:EngineLife._crashed",
        always("alone"),
        _TEST + _ATTACK,
    ),
    Guard(
        "A cool-down after a lonely caller's crashes is over when another comes",
        _SLOT + "refusal",
        never("cools_for"),
        _TEST + "who_comes_after_a_lonely_crash_is_served_without_cool_down",
    ),
    Guard(
        "Waiting requests of a quarantined caller fail at once",
        "router.scheduler.engine_life:EngineLife._crashed",
        without("_refuse_barred"),
        _TEST + "a_caller_that_waits_is_told_of_its_quarantine_at_once",
    ),
    Guard(
        "A quarantine grows with each further crash",
        "router.scheduler.suspicion:Conduct.blame",
        swap("QUARANTINE * _", "QUARANTINE"),
        _TEST + "each_further_crash_doubles_the_quarantine",
    ),
    Guard(
        "A caller that is alone is not quarantined",
        _JUDGE + "shared",
        body("return True"),
        _TEST + "a_caller_that_is_alone_with_its_crashes_cools_down_as_ever",
    ),
    Guard(
        "What is remembered of callers is bounded",
        "router.scheduler.suspicion:CALLERS_REMEMBERED",
        value("10**9"),
        _TEST + "what_is_remembered_of_callers_and_requests_is_bounded",
    ),
    Guard(
        "The log shows no more of a caller than its first characters",
        "router.scheduler.reports:_shown",
        swap("caller[:DIGEST_SHOWN]", "caller"),
        _TEST + "the_log_tells_the_operator_whose_requests_crashed_the_engine",
    ),
)
