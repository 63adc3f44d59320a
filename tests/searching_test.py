"""Tests of a run's search: what it labels, what it leaves, what it refuses."""

import contextlib

import pytest
import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.config import objective_config
from archcomp_tf.corpus import OK, Corpus
from archcomp_tf.embedding import learn_embedding
from archcomp_tf.labeling import LabelError
from archcomp_tf.limits import LimitError
from archcomp_tf.samples import initial_samples
from archcomp_tf.searching import label_samples, run_search

TEACHER = Architecture.parse("conv3x3-8 conv3x3-8")
TOLERANCE = objective_config("Tolerance", max_drop=0.1)


def _run(folder, label=lambda network: 0.9, **changes):
    """A run with a taught teacher, and every network it has labelled."""
    run = tiny.taught_run(folder, TEACHER, **changes)
    labelled = []

    def labeler(networks):
        labelled.extend(networks)
        return [label(network) for network in networks]

    # In place of the property, which trains.
    labeler.try_again = lambda network: None
    vars(run)["labeler"] = labeler
    return run, labelled


def test_samples_are_labelled_and_the_teachers_own_layers_where_they_count(
    tmp_path,
):
    run, labelled = _run(tmp_path, objective=TOLERANCE)
    state = tmp_path / "teacher/training.npz"
    state.write_bytes(b"what a training would go on from")
    record = label_samples(run)
    samples = initial_samples(run.space, 8, run.seed)
    assert labelled == [TEACHER, *samples]
    expected = {"num_labels": 8, "doubts": []}
    assert record == expected | {"reference_accuracy": 0.9}
    assert not state.exists()
    run, labelled = _run(tmp_path / "budget")
    assert label_samples(run) == expected and labelled == samples


def test_a_label_of_the_teacher_that_says_nothing_is_doubted(tmp_path):
    run, _ = _run(tmp_path, lambda network: 0.5, objective=TOLERANCE)
    (doubt,) = label_samples(run)["doubts"]
    assert "come to 50.0%" in doubt and "labels.recipe is too brief" in doubt


def test_a_budget_that_no_network_keeps_to_costs_no_label(tmp_path):
    run, labelled = _run(
        tmp_path, objective=objective_config("Budget", max_params=3)
    )
    with pytest.raises(LimitError, match="nearest .* max_params is 3 and it"):
        label_samples(run)
    assert not labelled


def test_layers_of_the_teacher_that_cannot_be_labelled_are_named(tmp_path):
    error = LabelError("too large")
    run, labelled = _run(
        tmp_path,
        lambda network: error if network == TEACHER else 0.5,
        objective=TOLERANCE,
    )
    with pytest.raises(LabelError, match="own layers, .* from; got: too large"):
        label_samples(run)
    assert labelled == [TEACHER]  # no other label is paid for


def test_a_label_of_the_teacher_that_failed_is_tried_again(
    tmp_path, monkeypatch
):
    def labelled():
        changes = {"objective": TOLERANCE, "labels.distil": False}
        run = tiny.taught_run(tmp_path, TEACHER, **changes)
        with contextlib.closing(run):
            return label_samples(run)

    def fails(*args, **kwargs):
        raise MemoryError("no memory left")

    with monkeypatch.context() as patch, pytest.raises(LabelError, match="no"):
        patch.setattr("archcomp_tf.task.Task.run", fails)
        labelled()
    assert labelled()["num_labels"] == 8
    (record, *_) = Corpus(tmp_path / "corpus/records.jsonl")
    assert record.architecture == TEACHER and record.status == OK


def test_further_samples_make_up_for_those_that_fail(tmp_path):
    failed = []

    def label(network):
        if len(failed) < 2:
            failed.append(network)
            return LabelError("killed")
        return 0.5

    run, labelled = _run(tmp_path, label)
    assert label_samples(run)["num_labels"] == 10
    assert len({a.fingerprint for a in labelled}) == 10
    assert labelled[:8] == initial_samples(run.space, 8, run.seed)


def _searched(folder, **changes):
    run, labelled = _run(
        folder,
        lambda network: 0.9 - 0.001 * network.layers[0].filters,
        **{"student.num_finalists": 1, **changes},
    )
    run.workdir.finish_stage("corpus", {"num_labels": 8})
    learn_embedding(run)
    return run, labelled


def test_a_search_leaves_what_it_labelled_and_names_the_best(tmp_path):
    run, labelled = _searched(tmp_path)
    record = run_search(run)
    assert (record["num_labels"], record["num_known"]) == (10, 0)
    found = list(Corpus(tmp_path / "search/records.jsonl"))
    assert [r.architecture for r in found] == labelled
    best = max(found, key=lambda r: run.objective(r.accuracy, r.num_params))
    assert Architecture.parse(record["best"]) == best.architecture.compact
    assert len(record["predictions"]) == record["num_labels"] - 8


def test_labels_are_kept_where_none_keeps_to_the_limits(tmp_path):
    run, _ = _searched(tmp_path, **{"limits.max_params": 1})
    with pytest.raises(LimitError, match="None of 8 labelled networks keeps"):
        run_search(run)
    assert len(list(Corpus(tmp_path / "search/records.jsonl"))) == 8
