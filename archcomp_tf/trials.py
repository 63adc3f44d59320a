"""KerasTuner's oracle and tuner for architectures: each is one trial.

The oracle hands out what was submitted, a tuner trains what it is handed.  A
training that fails is a result; a tuner that is lost hands its trial to
another.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import grpc
import keras_tuner

from archcomp_tf import backend
from archcomp_tf.architecture import Architecture
from archcomp_tf.task import Task

IDLE_SECONDS = 0.05  # between two questions of a tuner with nothing to do

_Trial = keras_tuner.engine.trial.Trial
_STATUS = keras_tuner.engine.trial.TrialStatus
_REASON = "reason"  # why a trial failed, among its values
_REASON_LENGTH = 300  # TensorFlow names every node that an error passed through
_HEARTBEAT_SECONDS = 5.0  # between two signs of life of a tuner that trains
_LOST_SECONDS = 60.0  # without one, a tuner is given up
_MAX_LOST = 2  # tuners that a network may take with it


class OtherSessionError(keras_tuner.errors.FatalError):
    """A trial of an oracle whose task is not known."""


class ArchitectureOracle(keras_tuner.Oracle):
    """Hands out the submitted architectures, each once, one a trial.

    Nothing of it is written to the disk: the corpus is what remembers.

    Args:
      on_end: called with each architecture, its accuracy (NaN where it
        failed), its seconds and why it failed.
      waits: whether tuners wait for more when all are handed out; if not,
        they are told to stop.
    """

    def __init__(
        self,
        on_end: Callable[[Architecture, float, float, str], None],
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
        self.session = os.urandom(4).hex()
        self._num_lost = collections.Counter()
        # trial_id -> when it began, and when it was last heard of
        self._begun: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    @keras_tuner.synchronized
    def submit(self, architectures: Sequence[Architecture]) -> None:
        """Adds architectures to what is handed out."""
        self._queue.extend({"architecture": a.to_json()} for a in architectures)

    def populate_space(self, trial_id: str) -> dict:
        """The next architecture as a hyperparameter."""
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
            trial.trial_id = f"{self.session}-{len(self._begun)}"
            self.trials[trial.trial_id] = trial
            self.start_order.append(trial.trial_id)
            self._begun[trial.trial_id] = time.monotonic()
        self.hear_of(trial.trial_id)
        return trial

    def end_trial(self, trial: _Trial) -> None:
        """Ends the trial and passes what came of it on."""
        super().end_trial(trial)
        trial = self.get_trial(trial.trial_id)
        accuracy, seconds = math.nan, 0.0
        reason = trial.hyperparameters.values.get(_REASON, "")
        if trial.status == _STATUS.COMPLETED:
            seconds = trial.metrics.get_last_value("seconds")
            if not reason:
                accuracy = trial.metrics.get_last_value("accuracy")
        elif not reason:
            reason = f"KerasTuner ended its trial as {trial.status}"
        self._forget(trial)
        self._on_end(_architecture(trial), accuracy, seconds, reason)

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
            self._on_end(_architecture(trial), math.nan, seconds, reason)

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
      session: of the oracle whose task this is; None for any.
    """

    def __init__(
        self,
        oracle: ArchitectureOracle,
        task: Task,
        session: str | None = None,
    ):
        # KerasTuner makes a folder for each tuner; nothing is written to it.
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(oracle, directory=self._folder.name)
        self._task = task
        self._session = session

    def pre_create_trial(self) -> None:
        """Keeps a waiting worker from asking all the time."""
        time.sleep(IDLE_SECONDS)

    def run_trial(self, trial: _Trial) -> dict[str, float]:
        """Trains the trial's architecture.

        Raises:
          OtherSessionError: the trial is of another oracle than the task.
          keras_tuner.errors.FatalError: the task cannot be trained on.
        """
        if self._session and not trial.trial_id.startswith(self._session):
            raise OtherSessionError("another chief has taken the place of ours")
        start = time.monotonic()
        architecture = _architecture(trial)
        try:
            with self._signs_of_life(trial):
                accuracy = self._task.run(architecture)
        except backend.errors() as error:
            # Not raised: KerasTuner would print all of it, and tell a chief in
            # another process nothing.  What counts is that there is a reason.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            trial.hyperparameters.values[_REASON] = reason[:_REASON_LENGTH]
            accuracy = 0.0
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


def _architecture(trial: _Trial) -> Architecture:
    """What a trial is to train."""
    values = trial.hyperparameters.values
    return Architecture.from_json(values["architecture"])
