"""Guards: values that would kill or hang an engine are refused by the worker."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never, swap, without

_BOUNDS = "tests/requests/test_bounds.py::test_"
_WRONG = _BOUNDS + "a_value_out_of_range_is_refused_by_its_name"
_GRAMMARS = "tests/requests/test_grammars.py::test_"
_UNCLEAR = _GRAMMARS + "a_regex_with_many_ways_to_read_a_text_is_refused"
_SCHEMA = _GRAMMARS + "a_schema_that_leads_in_a_circle_or_is_huge_is_refused"
_PLACES = _GRAMMARS + "every_place_of_a_grammar_is_looked_at"

GUARDS = (
    Guard(
        "Fields of a body are checked against the table of their route",
        "router.requests.call:parse",
        swap("check_fields(_, _)", "Demands()"),
        _WRONG,
    ),
    Guard(
        "A token id beyond the vocabulary never reaches an engine",
        "router.requests.fitting:check_engine",
        drop("demands"),
        "tests/requests/test_service.py::"
        "test_a_request_beyond_the_models_vocabulary_never_reaches_its_engine",
    ),
    Guard(
        "The vocabulary is the one of the model's text part",
        "engines.vocabulary:_text_part",
        never("part"),
        "tests/engines/test_vocabulary.py::test_the_configuration_of_the_text_part_tells",
    ),
    Guard(
        "A model whose configuration tells no vocabulary is measured by its weights",
        "engines.vocabulary:vocabulary",
        without("_rows"),
        "tests/engines/test_vocabulary.py::test_else_the_rows_of_the_embedding_tell",
    ),
    Guard(
        "A number has a least and a greatest value",
        "router.requests.rules:Whole.needs",
        swap("self.low <= value <= self.high", "True"),
        _WRONG,
    ),
    Guard(
        "A number that is infinite as a float32 is refused",
        "router.requests.rules:Real.needs",
        swap("self.low <= value <= self.high", "True"),
        _WRONG,
    ),
    Guard(
        "True is not a number",
        "router.requests.rules:is_number",
        without("bool"),
        _WRONG,
    ),
    Guard(
        "A prompt that can't fit in the context is refused",
        "router.requests.fitting:check_engine",
        drop("longest"),
        "tests/requests/test_prompt_length.py::"
        "test_a_prompt_beyond_the_context_never_reaches_the_engine",
    ),
    Guard(
        "What no rule is about is bounded",
        "router.requests.bounds:check_fields",
        drop("_check_others"),
        _WRONG,
    ),
    Guard(
        "No token id is negative",
        "router.requests.token_rules:_above",
        without("min"),
        _WRONG,
    ),
    Guard(
        "No prompt of a batch is empty",
        "router.requests.token_rules:Prompt.needs",
        without("all").nth(1, of=2),
        _WRONG,
    ),
    Guard(
        "A bias is bounded",
        "router.requests.token_rules:Bias.needs",
        without("_within"),
        _WRONG,
    ),
    Guard(
        "Sampling params hold nothing that is not listed",
        "router.requests.rules:Object.needs",
        never("closed"),
        _BOUNDS + "what_is_not_listed_does_not_pass_inside_sampling_params",
    ),
    Guard(
        "An answer with a form has no least length",
        "router.requests.combinations:check_together",
        drop("_check_end"),
        _BOUNDS + "an_answer_with_a_form_has_no_least_length",
    ),
    Guard(
        "Prompts times answers are bounded",
        "router.requests.combinations:check_together",
        drop("_check_count"),
        _BOUNDS + "each_prompt_times_n_counts",
    ),
    Guard(
        "Logprobs of a prompt are bounded in number",
        "router.requests.combinations:check_together",
        drop("_check_logprobs"),
        _BOUNDS + "many_logprobs_of_a_long_prompt_are_refused",
    ),
    Guard(
        "Options of a picture are bounded",
        "router.requests.fields:_check_source",
        drop("check_source"),
        _BOUNDS + "the_options_of_a_picture_are_bounded",
    ),
    Guard(
        "Repeats that run into each other are refused",
        "router.requests.patterns:_Check._repeat",
        never("_SHORT"),
        _UNCLEAR,
    ),
    Guard(
        "A regex has a bounded number of repeats",
        "router.requests.patterns:_Check._repeat",
        never("_MOST_REPEATS"),
        _UNCLEAR,
    ),
    Guard(
        "Counted repeats one after another are bounded together",
        "router.requests.patterns:_Check.whole",
        never("_MOST_COUNTED"),
        _UNCLEAR,
    ),
    Guard(
        "A grammar has no rule that leads back to itself",
        "router.requests.expressions:_Ebnf._rule",
        never("None"),
        _GRAMMARS + "a_grammar_that_leads_back_or_is_unclear_is_refused",
    ),
    Guard(
        "A schema does not lead in a circle",
        "router.requests.grammars:check_schemas",
        drop("_check_circles"),
        _SCHEMA,
    ),
    Guard(
        "A pattern in a schema is looked at",
        "router.requests.grammars:check_schemas",
        drop("_check_expressions"),
        _SCHEMA,
    ),
    Guard(
        "A schema has a bounded number of values",
        "router.requests.grammars:check_schemas",
        never("MOST_VALUES"),
        _SCHEMA,
    ),
    Guard(
        "The schemas of tools that must be called are looked at",
        "router.requests.bounds:check_fields",
        never("must_call"),
        _PLACES,
    ),
)
