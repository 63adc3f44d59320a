"""Tests of labelling: what is recorded, once, in whatever order."""

import dataclasses

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Corpus
from archcomp_tf.cost import num_params
from archcomp_tf.labeling import Labeler, Task, WorkerError
from archcomp_tf.training import Recipe

RECIPE = Recipe(epochs=1, batch_size=32)
ARCHITECTURES = [
    Architecture.parse(text)
    for text in ("conv3x3-2", "conv3x3-3", "separable_conv3x3-4 identity")
]


def _labeler(tmp_path, corpus, dataset=None, **kwargs):
    task = Task(dataset or tiny.dataset(), RECIPE, seed=0)
    return Labeler(task, corpus, directory=tmp_path, **kwargs)


def test_every_network_is_recorded_once_and_then_read_from_the_corpus(tmp_path):
    path = tmp_path / "records.jsonl"
    accuracies = _labeler(tmp_path, Corpus(path))(ARCHITECTURES)
    records = list(Corpus(path))
    assert [r.architecture for r in records] == ARCHITECTURES
    assert [r.accuracy for r in records] == accuracies
    for record in records:
        assert record.status == OK
        assert record.num_params == num_params(
            record.architecture, tiny.SHAPE, tiny.NUM_CLASSES
        )
        assert record.recipe == RECIPE.name
        assert record.seconds > 0
    before = path.read_bytes()
    again = _labeler(tmp_path, Corpus(path))
    # The same network with its removed layer left out has the same label.
    twin = [ARCHITECTURES[2].compact, ARCHITECTURES[0]]
    assert again(twin) == [accuracies[2], accuracies[0]]
    assert path.read_bytes() == before


def test_a_label_does_not_depend_on_the_order(tmp_path):
    forth = _labeler(tmp_path, Corpus())(ARCHITECTURES)
    back = _labeler(tmp_path, Corpus())(ARCHITECTURES[::-1])
    assert forth == back[::-1]


def test_a_training_that_diverges_is_recorded_as_failed_and_the_rest_go_on(
    tmp_path,
):
    dataset = tiny.dataset()
    broken = np.full_like(dataset.train.images, np.nan)
    train = dataclasses.replace(dataset.train, images=broken)
    corpus = Corpus()
    labeler = _labeler(
        tmp_path, corpus, dataclasses.replace(dataset, train=train)
    )
    assert all(np.isnan(labeler(ARCHITECTURES)))
    assert [r.status for r in corpus] == [FAILED] * 3
    reasons = [r.reason for r in corpus]
    assert all(r.startswith("DivergedError: The loss of ") for r in reasons)


def test_a_network_that_the_backend_cannot_run_is_recorded_as_failed(
    tmp_path, monkeypatch
):
    def run(task, architecture, recipe):
        del task, recipe
        if architecture == ARCHITECTURES[1]:
            raise tf.errors.ResourceExhaustedError(
                None, None, "no memory\n" * 99
            )
        return 0.5

    monkeypatch.setattr(Task, "run", run)
    corpus = Corpus()
    accuracies = _labeler(tmp_path, corpus)(ARCHITECTURES)
    np.testing.assert_equal(accuracies, [0.5, np.nan, 0.5])
    failed = list(corpus)[1]
    assert failed.status == FAILED
    assert failed.reason.startswith("ResourceExhaustedError: no memory no")
    assert len(failed.reason) == 300


def test_an_error_that_is_not_the_networks_stops_with_its_reason(tmp_path):
    dataset = tiny.dataset()
    short = dataclasses.replace(dataset.train, labels=dataset.train.labels[:-1])
    labeler = _labeler(
        tmp_path, Corpus(), dataclasses.replace(dataset, train=short)
    )
    with pytest.raises(Exception, match="Labelling .*conv.* stopped: "):
        labeler(ARCHITECTURES)


def test_a_label_that_cannot_be_kept_stops_with_its_reason(
    tmp_path, monkeypatch
):
    def append(corpus, record):
        del corpus, record
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Corpus, "append", append)
    with pytest.raises(keras_tuner.errors.FatalError, match="No space left"):
        _labeler(tmp_path, Corpus())(ARCHITECTURES)


def test_two_worker_processes_label_one_corpus_and_more_when_asked(tmp_path):
    path = tmp_path / "records.jsonl"
    labeler = _labeler(tmp_path, Corpus(path), num_workers=2)
    try:
        accuracies = labeler(ARCHITECTURES)
        assert all(0 <= accuracy <= 1 for accuracy in accuracies)
        more = Architecture.parse("conv1x1-2")
        assert labeler([more, ARCHITECTURES[1]])[1] == accuracies[1]
    finally:
        labeler.close()
    records = {r.architecture.fingerprint: r for r in Corpus(path)}
    assert set(records) == {a.fingerprint for a in [*ARCHITECTURES, more]}
    # Killed workers are noticed; what was labelled stays.
    labeler = _labeler(tmp_path, Corpus(path), num_workers=1)
    assert labeler(ARCHITECTURES) == accuracies


def test_a_worker_that_dies_is_reported_and_labels_are_kept(tmp_path):
    # Arrays that cannot be trained on end the worker, not the network.
    dataset = tiny.dataset()
    short = dataclasses.replace(dataset.train, labels=dataset.train.labels[:-1])
    labeler = _labeler(
        tmp_path,
        Corpus(),
        dataclasses.replace(dataset, train=short),
        num_workers=2,
    )
    with pytest.raises(WorkerError, match="of 2 labelling workers ended"):
        labeler(ARCHITECTURES)
