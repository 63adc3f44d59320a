"""Tests of `archcomp_tf.environment`."""

import sys

import keras

from archcomp_tf import environment


def test_it_names_what_this_process_runs_on():
    described = environment.environment()
    assert described["keras"] == keras.__version__
    backend = keras.backend.backend()
    assert described[backend] == sys.modules[backend].__version__
    assert described["num_cpus"] >= 1
    assert described["commit"] is None or len(described["commit"]) == 40


def test_gpus_are_counted_and_the_first_is_named(monkeypatch):
    monkeypatch.setattr(environment, "gpu_names", lambda: ["One", "Other"])
    described = environment.environment()
    assert (described["num_gpus"], described["gpu"]) == (2, "One")
    monkeypatch.setattr(environment, "gpu_names", list)
    described = environment.environment()
    assert (described["num_gpus"], described["gpu"]) == (0, None)
