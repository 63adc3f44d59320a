"""Tunes a student's training recipe with KerasTuner."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import keras_tuner

from archcomp_tf.backend import errors
from archcomp_tf.progress import Progress
from archcomp_tf.training import Recipe


class RecipeTuner(keras_tuner.RandomSearch):
    """Random search over the recipe of one network.

    Tuned are the peak learning rate, the weight decay and, with a teacher, the
    temperature and the weight of the labels; epochs and batch size stay.

    Args:
      train: trains the network by a recipe; what it gives is its validation
        accuracy.
      base: the first recipe to be tried, and what is not tuned of the others.
      distilled: whether it learns from a teacher.
      num_trials: how many recipes to try.
      seed: of the recipes.
      directory: where KerasTuner keeps its trials.  It begins anew there each
        time: trainings that are done are for `train` to know.
    """

    def __init__(
        self,
        train: Callable[[Recipe], float],
        base: Recipe,
        *,
        distilled: bool,
        num_trials: int,
        seed: int,
        directory: str | os.PathLike,
    ):
        self._train = train
        self._base = base
        self._distilled = distilled
        self._progress = Progress("tune recipe", num_trials)
        super().__init__(
            objective=keras_tuner.Objective("accuracy", "max"),
            max_trials=num_trials,
            max_consecutive_failed_trials=num_trials + 1,  # never
            seed=seed + 1,  # 0 is none to KerasTuner: it would draw one
            directory=os.fspath(directory),
            project_name="tuning",
            overwrite=True,  # a kill may have left half of a file
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
        if self._distilled:
            tuned["temperature"] = hp.Choice("temperature", [1.0, 2.0, 4.0])
            tuned["label_weight"] = hp.Choice("label_weight", [0.1, 0.5, 0.9])
        return dataclasses.replace(base, **tuned)

    def run_trial(self, trial) -> dict[str, float]:
        """Trains the network by the trial's recipe."""
        recipe = self._recipe_of(trial)
        try:
            accuracy = self._train(recipe)
        except errors():
            raise  # the recipe's own: the trial has failed
        except Exception as error:  # KerasTuner would take it for that too
            raise keras_tuner.errors.FatalError from error
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
        for trial in self._completed:
            recipe = dataclasses.asdict(self._recipe_of(trial))
            tuned = {key: recipe[key] for key in trial.hyperparameters.values}
            found.append((tuned, trial.score))
        return found

    def best(self) -> Recipe:
        """Runs the trials and gives the best recipe, the earliest of equals.

        Where all of them failed it is the base.

        Raises:
          Exception: whatever `train` raises, unless the backend did.
        """
        try:
            self.search()
        except keras_tuner.errors.FatalError as error:
            raise (error.__cause__ or error) from None
        trials = self._completed
        if not trials:
            return self._base
        return self._recipe_of(max(trials, key=lambda trial: trial.score))

    @property
    def _completed(self) -> list[keras_tuner.engine.trial.Trial]:
        """In their order, without those that failed, for lack of memory."""
        trials = sorted(
            self.oracle.trials.values(), key=lambda trial: int(trial.trial_id)
        )
        return [trial for trial in trials if trial.score is not None]

    def _recipe_of(self, trial) -> Recipe:
        # What the random ones have to be better than.
        if int(trial.trial_id) == 0:
            return self._base
        return self.recipe(trial.hyperparameters)
