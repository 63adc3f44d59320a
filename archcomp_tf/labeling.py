"""Fills the corpus: trains architectures and records their accuracy.

A KerasTuner oracle hands out architectures, one a trial, and tuners train
them: one tuner in this process, or several in worker processes that talk to
the oracle by KerasTuner's own protocol.  `Labeler` wraps it all as the
`evaluate` that a search calls.  Labels depend on the network, the seed and the
recipe alone, not on the order in which networks are labelled, so a search that
comes back to a network, or starts anew after it was killed, takes its label
from the corpus.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from unittest import mock

import grpc
import keras
import keras_tuner
import numpy as np
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Corpus, Record
from archcomp_tf.cost import num_params
from archcomp_tf.datasets import Dataset
from archcomp_tf.progress import Progress
from archcomp_tf.training import Recipe, build_and_train

_Trial = keras_tuner.engine.trial.Trial
_STATUS = keras_tuner.engine.trial.TrialStatus
_IDLE_SECONDS = 0.05  # between two questions of a worker with nothing to do
_REASON_LENGTH = 300  # TensorFlow names every node that an error passed through


class WorkerError(keras_tuner.errors.FatalError):
    """A worker process ended before its work was done."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What it takes to train a network for a label.

    Attributes:
      dataset: trained on its train split, judged on its validation split.
      recipe: the training, where a call asks for no other.
      seed: of the first weights and of the order of the images.
      teacher_logits: `[len(dataset.train), num_classes]` to distil from, or
        None.
    """

    dataset: Dataset
    recipe: Recipe
    seed: int
    teacher_logits: np.ndarray | None = None

    def run(self, architecture: Architecture, recipe: Recipe) -> float:
        """Trains the network; its validation accuracy in [0, 1].

        Raises:
          DivergedError: the training diverged.
          Exception: whatever else the backend raises.
        """
        # A longer training is to be another draw, not the same one continued.
        name = f"{architecture.fingerprint} {recipe.name} {self.seed}"
        seed = zlib.crc32(name.encode()) % 2**31
        _, result = build_and_train(
            architecture,
            self.dataset,
            recipe,
            seed=seed,
            teacher_logits=self.teacher_logits,
        )
        return result.validation_accuracy


class ArchitectureOracle(keras_tuner.Oracle):
    """Hands out the submitted architectures, each once, one a trial.

    Args:
      on_end: called with each architecture, its recipe and its ended trial.
      waits: whether tuners wait for more when all are handed out; if not,
        they are told to stop.
    """

    def __init__(
        self,
        on_end: Callable[[Architecture, Recipe, _Trial], None],
        waits: bool,
    ):
        super().__init__(
            objective=keras_tuner.Objective("accuracy", "max"),
            # A failed network is a record like others and ends nothing.
            max_consecutive_failed_trials=2**31,
        )
        self.verbose = 0
        self.waits = waits
        self._on_end = on_end
        self._queue = collections.deque()

    def submit(
        self, architectures: Sequence[Architecture], recipe: Recipe
    ) -> None:
        """Adds architectures to what is handed out, to be trained so."""
        text = json.dumps(dataclasses.asdict(recipe))
        self._queue.extend(
            {"architecture": a.to_json(), "recipe": text} for a in architectures
        )

    def populate_space(self, trial_id: str) -> dict:
        """The next architecture and its recipe as hyperparameters."""
        del trial_id
        if not self._queue:
            return {"status": _STATUS.IDLE if self.waits else _STATUS.STOPPED}
        return {"status": _STATUS.RUNNING, "values": self._queue.popleft()}

    def end_trial(self, trial: _Trial) -> None:
        """Ends the trial and passes it on."""
        super().end_trial(trial)
        self._on_end(*_asked_for(trial), self.get_trial(trial.trial_id))


class LabelingTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Trains the architecture of each trial that its oracle hands out.

    Args:
      oracle: an `ArchitectureOracle`; in a worker process KerasTuner puts a
        client of the distant one in its place.
      task: how to train.
      directory: where KerasTuner keeps the state of its trials; not read
        again, since the corpus is what remembers.
    """

    def __init__(self, oracle: ArchitectureOracle, task: Task, directory: str):
        super().__init__(
            oracle, directory=directory, project_name="trials", overwrite=True
        )
        self._task = task

    def pre_create_trial(self) -> None:
        """Keeps a waiting worker from asking all the time."""
        time.sleep(_IDLE_SECONDS)

    def run_trial(self, trial: _Trial) -> dict[str, float]:
        """Trains the trial's architecture."""
        start = time.monotonic()
        architecture, recipe = _asked_for(trial)
        try:
            accuracy = self._task.run(architecture, recipe)
        except _network_errors() as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise keras_tuner.errors.FailedTrialError(
                reason[:_REASON_LENGTH]
            ) from error
        except Exception as error:
            # KerasTuner would note any other error and go on without a label.
            raise keras_tuner.errors.FatalError(
                f"Labelling {architecture} stopped: {error}"
            ) from error
        return {"accuracy": accuracy, "seconds": time.monotonic() - start}


class Labeler:
    """Architectures -> validation accuracies, by brief training.

    Args:
      task: how networks are trained.
      corpus: read before a network is trained, appended to afterwards.
      directory: where KerasTuner keeps the state of its trials.
      num_workers: 1 trains in this process; more start so many processes, at
        the first call, each on one core.  A script that does so needs the
        usual `if __name__ == "__main__":`.
    """

    def __init__(
        self,
        task: Task,
        corpus: Corpus,
        *,
        directory: str | os.PathLike,
        num_workers: int = 1,
    ):
        self._task = task
        self._corpus = corpus
        self._directory = os.fspath(directory)
        self._num_workers = num_workers
        self._oracle = ArchitectureOracle(self._record, waits=num_workers > 1)
        self._tuner = LabelingTuner(self._oracle, task, self._directory)
        self._progress: Progress | None = None
        self._server: grpc.Server | None = None
        self._workers: list[multiprocessing.Process] = []
        self._ended = threading.Event()
        self._error: Exception | None = None

    def __call__(
        self,
        architectures: Sequence[Architecture],
        recipe: Recipe | None = None,
    ) -> list[float]:
        """Labels architectures, the known ones from the corpus.

        Args:
          architectures: N networks.
          recipe: the training, in place of the task's.

        Returns:
          N validation accuracies in [0, 1], NaN for a label that failed.

        Raises:
          WorkerError: a worker process died.
        """
        recipe = recipe or self._task.recipe
        keys = [
            (a.fingerprint, self._task.seed, recipe.name) for a in architectures
        ]
        todo = {
            key: architecture
            for key, architecture in zip(keys, architectures, strict=True)
            if self._corpus.get(key) is None
        }
        if todo:
            self._progress = Progress("label", len(todo))
            self._oracle.submit(list(todo.values()), recipe)
            if self._num_workers == 1:
                self._tuner.search()
            else:
                self._wait_for_workers()
        return [self._corpus.get(key).accuracy for key in keys]

    def close(self) -> None:
        """Ends the worker processes, if there are any."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
        if self._server is not None:
            self._server.stop(grace=None)
        self._workers, self._server = [], None

    def _record(
        self, architecture: Architecture, recipe: Recipe, trial: _Trial
    ) -> None:
        """Writes what came of a trial; also called from the server's thread."""
        try:
            accuracy, seconds, status, reason = math.nan, 0.0, FAILED, ""
            if trial.status == _STATUS.COMPLETED:
                accuracy = trial.metrics.get_last_value("accuracy")
                seconds = trial.metrics.get_last_value("seconds")
                status = OK
            else:  # the message is a traceback that ends in the reason
                reason = trial.message.rpartition("FailedTrialError: ")[2]
                reason = reason.strip()
            dataset = self._task.dataset
            record = Record(
                architecture,
                accuracy,
                num_params(
                    architecture, dataset.input_shape, dataset.num_classes
                ),
                status=status,
                reason=reason,
                seed=self._task.seed,
                recipe=recipe.name,
                seconds=round(seconds, 2),
            )
            self._corpus.append(record)
        except Exception as error:
            self._error = keras_tuner.errors.FatalError(
                f"The label of {architecture} could not be recorded: {error}"
            )
            raise self._error from error
        finally:
            self._ended.set()
        result = reason if status == FAILED else f"{accuracy:.1%}"
        self._progress.advance(f"{record.num_params} parameters, {result}")

    def _wait_for_workers(self) -> None:
        """Returns when all that was submitted is recorded."""
        if not self._workers:
            self._start_workers()
        while self._progress.done < self._progress.total:
            self._ended.wait(timeout=1.0)
            self._ended.clear()
            dead = [w for w in self._workers if not w.is_alive()]
            if self._error or dead:
                self.close()
                raise self._error or WorkerError(
                    f"{len(dead)} of {self._num_workers} labelling workers "
                    f"ended with exit code {dead[0].exitcode}; what they said "
                    "stands above. Labels so far are kept."
                )

    def _start_workers(self) -> None:
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(max_workers=1)
        )
        # KerasTuner's own `start_server` reads its address from this process'
        # environment, which every other tuner here would read too.
        protos.get_service_grpc().add_OracleServicer_to_server(
            oracle_chief.OracleServicer(self._oracle), self._server
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        context = multiprocessing.get_context("spawn")
        for index in range(self._num_workers):
            worker = context.Process(
                target=_work,
                args=(self._task, self._directory, index),
                daemon=True,
            )
            environment = {
                "KERASTUNER_TUNER_ID": f"worker{index}",
                "KERASTUNER_ORACLE_IP": "127.0.0.1",
                "KERASTUNER_ORACLE_PORT": str(port),
                # One core a worker: small networks gain nothing from more.
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
            }
            with mock.patch.dict(os.environ, environment):
                worker.start()
            self._workers.append(worker)


def _network_errors() -> tuple[type[Exception], ...]:
    """What one network's training may raise and another's need not.

    It diverged, ran out of memory, or the backend cannot run it; those of JAX
    and PyTorch are RuntimeErrors.
    """
    errors: tuple[type[Exception], ...] = (RuntimeError, MemoryError)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        errors += (tf.errors.OpError,)
    return errors


def _asked_for(trial: _Trial) -> tuple[Architecture, Recipe]:
    """What a trial is to train, and how."""
    values = trial.hyperparameters.values
    recipe = Recipe(**json.loads(values["recipe"]))
    return Architecture.from_json(values["architecture"]), recipe


def _work(task: Task, directory: str, index: int) -> None:
    """The life of a worker process: trains what the oracle hands out."""
    oracle = ArchitectureOracle(lambda *_: None, waits=True)
    # A folder of its own, since a tuner wipes the folder that it starts in.
    folder = os.path.join(directory, f"worker{index}")
    tuner = LabelingTuner(oracle, task, folder)
    # Killed with the process that asked for labels.
    with contextlib.suppress(KeyboardInterrupt):
        tuner.search()
