"""Tests of how workers and their chief find each other."""

import os
import socket

import fresh
import keras_tuner
import numpy as np
import pytest
import tiny

from archcomp_tf import workers
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import Corpus
from archcomp_tf.labeling import Labeler
from archcomp_tf.task import Task
from archcomp_tf.training import Recipe
from archcomp_tf.trials import ArchitectureOracle

RECIPE = Recipe(epochs=1, batch_size=32)
ARCHITECTURES = [Architecture.parse(f"conv3x3-{n}") for n in (2, 3)]


def _free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def test_a_worker_that_knows_the_chiefs_address_alone_labels(
    tmp_path, monkeypatch
):
    address = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": _free_port(),
    }
    worker = fresh.start(
        "from archcomp_tf import workers; workers.work()",
        cwd=tmp_path,
        **address,
        KERASTUNER_TUNER_ID="far",
    )
    for name, value in (address | {"KERASTUNER_TUNER_ID": "chief"}).items():
        monkeypatch.setenv(name, value)
    teacher_logits = np.eye(2, dtype=np.float32)[tiny.dataset().train.labels]
    task = Task(tiny.dataset(), RECIPE, seed=0, teacher_logits=teacher_logits)
    try:
        labeler = Labeler(
            task,
            Corpus(),
            num_workers=0,
            address=workers.take_chief_address(),
        )
        # Other tuners of this process are not to listen there as well.
        assert "KERASTUNER_ORACLE_IP" not in os.environ
        accuracies = labeler(ARCHITECTURES)
        labeler.close()
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
    assert accuracies == Labeler(task, Corpus())(ARCHITECTURES)


def test_half_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(ValueError, match="KERASTUNER_ORACLE_PORT is not set"):
        workers.take_chief_address()


def test_an_address_that_is_taken_is_one_error():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        oracle = ArchitectureOracle(lambda *_: None, waits=True)
        task = Task(tiny.dataset(), RECIPE, seed=0)
        with pytest.raises(keras_tuner.errors.FatalError, match=address):
            workers.start_server(oracle, task, address)
