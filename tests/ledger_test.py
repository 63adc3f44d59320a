"""Tests of what is asked of an `evaluate`, and of what it may do wrong."""

import dataclasses
import math
import pickle

import keras_tuner
import numpy as np
import pytest
from embeddings import COUNT, SPACE, accuracy_of, trained

from archcomp_tf.architecture import Architecture
from archcomp_tf.compression import search
from archcomp_tf.corpus import FAILED, OK, Corpus, Record
from archcomp_tf.ledger import (
    EvaluationError,
    Ledger,
    SearchResult,
)
from archcomp_tf.objective import LogParams
from archcomp_tf.samples import new_samples
from archcomp_tf.search_space import SearchSpace

SAMPLES = new_samples(SPACE, 12, np.random.default_rng(0), set())


def _all(architectures):
    return [accuracy_of(a) for a in architectures]


def _ledger(evaluate, num_labels=12):
    return Ledger(evaluate, COUNT, num_labels, LogParams())


def test_a_labelled_network_is_not_asked_for_again():
    asked = []

    def evaluate(architectures):
        asked.extend(architectures)
        return _all(architectures)

    ledger = _ledger(evaluate)
    first = ledger.label(SAMPLES[:3])
    again = ledger.label([SAMPLES[2], SAMPLES[3], SAMPLES[3]])
    assert asked == SAMPLES[:4]
    assert again[0] is first[2]
    assert again[1] is again[2] is ledger.records[3]
    assert ledger.remaining == 8


@dataclasses.dataclass(frozen=True)
class _Odd:
    """An objective that is NaN for a few networks, one of them the best."""

    def __call__(self, accuracy, num_params):
        return math.nan if 0.7 < accuracy < 1 else accuracy

    @staticmethod
    def relaxed(accuracy, log_params):
        return accuracy


def test_where_an_objective_gives_no_number_a_network_is_behind_all_others():
    accuracies = iter([0.3, 0.9, 0.6, 0.2, 0.8])
    ledger = Ledger(
        lambda asked: [next(accuracies) for _ in asked], COUNT, 5, _Odd()
    )
    ledger.label(SAMPLES[:5])
    ranked = ledger.result().ranked
    assert [r.accuracy for r in ranked[:3]] == [0.6, 0.3, 0.2]
    assert ledger.result().score(ranked[3]) == -math.inf


def test_each_label_is_told_before_the_next_is_asked_for(tmp_path):
    corpus = Corpus(tmp_path / "records.jsonl")

    def interrupted(architectures):
        if len(corpus) == 6:
            raise KeyboardInterrupt
        return [math.nan if len(corpus) == 2 else 0.5 for _ in architectures]

    ledger = Ledger(interrupted, COUNT, 12, LogParams(), on_label=corpus.append)
    with pytest.raises(KeyboardInterrupt):
        for place in range(0, 12, 2):
            ledger.label(SAMPLES[place : place + 2])
    kept = list(Corpus(tmp_path / "records.jsonl"))
    assert [r.architecture for r in kept] == SAMPLES[:6]
    assert [r.status for r in kept] == [OK, OK, FAILED, FAILED, OK, OK]
    again = Ledger(_all, COUNT, 6, LogParams(), known=kept)
    again.label(SAMPLES[:12])
    assert again.remaining == 0


def test_of_networks_that_are_asked_for_one_by_one_none_is_lost():
    told = []

    def interrupted(architectures):
        if len(architectures) > 1:
            raise RuntimeError("one by one")
        if len(told) == 3:
            raise KeyboardInterrupt
        return [0.5]

    ledger = Ledger(interrupted, COUNT, 8, LogParams(), on_label=told.append)
    with pytest.raises(KeyboardInterrupt):
        ledger.label(SAMPLES[:8])
    assert [r.architecture for r in told] == SAMPLES[:3]
    assert ledger.records == told


@pytest.mark.parametrize(
    "given", [0.5, {"a": 0.5}, "0.5", None], ids=["number", "dict", "text", "-"]
)
def test_what_is_no_row_of_accuracies_is_named(given):
    record, *_ = _ledger(lambda asked: given).label(SAMPLES[:1])
    assert record.status == FAILED
    assert record.reason.startswith("TypeError: expected a row of 1 accuracies")
    assert record.reason.endswith(f"got {given!r}")


@pytest.mark.parametrize("name", ["evaluate", "count_params", "on_label"])
def test_what_is_to_be_called_is_a_function(name):
    functions = {"evaluate": _all, "count_params": COUNT, "on_label": print}
    functions[name] = {"a": 0.5}
    with pytest.raises(TypeError, match=f"function as {name}; got .'a': 0.5"):
        Ledger(num_labels=12, objective=LogParams(), **functions)


def test_no_label_is_paid_for_where_its_parameters_cannot_be_counted():
    def fails(architecture):
        raise ZeroDivisionError(architecture)

    asked = []
    ledger = Ledger(
        lambda a: asked.extend(a) or _all(a), fails, 12, LogParams()
    )
    with pytest.raises(ZeroDivisionError):
        ledger.label(SAMPLES[:3])
    assert not asked


@pytest.mark.parametrize("size", [1.5, 0.07, 0, float("nan")])
def test_no_label_is_paid_for_where_sizes_are_no_whole_numbers(size):
    asked = []
    ledger = Ledger(
        lambda a: asked.extend(a) or _all(a), lambda a: size, 12, LogParams()
    )
    with pytest.raises(ValueError, match=f"whole and positive .* got {size}"):
        ledger.label(SAMPLES[:3])
    assert not asked


def test_sizes_may_be_whole_numbers_of_any_kind():
    ledger = Ledger(_all, lambda a: np.float64(COUNT(a)), 12, LogParams())
    found = ledger.label(SAMPLES[:3])
    assert [record.num_params for record in found] == [*map(COUNT, SAMPLES[:3])]


def test_what_evaluate_does_with_its_list_is_its_own_affair():
    def evaluate(architectures):
        architectures.sort(key=COUNT)
        found = _all(architectures)
        architectures.clear()
        return found

    ledger = _ledger(evaluate)
    found = ledger.label(sorted(SAMPLES, key=COUNT))
    assert [record.accuracy for record in found] == [
        accuracy_of(record.architecture) for record in found
    ]


def test_more_labels_than_were_allowed_are_refused():
    with pytest.raises(ValueError, match="at most 2 more .* got 3"):
        _ledger(_all, num_labels=2).label(SAMPLES[:3])
    with pytest.raises(ValueError, match="num_labels, .* at least 1; got 0"):
        _ledger(_all, num_labels=0)
    with pytest.raises(ValueError, match="a whole number, .* got 12.0"):
        _ledger(_all, num_labels=12.0)
    with pytest.raises(
        ValueError, match="labels_a_round, .* at least 1; got -1"
    ):
        _ledger(_all).round_size(-1)
    with pytest.raises(TypeError, match="Expected an objective"):
        Ledger(_all, COUNT, 12, LogParams)


def test_rounds_grow_with_the_labels_and_end_with_them():
    space = SearchSpace.around(Architecture.parse("conv3x3-64 conv3x3-64"))
    samples = new_samples(space, 130, np.random.default_rng(0), set())
    ledger = Ledger(lambda a: [0.5] * len(a), lambda _: 1, 130, LogParams())
    assert ledger.round_size(None) == 2
    assert ledger.round_size(5) == 5
    ledger.label(samples[:48])
    assert ledger.round_size(None) == 3
    ledger.label(samples[48:120])
    assert ledger.round_size(None) == 4
    ledger.label(samples[120:127])
    assert ledger.round_size(None) == ledger.round_size(5) == 3


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "got nan"),
        (1.01, "got 1.01"),
        (-0.1, "got -0.1"),
        (98.2, "got 98.2"),
        (math.inf, "got inf"),
        (None, "got None"),
        ("good", "got 'good'"),
    ],
)
def test_a_value_that_is_no_accuracy_fails_that_label_alone(value, reason):
    ledger = _ledger(lambda a: [value, *_all(a[1:])])
    records = ledger.label(SAMPLES[:3])
    assert [r.status for r in records] == [FAILED, OK, OK]
    assert math.isnan(records[0].accuracy)
    assert records[0].reason.startswith("expected an accuracy in [0, 1]")
    assert records[0].reason.endswith(reason)
    assert [r.accuracy for r in records[1:]] == _all(SAMPLES[1:3])


def test_an_exception_in_place_of_a_value_is_the_reason():
    ledger = _ledger(lambda a: [MemoryError("too large"), *_all(a[1:])])
    records = ledger.label(SAMPLES[:2])
    assert [r.status for r in records] == [FAILED, OK]
    assert math.isnan(records[0].accuracy)
    assert records[0].reason == "too large"


def test_an_exception_without_a_text_is_its_name():
    records = _ledger(lambda a: [TimeoutError()]).label(SAMPLES[:1])
    assert [(r.status, r.reason) for r in records] == [(FAILED, "TimeoutError")]


def test_a_value_that_raises_where_it_is_read_fails_that_label_alone():
    ledger = _ledger(lambda a: [10**400, *_all(a[1:])])  # an OverflowError
    records = ledger.label(SAMPLES[:2])
    assert [r.status for r in records] == [FAILED, OK]


def test_one_network_that_raises_does_not_take_its_batch_with_it():
    def evaluate(architectures):
        if SAMPLES[1] in architectures:
            raise MemoryError("too large")
        return _all(architectures)

    records = _ledger(evaluate).label(SAMPLES[:4])
    assert [r.status for r in records] == [OK, FAILED, OK, OK]
    assert records[1].reason == "MemoryError: too large"


def test_a_wrong_number_of_values_is_asked_for_one_by_one():
    def evaluate(architectures):
        return _all(architectures)[:2]

    records = _ledger(evaluate).label(SAMPLES[:4])
    assert [r.accuracy for r in records] == _all(SAMPLES[:4])
    records = _ledger(lambda a: [0.5] * (len(a) + 1), 3).label
    with pytest.raises(EvaluationError, match="expected 1 accuracies .* got 2"):
        records(SAMPLES[:3])


def test_an_interrupt_is_not_a_failed_label():
    def evaluate(architectures):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ledger(evaluate).label(SAMPLES[:2])


def test_an_evaluate_that_cannot_go_on_is_not_asked_again():
    asked = []

    def evaluate(architectures):
        asked.append(architectures)
        raise keras_tuner.errors.FatalError("disk full")

    ledger = _ledger(evaluate)
    with pytest.raises(keras_tuner.errors.FatalError, match="disk full"):
        ledger.label(SAMPLES[:2])
    assert asked == [SAMPLES[:2]]
    assert not ledger.records


def test_where_most_fail_one_error_holds_what_was_paid_for():
    good = set(SAMPLES[:4])

    def evaluate(architectures):
        return [accuracy_of(a) if a in good else 2.0 for a in architectures]

    ledger = _ledger(evaluate)
    ledger.label(SAMPLES[:8])  # half of them is not most of them
    with pytest.raises(EvaluationError, match="6 of 10 .* got 2.0") as caught:
        ledger.label(SAMPLES[8:10])
    history = caught.value.history
    assert [r.status for r in history] == [OK] * 4 + [FAILED] * 6
    assert [r.accuracy for r in history[:4]] == _all(SAMPLES[:4])


def test_a_search_goes_on_where_some_labels_fail():
    def evaluate(architectures):
        # Every third network cannot be trained.
        if any(int(a.fingerprint, 16) % 3 == 0 for a in architectures):
            raise RuntimeError("does not fit")
        return _all(architectures)

    result = search(
        SPACE,
        evaluate,
        num_labels=40,
        num_initial=8,
        objective=LogParams(0.05),
        seed=0,
        count_params=COUNT,
        autoencoder=trained(),
    )
    failed = [r for r in result.history if r.status == FAILED]
    assert len(result.history) == 40
    assert failed and all("does not fit" in r.reason for r in failed)
    assert all(int(r.architecture.fingerprint, 16) % 3 == 0 for r in failed)
    assert result.best.status == OK


def test_what_is_known_is_not_asked_for_and_costs_no_label():
    known = [Record(a, 0.5, COUNT(a)) for a in SAMPLES[:3]]
    asked = []

    def evaluate(architectures):
        asked.extend(architectures)
        return [0.25] * len(architectures)

    ledger = Ledger(evaluate, COUNT, 2, LogParams(), known=[*known, known[0]])
    assert ledger.records == known
    assert ledger.remaining == 2
    records = ledger.label(SAMPLES[2:5])
    assert asked == SAMPLES[3:5]
    assert [record.accuracy for record in records] == [0.5, 0.25, 0.25]
    assert ledger.remaining == 0
    assert ledger.records[:3] == known


def test_of_a_network_that_is_known_twice_the_label_that_did_not_fail_counts():
    failed = Record(SAMPLES[0], math.nan, 10, status=FAILED, reason="killed")
    good = Record(SAMPLES[0], 0.5, COUNT(SAMPLES[0]))
    ledger = Ledger(_all, COUNT, 2, LogParams(), known=[failed, good])
    assert ledger.records == [good]
    assert ledger.num_ok == 1


def test_most_labels_failing_is_told_to_another_process():
    records = [Record(SAMPLES[0], 0.5, COUNT(SAMPLES[0]))]
    error = pickle.loads(pickle.dumps(EvaluationError("most", records)))
    assert (str(error), error.history) == ("most", tuple(records))


def test_what_is_known_of_another_problem_is_refused():
    stranger = Record(SAMPLES[0], 0.9, COUNT(SAMPLES[0]) - 1)
    with pytest.raises(ValueError, match="images and classes like these; got"):
        Ledger(_all, COUNT, 2, LogParams(), known=[stranger])
    # Nothing is learnt from a label that failed.
    failed = Record(SAMPLES[0], math.nan, 10, status=FAILED)
    ledger = Ledger(_all, {}.__getitem__, 2, LogParams(), known=[failed])
    assert ledger.records == [failed]


def test_what_breaks_a_limit_stands_behind_all_that_keeps_it():
    records = tuple(
        Record(architecture, accuracy, 10)
        for architecture, accuracy in zip(
            SAMPLES[:3], (0.9, 0.5, 0.7), strict=True
        )
    )
    result = SearchResult(
        records,
        LogParams(0.0),
        keeps=lambda architecture: architecture != SAMPLES[0],
    )
    assert [r.accuracy for r in result.ranked] == [0.7, 0.5, 0.9]
    assert result.best.accuracy == 0.7
    assert [r.accuracy for r in result.pareto] == [0.7]
    # In one line, whatever it holds.
    assert repr(result) == f"<SearchResult of 3 labels, best {result.best!r}>"
