"""Fills the corpus: trains architectures and records their accuracy.

A KerasTuner oracle hands out architectures, one a trial, and tuners train
them: one tuner in this process, or several in worker processes, here and on
other machines, that talk to the oracle by KerasTuner's own protocol.
`Labeler` wraps it all as the `evaluate` that a search calls.  Labels depend on
the network, the seed and the recipe alone, not on the order in which networks
are labelled, so a search that comes back to a network, or starts anew after it
was killed, takes its label from the corpus.

KerasTuner's environment variables say what a process is: with
KERASTUNER_TUNER_ID=chief it listens at KERASTUNER_ORACLE_IP and
KERASTUNER_ORACLE_PORT; with any other id it is a worker of the chief there, and
shares nothing else with it: it is sent the images and the teacher's logits.
The connection is not encrypted; it is for a network that you trust.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import io
import json
import logging
import math
import multiprocessing
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import keras_tuner
import numpy as np
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from archcomp_tf import backend
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Corpus, Record
from archcomp_tf.cost import num_params
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.progress import Progress
from archcomp_tf.training import Recipe, build_and_train

_LOGGER = logging.getLogger(__name__)

_Trial = keras_tuner.engine.trial.Trial
_STATUS = keras_tuner.engine.trial.TrialStatus
_IDLE_SECONDS = 0.05  # between two questions of a worker with nothing to do
_REASON_LENGTH = 300  # TensorFlow names every node that an error passed through
_HEARTBEAT_SECONDS = 5.0  # between two signs of life of a worker that trains
_LOST_SECONDS = 60.0  # without one, a worker is given up
_GRACE_SECONDS = 30.0  # for a training that is to stop itself
_MAX_LOST = 2  # workers that a network may take with it
_TASK_METHOD = "/archcomp_tf.Labeling/GetTask"
_CHUNK_BYTES = 1 << 20  # of a task on its way; gRPC takes 4 MB at most


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
      max_seconds: how long one training may take.
    """

    dataset: Dataset
    recipe: Recipe
    seed: int
    teacher_logits: np.ndarray | None = None
    max_seconds: float = math.inf

    def run(self, architecture: Architecture, recipe: Recipe) -> float:
        """Trains the network; its validation accuracy in [0, 1].

        Raises:
          DivergedError: the training diverged.
          TimeLimitError: it took too long.
          Exception: whatever else the backend raises.
        """
        # A longer training is to be another draw, not the same one continued.
        name = f"{architecture.fingerprint} {recipe.name} {self.seed}"
        seed = zlib.crc32(name.encode()) % 2**31
        with backend.dtype_policy(backend.fastest_dtype_policy()):
            _, result = build_and_train(
                architecture,
                self.dataset,
                recipe,
                seed=seed,
                teacher_logits=self.teacher_logits,
                max_seconds=self.max_seconds,
            )
        return result.validation_accuracy

    def to_bytes(self) -> bytes:
        """What a worker on another machine needs; no test images."""
        arrays = {
            "train_images": self.dataset.train.images,
            "train_labels": self.dataset.train.labels,
            "validation_images": self.dataset.validation.images,
            "validation_labels": self.dataset.validation.labels,
        }
        if self.teacher_logits is not None:
            arrays["teacher_logits"] = self.teacher_logits
        rest = {
            "name": self.dataset.name,
            "num_classes": self.dataset.num_classes,
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "max_seconds": self.max_seconds,
        }
        file = io.BytesIO()
        np.savez_compressed(file, rest=json.dumps(rest), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Task:
        """The inverse of `to_bytes`; the test split is empty."""
        with np.load(io.BytesIO(content)) as arrays:
            rest = json.loads(str(arrays["rest"]))
            train, validation = (
                Split(arrays[f"{name}_images"], arrays[f"{name}_labels"])
                for name in ("train", "validation")
            )
            logits = arrays.get("teacher_logits")
        empty = Split(validation.images[:0], validation.labels[:0])
        return cls(
            Dataset(
                rest["name"], rest["num_classes"], train, validation, empty
            ),
            Recipe(**rest["recipe"]),
            rest["seed"],
            logits,
            rest["max_seconds"],
        )


class ArchitectureOracle(keras_tuner.Oracle):
    """Hands out the submitted architectures, each once, one a trial.

    Nothing of it is written to the disk: the corpus is what remembers.

    Args:
      on_end: called with each architecture, its recipe, its accuracy (NaN
        where it failed), its seconds and why it failed.
      waits: whether tuners wait for more when all are handed out; if not,
        they are told to stop.
    """

    def __init__(
        self,
        on_end: Callable[[Architecture, Recipe, float, float, str], None],
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
        # Trials of an oracle that was killed are not taken for this one's.
        self._session = os.urandom(4).hex()
        self._num_lost = collections.Counter()
        # trial_id -> when it began, and when it was last heard of
        self._begun: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    @keras_tuner.synchronized
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

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> _Trial:
        """A trial for a tuner, its id unlike those of any other oracle."""
        trial = super().create_trial(tuner_id)
        if (
            trial.status == _STATUS.RUNNING
            and trial.trial_id not in self._begun
        ):
            del self.trials[self.start_order.pop()]
            trial.trial_id = f"{self._session}-{len(self._begun)}"
            self.trials[trial.trial_id] = trial
            self.start_order.append(trial.trial_id)
            self._begun[trial.trial_id] = time.monotonic()
        self.hear_of(trial.trial_id)
        return trial

    def end_trial(self, trial: _Trial) -> None:
        """Ends the trial and passes what came of it on."""
        super().end_trial(trial)
        trial = self.get_trial(trial.trial_id)
        accuracy, seconds, reason = math.nan, 0.0, ""
        if trial.status == _STATUS.COMPLETED:
            accuracy = trial.metrics.get_last_value("accuracy")
            seconds = trial.metrics.get_last_value("seconds")
        else:  # the message is a traceback that ends in the reason
            reason = trial.message.rpartition("FailedTrialError: ")[2].strip()
        self._forget(trial)
        self._on_end(*_asked_for(trial), accuracy, seconds, reason)

    def hear_of(self, trial_id: str) -> None:
        """Notes a sign of life of the tuner that runs the trial."""
        self._heard[trial_id] = time.monotonic()

    def knows(self, trial_id: str) -> bool:
        """Whether the trial is running, as far as this oracle knows."""
        return trial_id in self.trials

    @keras_tuner.synchronized
    def overdue(self, max_seconds: float) -> list[str]:
        """Tuners whose trial began longer ago than that."""
        now = time.monotonic()
        return [
            tuner_id
            for tuner_id, trial in self.ongoing_trials.items()
            if now - self._begun[trial.trial_id] > max_seconds
        ]

    @keras_tuner.synchronized
    def silent(self) -> list[str]:
        """Tuners that train and have not been heard of for long."""
        now = time.monotonic()
        return [
            tuner_id
            for tuner_id, trial in self.ongoing_trials.items()
            if now - self._heard[trial.trial_id] > _LOST_SECONDS
        ]

    @keras_tuner.synchronized
    def fail(self, tuner_id: str, reason: str) -> None:
        """Ends the trial of a tuner that will not end it itself."""
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is not None:
            self._forget(trial)
            seconds = time.monotonic() - self._begun[trial.trial_id]
            self._on_end(*_asked_for(trial), math.nan, seconds, reason)

    @keras_tuner.synchronized
    def lose(self, tuner_id: str, reason: str) -> None:
        """Hands the trial of a lost tuner to another, but not for ever.

        A network that ends each worker that trains it has failed.
        """
        trial = self.ongoing_trials.get(tuner_id)
        if trial is None:
            return
        values = trial.hyperparameters.values
        self._num_lost[values["architecture"]] += 1
        if self._num_lost[values["architecture"]] >= _MAX_LOST:
            self.fail(tuner_id, f"{reason}, {_MAX_LOST} times")
            return
        del self.ongoing_trials[tuner_id]
        self._forget(trial)
        self._queue.appendleft(values)

    def _forget(self, trial: _Trial) -> None:
        # Thousands of labels are not to be thousands of trials in memory.
        del self.trials[trial.trial_id], self._heard[trial.trial_id]
        for order in (self.start_order, self.end_order):
            if trial.trial_id in order:
                order.remove(trial.trial_id)

    def save(self, *args, **kwargs) -> None:
        """Writes nothing."""

    def _save_trial(self, trial: _Trial) -> None:
        """Writes nothing."""


class LabelingTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Trains the architecture of each trial that its oracle hands out.

    Args:
      oracle: an `ArchitectureOracle`; in a worker process KerasTuner puts a
        client of the distant one in its place.
      task: how to train.
    """

    def __init__(self, oracle: ArchitectureOracle, task: Task):
        # KerasTuner makes a folder for each tuner; nothing is written to it.
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(oracle, directory=self._folder.name)
        self._task = task

    def pre_create_trial(self) -> None:
        """Keeps a waiting worker from asking all the time."""
        time.sleep(_IDLE_SECONDS)

    def run_trial(self, trial: _Trial) -> dict[str, float]:
        """Trains the trial's architecture."""
        start = time.monotonic()
        architecture, recipe = _asked_for(trial)
        try:
            with self._signs_of_life(trial):
                accuracy = self._task.run(architecture, recipe)
        except backend.errors() as error:
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

    @contextlib.contextmanager
    def _signs_of_life(self, trial: _Trial) -> Iterator[None]:
        """Tells the oracle now and then that the trial is still trained."""
        ended = threading.Event()

        def tell():
            while not ended.wait(_HEARTBEAT_SECONDS):
                # A chief that is away is met again when the trial ends.
                with contextlib.suppress(grpc.RpcError):
                    self.oracle.get_trial(trial.trial_id)

        thread = None
        if not isinstance(self.oracle, ArchitectureOracle):
            thread = threading.Thread(target=tell, daemon=True)
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if thread:
                thread.join(timeout=1)


class Labeler:
    """Architectures -> validation accuracies, by brief training.

    Args:
      task: how networks are trained.
      corpus: read before a network is trained, appended to afterwards.
      num_workers: 1 trains in this process, where a training is stopped for
        taking too long only between two epochs; more start so many processes,
        at the first call, each on one core.  A script that does so needs the
        usual `if __name__ == "__main__":`.  0 trains on other machines alone.
      address: "ip:port" where workers on other machines are waited for.

    Raises:
      ValueError: no workers here, and no address for others to come to.
    """

    def __init__(
        self,
        task: Task,
        corpus: Corpus,
        *,
        num_workers: int = 1,
        address: str | None = None,
    ):
        if num_workers < 1 and not address:
            raise ValueError(
                f"Expected at least 1 worker; got {num_workers}. Workers on "
                "other machines alone need an address to come to, see "
                "KERASTUNER_TUNER_ID."
            )
        self._address = address
        self._task = task
        self._corpus = corpus
        self._num_workers = num_workers
        self._in_process = num_workers == 1 and not self._address
        self._oracle = ArchitectureOracle(
            self._record, waits=not self._in_process
        )
        self._tuner = (
            LabelingTuner(self._oracle, task) if self._in_process else None
        )
        self._progress: Progress | None = None
        self._server: grpc.Server | None = None
        self._workers: dict[str, multiprocessing.Process] = {}
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
          WorkerError: a worker process ended by an error of its own.
          keras_tuner.errors.FatalError: a label could not be recorded, or the
            task cannot be trained on.
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
            self._corpus.open()  # before the first training, not after it
            self._progress = Progress("label", len(todo))
            self._oracle.submit(list(todo.values()), recipe)
            if self._in_process:
                self._tuner.search()
            else:
                self._wait_for_workers()
        return [self._corpus.get(key).accuracy for key in keys]

    def close(self) -> None:
        """Ends the workers, if there are any."""
        self._oracle.waits = False  # distant workers are told when they ask
        for worker in self._workers.values():
            worker.terminate()
            worker.join()
        if self._server is not None:
            if self._address:
                time.sleep(20 * _IDLE_SECONDS)
            self._server.stop(grace=None)
        self._workers, self._server = {}, None

    def _record(
        self,
        architecture: Architecture,
        recipe: Recipe,
        accuracy: float,
        seconds: float,
        reason: str,
    ) -> None:
        """Writes what came of a trial; also called from the server's thread."""
        try:
            dataset = self._task.dataset
            record = Record(
                architecture,
                accuracy,
                num_params(
                    architecture, dataset.input_shape, dataset.num_classes
                ),
                status=FAILED if reason else OK,
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
        self._progress.advance(
            f"{record.num_params} parameters, {reason or f'{accuracy:.1%}'}"
        )

    def _wait_for_workers(self) -> None:
        """Returns when all that was submitted is recorded."""
        if self._server is None:
            self._start_server()
        while self._progress.done < self._progress.total:
            self._ended.wait(timeout=0.5)
            self._ended.clear()
            if self._error:
                self.close()
                raise self._error
            # A training stops itself between two epochs; what does not even
            # come to the end of one is ended from outside.
            limit = 2 * self._task.max_seconds + _GRACE_SECONDS
            for tuner_id in self._oracle.overdue(limit):
                if tuner_id in self._workers:
                    self._workers[tuner_id].kill()
                    self._workers.pop(tuner_id).join()
                self._oracle.fail(tuner_id, f"no result after {limit:.0f} s")
            for tuner_id in self._oracle.silent():
                if tuner_id not in self._workers:
                    _LOGGER.warning("worker %s was not heard of", tuner_id)
                    self._oracle.lose(tuner_id, "its worker was not heard of")
            self._replace_dead_workers()

    def _replace_dead_workers(self) -> None:
        """Starts workers anew that were killed, by the system or a person."""
        for tuner_id, worker in list(self._workers.items()):
            if worker.is_alive():
                continue
            if worker.exitcode >= 0:
                self.close()
                raise WorkerError(
                    f"1 of {self._num_workers} labelling workers ended with "
                    f"exit code {worker.exitcode}; what it said stands above. "
                    "Labels so far are kept."
                )
            reason = f"its worker was killed by signal {-worker.exitcode}"
            _LOGGER.warning("%s: %s", tuner_id, reason)
            self._oracle.lose(tuner_id, reason)
            del self._workers[tuner_id]
        for index in range(self._num_workers):
            if f"worker{index}" not in self._workers:
                self._workers[f"worker{index}"] = self._started_worker(index)

    def _start_server(self) -> None:
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(max_workers=1)
        )
        # KerasTuner's own `start_server` reads its address from this process'
        # environment, which every other tuner here would read too.
        protos.get_service_grpc().add_OracleServicer_to_server(
            _Servicer(self._oracle), self._server
        )
        self._server.add_generic_rpc_handlers((_TaskHandler(self._task),))
        address = self._address or "127.0.0.1:0"
        try:
            self._port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise keras_tuner.errors.FatalError(
                f"Cannot listen for workers at {address}: {error}"
            ) from error
        self._server.start()
        if self._address:
            _LOGGER.info("workers are waited for at %s", self._address)

    def _started_worker(self, index: int) -> multiprocessing.Process:
        with backend.side_by_side(
            KERASTUNER_TUNER_ID=f"worker{index}",
            KERASTUNER_ORACLE_IP="127.0.0.1",
            KERASTUNER_ORACLE_PORT=str(self._port),
        ) as context:
            worker = context.Process(
                target=_work, args=(self._task,), daemon=True
            )
            worker.start()
        return worker


def is_worker() -> bool:
    """Whether KerasTuner's environment variables make this a worker."""
    return "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "chief")


def take_chief_address() -> str | None:
    """Where this process is to listen, if the variables make it a chief.

    They are taken out of the environment: each other tuner of KerasTuner in
    this process would take itself for that chief.

    Raises:
      ValueError: one of the variables is missing.
    """
    if "KERASTUNER_TUNER_ID" not in os.environ:
        return None
    address = _address()
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        del os.environ[f"KERASTUNER_{name}"]
    return address


def work() -> None:
    """Trains what the chief hands out, until there is no more.

    The chief's address is in KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT,
    and it is waited for.

    Raises:
      ValueError: one of the variables is missing.
      keras_tuner.errors.FatalError: the task cannot be trained on, or no chief
        answered for an hour.
    """
    address = _address()
    _LOGGER.info("waiting for the chief at %s", address)
    with grpc.insecure_channel(address) as channel:
        content = b"".join(
            channel.unary_stream(_TASK_METHOD)(
                b"", wait_for_ready=True, timeout=3600
            )
        )
    task = Task.from_bytes(content)
    _LOGGER.info("labelling %s", task.dataset.name)
    _work(task)


def _work(task: Task) -> None:
    """The life of a worker process: trains what the oracle hands out."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Nobody else would end the workers of a chief that was killed.
        threading.Thread(
            target=lambda: (parent.join(), os._exit(1)), daemon=True
        ).start()
    oracle = ArchitectureOracle(lambda *_: None, waits=True)
    tuner = LabelingTuner(oracle, task)
    while True:
        try:
            # Killed with the process that asked for labels.
            with contextlib.suppress(KeyboardInterrupt):
                tuner.search()
            return
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise keras_tuner.errors.FatalError(
                    f"No chief answered at {_address()} for an hour."
                ) from error
            # The chief went away, or this trial was given to another worker.
            _LOGGER.warning("the chief: %s", error.details())


class _Servicer(oracle_chief.OracleServicer):
    """KerasTuner's, for workers that outlive a chief or were given up."""

    def GetTrial(self, request, context):
        self._check(request.trial_id, context)
        return super().GetTrial(request, context)

    def UpdateTrial(self, request, context):
        self._check(request.trial_id, context)
        return super().UpdateTrial(request, context)

    def EndTrial(self, request, context):
        self._check(request.trial.trial_id, context)
        return super().EndTrial(request, context)

    def _check(self, trial_id: str, context) -> None:
        if not self.oracle.knows(trial_id):
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"trial {trial_id} is not, or no longer, handed out",
            )
        self.oracle.hear_of(trial_id)


class _TaskHandler(grpc.GenericRpcHandler):
    """Sends the task to workers that share nothing with the chief."""

    def __init__(self, task: Task):
        self._task = task

    def service(self, handler_call_details):
        if handler_call_details.method != _TASK_METHOD:
            return None
        return grpc.unary_stream_rpc_method_handler(self._stream)

    def _stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        del request, context
        content = self._task.to_bytes()
        for start in range(0, len(content), _CHUNK_BYTES):
            yield content[start : start + _CHUNK_BYTES]


def _asked_for(trial: _Trial) -> tuple[Architecture, Recipe]:
    """What a trial is to train, and how."""
    values = trial.hyperparameters.values
    recipe = Recipe(**json.loads(values["recipe"]))
    return Architecture.from_json(values["architecture"]), recipe


def _address() -> str:
    """Where the chief listens, by KerasTuner's environment variables.

    Raises:
      ValueError: one of them is missing.
    """
    names = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    for name in names:
        if name not in os.environ:
            raise ValueError(
                "Expected KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and "
                f"KERASTUNER_ORACLE_PORT together; {name} is not set."
            )
    return ":".join(os.environ[name] for name in names)
