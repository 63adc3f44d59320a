"""Tests of labelling: what is recorded, once, in whatever order."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time

import fresh
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tiny

from archcomp_tf import labeling
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Corpus
from archcomp_tf.cost import num_params
from archcomp_tf.labeling import Labeler, LabelError
from archcomp_tf.processes import WorkerError
from archcomp_tf.task import Task
from archcomp_tf.training import Recipe

RECIPE = Recipe(epochs=1, batch_size=32)
ARCHITECTURES = [
    Architecture.parse(text)
    for text in ("conv3x3-2", "conv3x3-3", "separable_conv3x3-4 identity")
]


def _labeler(corpus, dataset=None, task=None, **kwargs):
    task = task or Task(dataset or tiny.dataset(), RECIPE, seed=0)
    return Labeler(task, corpus, **kwargs)


def test_every_network_is_recorded_once_and_then_read_from_the_corpus(tmp_path):
    path = tmp_path / "records.jsonl"
    accuracies = _labeler(Corpus(path))(ARCHITECTURES)
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
    again = _labeler(Corpus(path))
    # The same network with its removed layer left out has the same label.
    twin = [ARCHITECTURES[2].compact, ARCHITECTURES[0]]
    assert again(twin) == [accuracies[2], accuracies[0]]
    assert path.read_bytes() == before


class _FailingTask(Task):
    """Some networks cannot be trained, for want of memory."""

    failing = ()

    def run(self, architecture):
        if architecture in self.failing:
            raise MemoryError
        return super().run(architecture)


def test_where_most_failed_a_new_start_tries_these_again_and_once(tmp_path):
    path = tmp_path / "records.jsonl"
    task = _FailingTask(tiny.dataset(), RECIPE, seed=0)

    def labels(failing, times=1):
        task.failing = failing
        with contextlib.closing(Corpus(path)) as corpus:
            labeler = _labeler(corpus, task=task)
            return [labeler(ARCHITECTURES) for _ in range(times)][-1]

    before = labels(ARCHITECTURES[:2])
    assert [isinstance(x, LabelError) for x in before] == [True, True, False]
    after = labels(ARCHITECTURES[:1], times=2)
    assert isinstance(after[0], LabelError) and 0 <= after[1] <= 1
    assert after[2] == before[2]
    # Now these are the fewer: others were labelled by what is known of them.
    assert isinstance(labels(())[0], LabelError)
    assert len(path.read_bytes().splitlines()) == 3 + 2


def test_workers_that_cannot_be_started_are_an_error_of_their_own(monkeypatch):
    def start_worker(*args):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(labeling, "start_worker", start_worker)
    with pytest.raises(WorkerError, match="cannot be started: .*allocate"):
        _labeler(Corpus(), num_workers=2)(ARCHITECTURES)


def test_a_label_does_not_depend_on_the_order():
    forth = _labeler(Corpus())(ARCHITECTURES)
    back = _labeler(Corpus())(ARCHITECTURES[::-1])
    assert forth == back[::-1]


def test_a_training_that_diverges_is_recorded_as_failed_and_the_rest_go_on():
    dataset = tiny.dataset()
    broken = np.full_like(dataset.train.images, np.nan)
    train = dataclasses.replace(dataset.train, images=broken)
    corpus = Corpus()
    labeler = _labeler(corpus, dataclasses.replace(dataset, train=train))
    failed = labeler(ARCHITECTURES)
    assert [r.status for r in corpus] == [FAILED] * 3
    reasons = [r.reason for r in corpus]
    assert all(r.startswith("DivergedError: The loss of ") for r in reasons)
    assert all(isinstance(error, LabelError) for error in failed)
    assert [str(error) for error in failed] == reasons


def test_a_network_that_the_backend_cannot_run_is_recorded_as_failed(
    monkeypatch,
):
    def run(task, architecture):
        del task
        if architecture == ARCHITECTURES[1]:
            raise tf.errors.ResourceExhaustedError(
                None, None, "no memory\n" * 99
            )
        return 0.5

    monkeypatch.setattr(Task, "run", run)
    corpus = Corpus()
    accuracies = _labeler(corpus)(ARCHITECTURES)
    assert accuracies[::2] == [0.5, 0.5]
    assert isinstance(accuracies[1], LabelError)
    failed = list(corpus)[1]
    assert failed.status == FAILED
    assert failed.reason.startswith("ResourceExhaustedError: no memory no")
    assert len(failed.reason) == 300


def test_an_error_that_is_not_the_networks_stops_with_its_reason():
    dataset = tiny.dataset()
    short = dataclasses.replace(dataset.train, labels=dataset.train.labels[:-1])
    labeler = _labeler(Corpus(), dataclasses.replace(dataset, train=short))
    with pytest.raises(Exception, match="Labelling .*conv.* stopped: "):
        labeler(ARCHITECTURES)


def test_a_label_that_cannot_be_kept_stops_with_its_reason(monkeypatch):
    def append(corpus, record):
        del corpus, record
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Corpus, "append", append)
    with pytest.raises(keras_tuner.errors.FatalError, match="No space left"):
        _labeler(Corpus())(ARCHITECTURES)


def test_two_worker_processes_label_one_corpus_and_more_when_asked(
    tmp_path, monkeypatch
):
    # gRPC would ask it for what is on this machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    path = tmp_path / "records.jsonl"
    labeler = _labeler(Corpus(path), num_workers=2)
    try:
        accuracies = labeler(ARCHITECTURES)
        assert all(0 <= accuracy <= 1 for accuracy in accuracies)
        more = Architecture.parse("conv1x1-2")
        assert labeler([more, ARCHITECTURES[1]])[1] == accuracies[1]
    finally:
        labeler.close()
    records = {r.architecture.fingerprint: r for r in Corpus(path)}
    assert set(records) == {a.fingerprint for a in [*ARCHITECTURES, more]}
    # One process gives the same labels as two.
    assert _labeler(Corpus())(ARCHITECTURES) == accuracies


def test_a_worker_that_ends_itself_is_reported_and_labels_are_kept():
    # Arrays that cannot be trained on end the worker, not the network.
    dataset = tiny.dataset()
    short = dataclasses.replace(dataset.train, labels=dataset.train.labels[:-1])
    labeler = _labeler(
        Corpus(),
        dataclasses.replace(dataset, train=short),
        num_workers=2,
    )
    with pytest.raises(WorkerError, match="of 2 labelling workers ended"):
        labeler(ARCHITECTURES)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_training_that_takes_too_long_is_recorded_as_failed(
    num_workers, capfd
):
    task = Task(tiny.dataset(), RECIPE, seed=0, max_seconds=1e-3)
    corpus = Corpus()
    labeler = _labeler(corpus, task=task, num_workers=num_workers)
    try:
        (failed,) = labeler(ARCHITECTURES[:1])
    finally:
        labeler.close()
    assert isinstance(failed, LabelError)
    (record,) = corpus
    assert record.status == FAILED
    assert "took more than 0.001 s" in record.reason
    assert record.seconds > 0
    assert "Traceback" not in capfd.readouterr().err


class _DeadlyTask(Task):
    """The second network ends, or holds up, whatever process trains it."""

    def run(self, architecture):
        if architecture == ARCHITECTURES[1]:
            if self.recipe.epochs == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)
        return super().run(architecture)


def test_a_network_that_kills_its_workers_is_recorded_as_failed():
    corpus = Corpus()
    task = _DeadlyTask(tiny.dataset(), RECIPE, seed=0)
    labeler = _labeler(corpus, task=task, num_workers=2)
    try:
        accuracies = labeler(ARCHITECTURES)
    finally:
        labeler.close()
    (failed,) = [record for record in corpus if record.status == FAILED]
    assert failed.reason == "its worker was killed by signal 9, 2 times"
    assert str(accuracies[1]) == failed.reason
    assert all(0 <= accuracy <= 1 for accuracy in accuracies[::2])


def test_a_network_that_hangs_is_recorded_as_failed(monkeypatch):
    monkeypatch.setattr(labeling, "_GRACE_SECONDS", 0.0)
    corpus = Corpus()
    recipe = dataclasses.replace(RECIPE, epochs=2)
    task = _DeadlyTask(tiny.dataset(), recipe, seed=0, max_seconds=10)
    labeler = _labeler(corpus, task=task, num_workers=2)
    try:
        accuracies = labeler(ARCHITECTURES)
    finally:
        labeler.close()
    (failed,) = [record for record in corpus if record.status == FAILED]
    assert failed.reason == "no result after 20 s"
    assert str(accuracies[1]) == failed.reason
    assert all(0 <= accuracy <= 1 for accuracy in accuracies[::2])


def _labels_while(disturb, labeler) -> list:
    """What a labeler gives that is disturbed meanwhile, and then closed."""
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        return labeler(ARCHITECTURES)
    finally:
        labeler.close()
        thread.join()


def test_a_worker_that_is_killed_while_it_starts_is_replaced():
    dataset = tiny.dataset()
    # More than a pipe holds while nobody reads it.
    more = dataset.train[np.tile(np.arange(len(dataset.train)), 50)]
    dataset = dataclasses.replace(dataset, train=more)
    labeler = _labeler(Corpus(), dataset, num_workers=2)
    killed = []

    def kill():
        while not killed:
            time.sleep(0.01)
            for worker in multiprocessing.active_children()[:1]:
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)

    accuracies = _labels_while(kill, labeler)
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)


def test_workers_that_are_killed_one_after_the_other_are_an_error():
    labeler = _labeler(Corpus(), num_workers=2)
    ended = threading.Event()

    def kill():
        while not ended.is_set():
            time.sleep(0.01)
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(WorkerError, match="the last by signal 9"):
            labeler(ARCHITECTURES)
    finally:
        ended.set()
        thread.join()
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_costs_no_label():
    labeler = _labeler(Corpus(), num_workers=2)
    killed = []

    def kill_one_that_trains():
        while not labeler._oracle.ongoing_trials:
            time.sleep(0.001)
        name = next(iter(labeler._oracle.ongoing_trials))
        killed.append(labeler._workers[name])
        killed[0].kill()

    accuracies = _labels_while(kill_one_that_trains, labeler)
    assert killed[0].exitcode == -signal.SIGKILL
    assert accuracies == _labeler(Corpus())(ARCHITECTURES)


_LABEL = """
import sys
import labeling_test
from archcomp_tf.corpus import Corpus
if __name__ == "__main__":
    labeling_test._labeler(Corpus(sys.argv[1]), num_workers=2)(
        labeling_test.MANY
    )
"""
MANY = [Architecture.parse(f"conv3x3-{filters}") for filters in range(1, 9)]


def test_a_killed_chief_takes_its_workers_along_and_loses_no_label(tmp_path):
    path, script = tmp_path / "records.jsonl", tmp_path / "label.py"
    script.write_text(_LABEL)
    chief = fresh.start(script, path)
    try:
        while not path.exists() or path.read_bytes().count(b"\n") < 2:
            assert chief.poll() is None
            time.sleep(0.01)
    finally:
        chief.kill()
        chief.wait()
    before = Corpus(path)
    assert 2 <= len(before) < len(MANY)
    labeler = _labeler(Corpus(path))
    accuracies = labeler(MANY)
    assert len(path.read_bytes().splitlines()) == len(MANY) == len(Corpus(path))
    assert all(record in list(Corpus(path)) for record in before)
    assert accuracies == _labeler(Corpus())(MANY)
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        while time.monotonic() < deadline:
            os.killpg(chief.pid, 0)
            time.sleep(0.1)


def test_no_worker_at_all_is_refused():
    with pytest.raises(ValueError, match="at least 1 worker; got 0"):
        _labeler(Corpus(), num_workers=0)
