from __future__ import annotations

from router.admin.series import OTHER, Counts, ModelLabels, Times


def samples(series: Counts | Times) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in series.families()
        for one in family.samples
    }


def test_counts_that_meet_are_added_up() -> None:
    counts = Counts("uses", "text", ("model", "kind"))
    counts.add(("a", "x"))
    counts.add(("b", "x"), 4)
    counts.add(("b", "y"))
    counts.drop("a")
    counts.drop("a")
    assert samples(counts) == {
        ("uses_total", (OTHER, "x")): 1,
        ("uses_total", ("b", "x")): 4,
        ("uses_total", ("b", "y")): 1,
    }
    counts.drop("b")
    assert samples(counts) == {("uses_total", (OTHER, "x")): 5, ("uses_total", (OTHER, "y")): 1}


def test_a_dropped_model_that_is_used_again_counts_anew() -> None:
    counts = Counts("uses", "text", ("model",))
    counts.add(("a",), 2)
    counts.drop("a")
    counts.add(("a",))
    assert samples(counts) == {("uses_total", (OTHER,)): 2, ("uses_total", ("a",)): 1}
    counts.drop("a")
    assert samples(counts) == {("uses_total", (OTHER,)): 3}


def test_what_is_no_models_loses_nothing_with_a_model() -> None:
    counts = Counts("questions", "text", ("question",))
    counts.add(("a",))
    counts.drop("a")
    assert samples(counts) == {("questions_total", ("a",)): 1}


def test_a_model_that_is_called_as_the_others_are_loses_no_count() -> None:
    counts, times = Counts("uses", "text", ("model",)), Times("s", "text", ("model",), (1.0,))
    counts.add((OTHER,))
    times.add((OTHER,), 0.5)
    counts.drop(OTHER)
    times.drop(OTHER)
    assert samples(counts) == {("uses_total", (OTHER,)): 1}
    assert samples(times)["s_count", (OTHER,)] == 1


def test_families_show_what_was_counted_when_they_were_asked_for() -> None:
    counts, times = Counts("uses", "text"), Times("wait_seconds", "text", (), (1.0,))
    counts.add(())
    times.add((), 0.5)
    before = [*counts.families(), *times.families()]
    asked = [counts.families(), times.families()]
    counts.add((), 5)
    times.add((), 0.5)
    assert [family.samples for part in asked for family in part] == [
        family.samples for family in before
    ]


def test_a_histogram_adds_its_buckets_up() -> None:
    times = Times("wait_seconds", "text", ("model",), (1.0, 5.0))
    for seconds in (0.5, 1.0, 3.0, 60.0):
        times.add(("a",), seconds)
    times.add(("b",), 2.0)
    times.drop("a")
    times.drop("b")
    assert samples(times) == {
        ("wait_seconds_bucket", (OTHER, "1.0")): 2,
        ("wait_seconds_bucket", (OTHER, "5.0")): 4,
        ("wait_seconds_bucket", (OTHER, "+Inf")): 5,
        ("wait_seconds_count", (OTHER,)): 5,
        ("wait_seconds_sum", (OTHER,)): 66.5,
    }


def test_the_model_that_was_not_used_for_longest_loses_its_label() -> None:
    dropped: list[str] = []
    labels = ModelLabels(dropped.append, most=2)
    for model in ("a", "b", "a", "c", ""):
        assert labels.of(model) == model
    assert dropped == ["b"]
    assert [labels.known(model) for model in ("a", "b", "c")] == ["a", OTHER, "c"]


def test_the_operators_models_keep_their_label_also_those_that_are_listed_later() -> None:
    dropped: list[str] = []
    labels = ModelLabels(dropped.append, most=2)
    labels.of("org/Listed-Later")
    labels.name_operators(["org/own", "org/listed-later"])
    for model in ("org/own", "a", "b", "c"):
        labels.of(model)
    assert [labels.known(model) for model in ("org/own", "org/Listed-Later")] == [
        "org/own",
        "org/Listed-Later",
    ]
    assert dropped == ["a"]


def test_reloads_leave_no_series_behind() -> None:
    dropped: list[str] = []
    labels = ModelLabels(dropped.append, most=2)
    for number in range(10):
        labels.name_operators(["org/stays", f"org/renamed-{number}"])
        for model in ("org/stays", f"org/renamed-{number}"):
            labels.of(model)
    assert dropped == [f"org/renamed-{number}" for number in range(7)]


def test_a_model_that_is_listed_no_more_is_one_of_many() -> None:
    dropped: list[str] = []
    labels = ModelLabels(dropped.append, most=1)
    labels.name_operators(["org/own"])
    labels.of("org/own")
    labels.name_operators([])
    labels.of("org/own")
    labels.of("a")
    assert dropped == ["org/own"]
    assert labels.known("org/own") == OTHER
