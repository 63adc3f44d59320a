"""Tests of which networks get the long trainings, and which of them wins."""

import re
import types

import pytest
import tiny

from archcomp_tf import finals
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import Record, write_records
from archcomp_tf.ledger import SearchResult
from archcomp_tf.limits import LimitError
from archcomp_tf.objective import Budget, LogParams, Tolerance
from archcomp_tf.training import Recipe

TEACHER = Architecture.parse("conv3x3-8 conv3x3-8")
NETWORKS = [Architecture.parse(f"conv3x3-{n} conv3x3-8") for n in (2, 4, 6, 7)]


def _run(folder, **changes):
    """A run that has come as far as the search."""
    changes = {
        "labels.distil": False,
        "student.num_tuning_trials": 1,
        **changes,
    }
    return tiny.taught_run(folder, TEACHER, **changes)


def _result(run, accuracies) -> SearchResult:
    """A search that labelled `NETWORKS`."""
    records = [
        Record(network, accuracy, run.space.count_params(network))
        for network, accuracy in zip(NETWORKS, accuracies, strict=True)
    ]
    return SearchResult(tuple(records), Budget(10_000), run.allowance.keeps)


@pytest.fixture
def trained(monkeypatch):
    """Networks that were trained for long; each comes to a mean of its own."""
    given = []
    means = dict(zip(NETWORKS, (0.8, 0.7, 0.9, 0.6), strict=True))

    class Trainer:
        def __init__(self, *args, seeds, **kwargs):
            self._seeds = list(seeds)

        def __call__(self, networks, recipe):
            given.append((list(networks.values()), self._seeds))
            return {
                name: types.SimpleNamespace(mean_accuracy=means[network])
                for name, network in networks.items()
            }

    monkeypatch.setattr(finals, "StudentTrainer", Trainer)
    return given


def test_of_the_finalists_the_best_after_long_trainings_wins(tmp_path, trained):
    run = _run(tmp_path, **{"student.num_finalists": 3})
    best = finals.best_of(run, _result(run, (0.5, 0.6, 0.4, 0.3)))
    assert best == NETWORKS[2]
    # The three best labels, the last of them the best in the end.
    assert trained[0][0] == [NETWORKS[i] for i in (1, 0, 2)]


def test_each_further_seed_is_for_the_better_half(tmp_path, trained):
    changes = {"student.num_finalists": 4, "student.num_seeds": 4}
    run = _run(tmp_path, **changes)
    best = finals.best_of(run, _result(run, (0.5, 0.6, 0.4, 0.3)))
    assert best == NETWORKS[2]
    assert trained == [
        ([NETWORKS[i] for i in (1, 0, 2, 3)], [0]),
        ([NETWORKS[i] for i in (2, 0)], [0, 1000]),
        ([NETWORKS[2]], [0, 1000, 2000]),
        ([NETWORKS[2]], [0, 1000, 2000, 3000]),
    ]


def test_what_finalists_may_lose_is_lost_from_the_teacher_as_it_is(
    tmp_path, trained
):
    changes = {"limits.max_accuracy_drop": 0.15, "student.num_finalists": 4}
    run = _run(tmp_path, **changes)
    # As a label the teacher's own layers come to less than any finalist.
    run.workdir.finish_stage("corpus", {"reference_accuracy": 0.5})
    teacher = run.stage("teacher") | {"validation_accuracy": 0.9}
    run.workdir.finish_stage("teacher", teacher)
    best = finals.best_of(run, _result(run, (0.5, 0.6, 0.4, 0.3)))
    # 0.8 and 0.9 are enough; 0.7 and 0.6 are not, the last of them smallest.
    assert best == NETWORKS[0]


def test_a_single_finalist_has_nothing_to_win_against(tmp_path, trained):
    run = _run(tmp_path, **{"student.num_finalists": 1})
    best = finals.best_of(run, _result(run, (0.5, 0.6, 0.4, 0.3)))
    assert best == NETWORKS[1]
    assert not trained


@pytest.mark.parametrize(
    ("objective", "validation_accuracy", "doubt"),
    [
        (Budget(100), 0.9, ""),
        (Budget(99), 0.9, "At most 99 parameters .* the student has 100"),
        (Tolerance(0.1, 0.95), 0.85, ""),
        (Tolerance(0.1, 0.95), 0.8, "at most 10 points .* loses 15"),
        (LogParams(), 0.1, ""),
    ],
)
def test_a_student_that_is_not_what_was_asked_for_is_doubted(
    objective, validation_accuracy, doubt
):
    run = types.SimpleNamespace(final_objective=objective)
    student = {"num_params": 100, "validation_accuracy": validation_accuracy}
    found = " ".join(finals._missed(run, student))
    assert re.search(doubt, found) if doubt else not found


@pytest.mark.parametrize("num_trials", [0, 1])
def test_one_recipe_is_not_tried_before_it_is_used(tmp_path, num_trials):
    run = _run(tmp_path, **{"student.num_tuning_trials": num_trials})
    recipe, trials = finals.tuned_recipe(run, NETWORKS[0])
    assert recipe == Recipe(**run.config.student.recipe)
    assert trials == [] and not (tmp_path / "students").exists()


def test_what_breaks_a_limit_is_no_finalist_where_another_keeps_it(
    tmp_path, trained
):
    run = _run(tmp_path)
    run.config.limits.max_params = run.space.count_params(NETWORKS[1])
    finals.best_of(run, _result(run, (0.5, 0.6, 0.7, 0.8)))
    networks, _ = trained[0]
    assert set(networks) == {NETWORKS[0], NETWORKS[1]}


def _searched(run, best) -> None:
    """Leaves a search that labelled `NETWORKS` and found the best of them."""
    result = _result(run, (0.5, 0.6, 0.7, 0.8))
    record = {"best": str(best), "predictions": {best.fingerprint: 0.25}}
    run.workdir.finish_stage("search", record)
    with run.workdir.replacing("search/records.jsonl") as path:
        write_records(path, result.history)


def test_a_student_that_loses_too_much_is_followed_by_the_next_larger(tmp_path):
    run = _run(tmp_path, **{"limits.max_accuracy_drop": 0.1})
    _searched(run, NETWORKS[0])
    run.workdir.finish_stage("corpus", {"reference_accuracy": 0.5})
    # Nothing that hardly learns comes near what the teacher is said to be.
    teacher = run.stage("teacher") | {"validation_accuracy": 1.0}
    run.workdir.finish_stage("teacher", teacher)
    run.config.student.recipe.update(epochs=1, learning_rate=1e-9)
    with pytest.raises(
        LimitError, match=r"max_accuracy_drop is 0\.1 .* kept in"
    ):
        finals.train_student(run)
    kept = [
        tmp_path / finals.folder_of(run.described(network)) / "model.keras"
        for network in NETWORKS
    ]
    assert [path.exists() for path in kept] == [True, True, True, False]


@pytest.mark.parametrize(
    ("epochs", "rate", "doubted"), [(1, 1e-9, True), (20, 0.1, False)]
)
def test_a_student_that_is_right_by_chance_alone_is_doubted(
    tmp_path, caplog, epochs, rate, doubted
):
    run = _run(tmp_path)
    _searched(run, NETWORKS[2])
    run.config.student.recipe.update(
        epochs=epochs, learning_rate=rate, batch_size=16
    )
    record = finals.train_student(run)
    assert record["architecture"] == str(NETWORKS[2])
    assert record["predicted_accuracy"] == 0.25
    assert ("hardly more than by chance" in caplog.text) == doubted
