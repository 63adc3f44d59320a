"""Tunes a student's training recipe with KerasTuner."""

from __future__ import annotations

import dataclasses
import os

import keras_tuner
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.datasets import Dataset
from archcomp_tf.progress import Progress
from archcomp_tf.training import DivergedError, Recipe, trained_accuracy


class RecipeTuner(keras_tuner.RandomSearch):
    """Random search over the recipe of one network.

    Tuned are the peak learning rate, the weight decay and, with a teacher, the
    temperature and the weight of the labels; epochs and batch size stay.

    Args:
      architecture: the network.
      dataset: trained on its train split, judged on its validation split.
      base: the first recipe to be tried, and what is not tuned of the others.
      teacher_logits: `[len(dataset.train), num_classes]`, or None.
      num_trials: how many recipes to try.
      seed: of the recipes and of each training.
      directory: where KerasTuner keeps its trials; a search that was killed
        goes on there.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        base: Recipe,
        teacher_logits: np.ndarray | None,
        *,
        num_trials: int,
        seed: int,
        directory: str | os.PathLike,
    ):
        self._architecture = architecture
        self._dataset = dataset
        self._base = base
        self._teacher_logits = teacher_logits
        self._seed = seed
        self._progress = Progress("tune recipe", num_trials)
        super().__init__(
            objective=keras_tuner.Objective("accuracy", "max"),
            max_trials=num_trials,
            seed=seed,
            directory=os.fspath(directory),
            project_name="tuning",
        )
        self.oracle.verbose = 0

    def recipe(self, hp: keras_tuner.HyperParameters) -> Recipe:
        """The recipe that the hyperparameters stand for."""
        base = self._base
        tuned = {
            "learning_rate": hp.Float(
                "learning_rate",
                base.learning_rate / 2,
                base.learning_rate * 2,
                sampling="log",
            ),
            "weight_decay": hp.Float(
                "weight_decay", 1e-4, 1e-1, sampling="log"
            ),
        }
        if self._teacher_logits is not None:
            tuned["temperature"] = hp.Choice("temperature", [1.0, 2.0, 4.0])
            tuned["label_weight"] = hp.Choice("label_weight", [0.1, 0.5, 0.9])
        return dataclasses.replace(base, **tuned)

    def run_trial(self, trial) -> dict[str, float]:
        """Trains the network by the trial's recipe; divergence counts as 0."""
        recipe = self._recipe_of(trial)
        try:
            accuracy = trained_accuracy(
                self._architecture,
                self._dataset,
                recipe,
                seed=self._seed,
                teacher_logits=self._teacher_logits,
            )
        except DivergedError:
            accuracy = 0.0
        self._progress.advance(
            f"learning rate {recipe.learning_rate:.4f}, "
            f"validation {accuracy:.1%}"
        )
        return {"accuracy": accuracy}

    def _populate_initial_space(self):
        # There is no hypermodel to ask: `recipe` declares what is tuned.
        hp = self.oracle.get_space()
        self.recipe(hp)
        self.oracle.update_space(hp)

    @property
    def trials(self) -> list[tuple[dict[str, float], float]]:
        """What was tuned, and the validation accuracy, trial by trial."""
        found = []
        for name in sorted(self.oracle.trials, key=int):
            trial = self.oracle.trials[name]
            recipe = dataclasses.asdict(self._recipe_of(trial))
            tuned = {key: recipe[key] for key in trial.hyperparameters.values}
            found.append((tuned, trial.score))
        return found

    def best(self) -> Recipe:
        """Runs the trials that are left and gives the best recipe."""
        self.search()
        # The earliest of equals: KerasTuner's own order of them changes when
        # its trials are read again.
        best = max(
            self.oracle.trials.values(),
            key=lambda trial: (trial.score, -int(trial.trial_id)),
        )
        return self._recipe_of(best)

    def _recipe_of(self, trial) -> Recipe:
        # What the random ones have to be better than.
        if int(trial.trial_id) == 0:
            return self._base
        return self.recipe(trial.hyperparameters)
