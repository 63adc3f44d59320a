"""Fills the corpus: trains architectures and records their accuracy.

A KerasTuner oracle hands out architectures, one a trial, and a tuner trains
and records each.  `Labeler` wraps both as the `evaluate` that a search calls.
Labels depend on the network, the seed and the recipe alone, not on the order
in which networks are labelled, so a search that comes back to a network, or
starts anew after it was killed, takes its label from the corpus.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

import keras
import keras_tuner
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.corpus import FAILED, OK, Corpus, Record
from archcomp_tf.cost import num_params
from archcomp_tf.datasets import Dataset
from archcomp_tf.progress import Progress
from archcomp_tf.training import DivergedError, Recipe, train

_STATUS = keras_tuner.engine.trial.TrialStatus


class ArchitectureOracle(keras_tuner.Oracle):
    """Hands out the given architectures, each once, one a trial.

    Args:
      architectures: what to hand out, in this order.
    """

    def __init__(self, architectures: Sequence[Architecture]):
        super().__init__(
            objective=keras_tuner.Objective("accuracy", "max"),
            # A failed network is a record like others and ends nothing.
            max_consecutive_failed_trials=len(architectures) + 1,
        )
        self.verbose = 0
        self._queue = [a.to_json() for a in architectures]

    def populate_space(self, trial_id: str) -> dict:
        """The next architecture as the value of the only hyperparameter."""
        del trial_id
        if not self._queue:
            return {"status": _STATUS.STOPPED, "values": None}
        values = {"architecture": self._queue.pop(0)}
        return {"status": _STATUS.RUNNING, "values": values}


class LabelingTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Trains the architecture of each trial and reports its record.

    Args:
      oracle: an `ArchitectureOracle`.
      labeler: trains a network and records it.
      directory: where KerasTuner keeps the state of its trials.
      project_name: folder under `directory`.
    """

    def __init__(self, oracle, labeler, directory, project_name):
        super().__init__(
            oracle,
            directory=directory,
            project_name=project_name,
            overwrite=True,  # the corpus is what remembers
        )
        self._labeler = labeler

    def run_trial(self, trial, progress: Progress) -> dict[str, float]:
        """Labels the trial's architecture; a failed one counts as 0."""
        text = trial.hyperparameters.values["architecture"]
        try:
            record = self._labeler.label(Architecture.from_json(text))
        except Exception as error:
            # KerasTuner would note any other error and go on without a label.
            raise keras_tuner.errors.FatalError(
                f"Labelling {text} stopped: {error}"
            ) from error
        accuracy = 0.0 if record.status == FAILED else record.accuracy
        progress.advance(
            f"{record.num_params} parameters, {accuracy:.1%}"
            if record.status == OK
            else f"{record.num_params} parameters, failed: {record.reason}"
        )
        return {"accuracy": accuracy}


class Labeler:
    """Architectures -> validation accuracies, by brief training.

    Args:
      dataset: trained on its train split, judged on its validation split.
      recipe: the brief training.
      corpus: read before a network is trained, appended to afterwards.
      seed: of the first weights and of the order of the images.
      directory: where KerasTuner keeps the state of its trials.
      teacher_logits: `[len(dataset.train), num_classes]` to distil from, or
        None.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        corpus: Corpus,
        *,
        seed: int,
        directory: str | os.PathLike,
        teacher_logits: np.ndarray | None = None,
    ):
        self.dataset = dataset
        self.recipe = recipe
        self.corpus = corpus
        self.seed = seed
        self.directory = os.fspath(directory)
        self.teacher_logits = teacher_logits

    def __call__(self, architectures: Sequence[Architecture]) -> list[float]:
        """Labels architectures, the known ones from the corpus.

        Args:
          architectures: N networks.

        Returns:
          N validation accuracies in [0, 1], NaN for a label that failed.
        """
        todo = {
            a.fingerprint: a
            for a in architectures
            if self.corpus.get(self._key(a)) is None
        }
        if todo:
            tuner = LabelingTuner(
                ArchitectureOracle(list(todo.values())),
                self,
                self.directory,
                project_name=f"labels_{len(self.corpus)}",
            )
            tuner.search(Progress("label", len(todo)))
        return [self.corpus.get(self._key(a)).accuracy for a in architectures]

    def label(self, architecture: Architecture) -> Record:
        """Trains one network and appends its record to the corpus."""
        start = time.monotonic()
        fingerprint, seed, recipe = self._key(architecture)
        training_seed = (int(fingerprint[:8], 16) + seed) % 2**31
        keras.utils.set_random_seed(training_seed)
        shape, classes = self.dataset.input_shape, self.dataset.num_classes
        accuracy, status, reason = math.nan, FAILED, ""
        try:
            accuracy = train(
                build(architecture, shape, classes),
                self.dataset,
                self.recipe,
                seed=training_seed,
                teacher_logits=self.teacher_logits,
            ).validation_accuracy
            status = OK
        except DivergedError as error:
            reason = str(error)
        record = Record(
            architecture,
            accuracy,
            num_params(architecture, shape, classes),
            status=status,
            reason=reason,
            seed=seed,
            recipe=recipe,
            seconds=round(time.monotonic() - start, 2),
        )
        self.corpus.append(record)
        return record

    def _key(self, architecture: Architecture) -> tuple[str, int, str]:
        return (architecture.fingerprint, self.seed, self.recipe.name)
