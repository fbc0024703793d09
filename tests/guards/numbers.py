"""Guards of a model's answers: they contain the numbers that its weights give."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never, swap, without

_FLAGS = "tests/repository/test_engine_flags.py::"

GUARDS = (
    Guard(
        "An encoder computes no text in parts",
        "router.repository.engine_flags:engine_flags",
        swap("'-1'", "'2048'"),
        _FLAGS + "test_an_encoder_sees_each_text_whole[BertModel]",
    ),
    Guard(
        "An encoder takes nothing from another text's cache",
        "router.repository.engine_flags:engine_flags",
        without("--disable-radix-cache"),
        _FLAGS + "test_an_encoder_sees_each_text_whole[BertModel]",
    ),
    Guard(
        "No flag for all models makes an encoder's numbers wrong",
        "engines.command:argv",
        swap("own.needed", "()"),
        "tests/engines/test_command.py::"
        "test_an_encoder_has_no_chunks_whatever_the_operator_gives_to_all_models",
    ),
    Guard(
        "No text goes beyond a table of positions, which kills the engine",
        "router.repository.engine_flags:_context_flags",
        never("_ENCODERS"),
        _FLAGS + "test_a_roberta_takes_no_text_beyond_its_table_of_positions",
    ),
    Guard(
        "No text waits forever for a cache that can't hold it",
        "router.repository.engine_flags:_context_flags",
        drop("cache", "limits"),
        _FLAGS + "test_a_text_that_the_cache_can_not_hold_is_too_long[BertModel-embed]",
    ),
    Guard(
        "Pairs and single texts never meet in an encoder's batch, which kills the engine",
        "router.requests.fitting:check_engine",
        drop("scores_pairs"),
        "tests/requests/test_pairs.py::"
        "test_an_encoder_is_asked_about_pairs_or_about_texts[True-/v1/rerank-wrong0]",
    ),
    Guard(
        "A model of many vectors for a text never answers with one",
        "router.repository.check_vectors:why_wrong",
        swap('kind == "Dense" or kind.endswith("Pooling")', "False"),
        "tests/repository/test_check_vectors.py::"
        "test_a_model_of_many_vectors_for_a_text_is_refused",
    ),
    Guard(
        "A model whose vectors SGLang would get wrong is refused before its weights come",
        "router.repository.check_vectors:check_vectors",
        never("reason"),
        "tests/downloads/test_downloader.py::"
        "test_an_embedder_that_sglang_gets_wrong_is_refused_before_its_weights",
    ),
)
