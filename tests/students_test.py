"""Tests of `students`: trainings that are kept, found again and go on."""

import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import threading
import time

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf import checkpoint, students
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import dtype_policy
from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.inference import accuracy
from archcomp_tf.processes import WorkerError
from archcomp_tf.students import StudentTrainer
from archcomp_tf.training import Recipe

NETWORKS = {
    "one": Architecture.parse("conv3x3-4"),
    "other": Architecture.parse("conv3x3-6"),
}
RECIPE = Recipe(epochs=3, batch_size=16)
SEEDS = (3, 4)


def _trainer(directory, **options) -> StudentTrainer:
    return StudentTrainer(
        tiny.dataset(), None, seeds=SEEDS, directory=directory, **options
    )


def _losses(trained) -> dict:
    return {
        name: [result.losses for result in network.results]
        for name, network in trained.items()
    }


def test_what_is_kept_is_what_the_record_says(tmp_path):
    trained = _trainer(tmp_path)(NETWORKS, RECIPE)
    validation = tiny.dataset().validation
    for name, network in trained.items():
        assert len(network.paths) == len(network.results) == len(SEEDS)
        for path, result in zip(network.paths, network.results, strict=True):
            model = keras.models.load_model(path)
            assert accuracy(model, validation) == result.validation_accuracy
            fingerprint = NETWORKS[name].fingerprint
            assert path.parent == tmp_path / fingerprint / RECIPE.name
    assert not list(tmp_path.rglob("part-*"))
    assert not list(tmp_path.rglob("*.npz"))  # checkpoints are done with


def test_the_best_is_the_first_with_the_highest_validation_accuracy(tmp_path):
    network = _trainer(tmp_path)(NETWORKS, RECIPE)["one"]
    results = tuple(
        dataclasses.replace(network.results[0], validation_accuracy=value)
        for value in (0.25, 0.75, 0.75)
    )
    assert dataclasses.replace(network, results=results).best == 1


def test_two_processes_train_what_one_does(tmp_path):
    alone = _trainer(tmp_path / "alone")(NETWORKS, RECIPE)
    together = _trainer(tmp_path / "together", num_workers=2)(NETWORKS, RECIPE)
    for name, expected in _losses(alone).items():
        np.testing.assert_allclose(_losses(together)[name], expected, rtol=1e-4)


def test_a_training_that_is_done_is_not_done_again(tmp_path, monkeypatch):
    expected = _losses(_trainer(tmp_path)(NETWORKS, RECIPE))
    monkeypatch.setattr(students, "build_and_train", None)
    assert _losses(_trainer(tmp_path)(NETWORKS, RECIPE)) == expected


def test_another_recipe_is_another_training_and_overwrites_none(tmp_path):
    first = _trainer(tmp_path)(NETWORKS, RECIPE)
    files = {
        path: path.read_bytes()
        for network in first.values()
        for path in network.paths
    }
    recipe = dataclasses.replace(RECIPE, learning_rate=0.01)
    again = _losses(_trainer(tmp_path)(NETWORKS, recipe))
    assert again == _losses(_trainer(tmp_path / "new")(NETWORKS, recipe))
    assert {path: path.read_bytes() for path in files} == files


def test_the_same_network_under_two_names_is_trained_once(tmp_path, caplog):
    same = {"student": NETWORKS["one"], "control": NETWORKS["one"]}
    with caplog.at_level(logging.INFO, "archcomp_tf"):
        trained = _trainer(tmp_path, num_workers=2)(same, RECIPE)
    assert trained["student"] == trained["control"]
    assert "training 2/2" in caplog.text  # two seeds, not four trainings


def test_a_line_now_and_then_says_how_far_trainings_are(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(students, "_FOLLOW_SECONDS", 0.01)
    recipe = dataclasses.replace(RECIPE, epochs=2000)
    with caplog.at_level(logging.INFO, "archcomp_tf"):
        _trainer(tmp_path, num_workers=2)({"one": NETWORKS["one"]}, recipe)
    lines = [m for m in caplog.messages if m.startswith("training ")]
    done = [float(line.split()[1].partition("/")[0]) for line in lines]
    assert done == sorted(done) and done[-1] == 2
    assert done[0] < 1


class _KilledError(Exception):
    """Stands for the end of the process."""


def test_a_killed_training_goes_on_where_it_was(tmp_path, monkeypatch):
    expected = _losses(_trainer(tmp_path / "whole")(NETWORKS, RECIPE))
    monkeypatch.setattr(checkpoint, "_MIN_SECONDS", 0)
    write, written = Checkpoint.write, []

    def killed(self, arrays, losses):
        write(self, arrays, losses)
        written.append(len(losses))
        if len(written) == 2:
            raise _KilledError

    monkeypatch.setattr(Checkpoint, "write", killed)
    with pytest.raises(_KilledError):
        _trainer(tmp_path / "killed")(NETWORKS, RECIPE)
    again = _trainer(tmp_path / "killed")(NETWORKS, RECIPE)
    assert _losses(again) == expected
    # Of the first training one epoch was left, of each other all three.
    assert len(written) == 2 + 1 + 3 * 3


def test_the_record_holds_plain_values(tmp_path):
    network = _trainer(tmp_path)(NETWORKS, RECIPE)["one"]
    record = json.loads(network.paths[0].with_suffix(".json").read_text())
    assert record["losses"] == list(network.results[0].losses)


def test_a_process_that_is_killed_is_one_error_and_what_is_done_is_kept(
    tmp_path,
):
    hungry = NETWORKS | {"large": Architecture.parse("conv3x3-8")}
    trainer = _trainer(tmp_path, num_workers=2)
    killed = threading.Event()

    def kill():
        while not killed.is_set():
            children = multiprocessing.active_children()
            if children and list(tmp_path.rglob("seed_*.json")):
                os.kill(children[0].pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        with pytest.raises(WorkerError, match="the same command goes on"):
            trainer(hungry, dataclasses.replace(RECIPE, epochs=30))
    finally:
        killed.set()
        thread.join()
    assert list(tmp_path.rglob("seed_*.json"))


def test_a_training_that_diverges_leaves_an_untrained_network(tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e9)
    with dtype_policy("mixed_float16"):
        network = _trainer(tmp_path)(NETWORKS, recipe)["one"]
    validation = tiny.dataset().validation
    for path, result in zip(network.paths, network.results, strict=True):
        assert result.losses == ()
        model = keras.models.load_model(path)
        assert all(np.isfinite(w).all() for w in model.get_weights())
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
        assert accuracy(model, validation) == result.validation_accuracy


def test_the_mean_is_over_all_trainings(tmp_path):
    network = _trainer(tmp_path)(NETWORKS, RECIPE)["one"]
    results = tuple(
        dataclasses.replace(network.results[0], validation_accuracy=value)
        for value in (0.25, 0.75)
    )
    assert dataclasses.replace(network, results=results).mean_accuracy == 0.5
