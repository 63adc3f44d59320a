"""Tests of how workers and their chief find each other."""

import dataclasses
import os
import socket
import sys
import threading

import fresh
import grpc
import keras_tuner
import numpy as np
import pytest
import tiny
from keras_tuner.src import protos

from archcomp_tf import workers
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import Corpus
from archcomp_tf.datasets import Split
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
        http_proxy="http://127.0.0.1:9",
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


def test_a_worker_asks_a_chief_that_took_the_place_of_its_own_for_its_task(
    tmp_path, monkeypatch
):
    port = _free_port()
    worker = fresh.start(
        "from archcomp_tf import workers; workers.work()",
        cwd=tmp_path,
        KERASTUNER_ORACLE_IP="127.0.0.1",
        KERASTUNER_ORACLE_PORT=port,
        KERASTUNER_TUNER_ID="far",
    )
    address = f"127.0.0.1:{port}"
    recipe = Recipe(epochs=20, learning_rate=0.1, batch_size=16)
    data = tiny.dataset()
    other = Split(data.validation.images, 1 - data.validation.labels)
    tasks = [
        Task(dataset, recipe, seed=0)
        for dataset in (data, dataclasses.replace(data, validation=other))
    ]
    try:
        first, second = (
            Labeler(task, Corpus(), num_workers=0, address=address)
            for task in tasks
        )
        accuracies = [first(ARCHITECTURES)]
        first._server.stop(grace=None)  # killed: nobody tells the worker
        accuracies.append(second(ARCHITECTURES))
        second.close()
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
    expected = [Labeler(task, Corpus())(ARCHITECTURES) for task in tasks]
    assert accuracies == expected and expected[0] != expected[1]


@pytest.mark.skipif(
    sys.platform != "linux", reason="127.0.0.2 is this machine on Linux alone"
)
def test_workers_of_this_machine_need_no_address_for_others():
    oracle = ArchitectureOracle(lambda *_: None, waits=True)
    task = Task(tiny.dataset(), RECIPE, seed=0)
    address = f"127.0.0.2:{_free_port()}"
    server, port = workers.start_server(oracle, task, address)
    try:
        for reached in (address, f"127.0.0.1:{port}"):
            with grpc.insecure_channel(reached) as channel:
                session, *chunks = channel.unary_stream(workers._TASK_METHOD)(
                    b"", timeout=10
                )
            assert session.decode() == oracle.session
            content = Task.from_bytes(b"".join(chunks))
            assert content.dataset.name == task.dataset.name
    finally:
        server.stop(grace=None)


def test_a_task_on_its_way_keeps_no_question_waiting():
    oracle = ArchitectureOracle(lambda *_: None, waits=True)
    task = Task(tiny.dataset(), RECIPE, seed=0)
    sending, may_end = threading.Event(), threading.Event()

    class Slow:
        def to_bytes(self):
            sending.set()
            may_end.wait(timeout=60)
            return task.to_bytes()

    server, port = workers.start_server(oracle, Slow(), None)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream = channel.unary_stream(workers._TASK_METHOD)(b"", timeout=60)
            assert sending.wait(timeout=30)
            stub = protos.get_service_grpc().OracleStub(channel)
            request = protos.get_service().GetSpaceRequest()
            assert stub.GetSpace(request, timeout=30) is not None
            may_end.set()
            assert len(list(stream)) > 1
    finally:
        may_end.set()
        server.stop(grace=None)


def test_half_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(ValueError, match="KERASTUNER_ORACLE_PORT is not set"):
        workers.take_chief_address()
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker7")
    with pytest.raises(ValueError, match="=chief .*got 'worker7': a worker"):
        workers.take_chief_address()


def test_an_address_that_is_taken_is_one_error():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        oracle = ArchitectureOracle(lambda *_: None, waits=True)
        task = Task(tiny.dataset(), RECIPE, seed=0)
        with pytest.raises(keras_tuner.errors.FatalError, match=address):
            workers.start_server(oracle, task, address)
