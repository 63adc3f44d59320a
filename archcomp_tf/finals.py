"""The long trainings of a run: finalists of a search, the student, controls.

All are trained by one recipe from the same seeds, so that what differs is the
network.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import Record
from archcomp_tf.dashboards import write_scalars
from archcomp_tf.export import save_keras
from archcomp_tf.inference import seems_chance
from archcomp_tf.ledger import SearchResult
from archcomp_tf.limits import LimitError
from archcomp_tf.run import Run
from archcomp_tf.students import StudentTrainer
from archcomp_tf.training import Recipe
from archcomp_tf.tuning import RecipeTuner

_LOGGER = logging.getLogger(__name__)

_SEEDS_APART = 1000  # between two trainings of one network
_MAX_RETRIES = 2  # of a student that lost more accuracy than it may


def folder_of(network: Mapping[str, Any]) -> str:
    """Where in the working directory a student or a control lies."""
    return f"students/{network['fingerprint']}"


class Finals:
    """Trains what is worth a long training, and keeps it.

    Args:
      run: the compression; the stages before are done.
    """

    def __init__(self, run: Run):
        self._run = run

    def check_costs(self, result: SearchResult) -> None:
        """Raises LimitError where no labelled network keeps to the limits."""
        ranked = [record.architecture for record in result.ranked]
        if any(map(self._run.allowance.keeps, ranked)):
            return
        nearest, broken = self._run.allowance.nearest(ranked)
        raise LimitError(
            f"None of {len(ranked)} labelled networks keeps to the limits. "
            f"The nearest is {nearest.compact}: {'; '.join(broken)}."
        )

    def best(self, result: SearchResult) -> Record:
        """The best of a search, after its best few are trained to the end.

        The first of many labels after a brief training is, often enough, only
        the luckiest; the mean of several long trainings is much less so.  Which
        are trained from several seeds, see `Run.finalists_by_seed`.
        """
        settings = self._run.config.student
        # Those that keep to the limits come first; the others only where none
        # does.
        ranked = result.ranked
        kept = (r for r in ranked if self._run.allowance.keeps(r.architecture))
        chosen = list(itertools.islice(kept, settings.num_finalists))
        finalists = {
            f"finalist {place}": record
            for place, record in enumerate(
                chosen or ranked[: settings.num_finalists], 1
            )
        }
        if len(finalists) == 1:  # trained when it is the student
            (only,) = finalists.values()
            return only
        objective = self._run.final_objective
        names = list(finalists)
        for num_seeds, num in enumerate(self._run.finalists_by_seed, 1):
            trained = self._trainer(self._seeds[:num_seeds])(
                {n: finalists[n].architecture.compact for n in names[:num]},
                Recipe(**settings.recipe),
            )
            scores = {}
            for name, network in trained.items():
                size = finalists[name].num_params
                scores[name] = objective(network.mean_accuracy, size), -size
            names = sorted(scores, key=scores.get, reverse=True)
        accuracy = trained[names[0]].mean_accuracy
        return dataclasses.replace(finalists[names[0]], accuracy=accuracy)

    def tuned_recipe(self, best: Architecture) -> tuple[Recipe, list]:
        """The student's recipe, and the trials that it was chosen from."""
        settings = self._run.config.student
        base = Recipe(**settings.recipe)
        if settings.num_tuning_trials < 2:  # compared with nothing
            return base, []

        def train(recipe: Recipe) -> float:
            # Kept as one of those from several seeds.
            trainer = self._trainer(self._seeds[:1])
            return trainer({"recipe": best}, recipe)["recipe"].mean_accuracy

        tuner = RecipeTuner(
            train,
            base,
            distilled=self._run.teacher_logits is not None,
            num_trials=settings.num_tuning_trials,
            seed=self._run.seed,
            directory=self._run.path(f"students/{best.fingerprint}"),
        )
        recipe = tuner.best()
        write_scalars(
            self._run.path("tensorboard/tuning"),
            {"tuning/validation_accuracy": [a for _, a in tuner.trials]},
        )
        return recipe, tuner.trials

    def student(self, best: Architecture, recipe: Recipe) -> dict[str, Any]:
        """Trains the student: the best, or what loses less than the limits say.

        Args:
          best: of the search.
          recipe: how it is trained.

        Returns:
          The record of the student, see `trained`.

        Raises:
          LimitError: what was tried loses too much; it is kept.
        """
        candidates = [best, *self._larger_than(best)]
        tried = []
        for candidate in candidates[: 1 + _MAX_RETRIES]:
            trained = self.trained({"student": candidate}, recipe)
            tried.append(trained["student"])
            if not self._broken_limits(tried[-1]):
                doubts = self._chance(tried[-1])
                for doubt in doubts:
                    _LOGGER.warning("%s", doubt)
                return tried[-1] | {"doubts": doubts}
        nearest = max(tried, key=lambda t: t["validation_accuracy"])
        raise LimitError(
            f"The nearest that was found, {nearest['architecture']}, "
            "breaks a limit: "
            f"{'; '.join(self._broken_limits(nearest))}. It is kept in "
            f"{self._run.path(folder_of(nearest))}. More labels, longer "
            "trainings or a looser limit may help; labels are used "
            "again with --config.corpus="
            f"{self._run.path('corpus/records.jsonl')}."
        )

    def trained(
        self, networks: Mapping[str, Architecture], recipe: Recipe
    ) -> dict[str, dict[str, Any]]:
        """Trains networks, keeps the best of each, and says what they are.

        Of several trainings the best on validation data is the network that
        is given; the others tell how much of its accuracy was luck.
        """
        run = self._run
        records = {}
        trainer = self._trainer(self._seeds)
        for name, trained in trainer(networks, recipe).items():
            record = records[name] = run.described(networks[name])
            accuracies = [r.validation_accuracy for r in trained.results]
            record |= {
                "validation_accuracy": max(accuracies),
                "validation_accuracies": accuracies,
                "best": trained.best,
                "trainings": [
                    os.fspath(path.relative_to(run.workdir.path))
                    for path in trained.paths
                ],
            }
            model = run.preprocessing.in_front_of(
                keras.models.load_model(trained.paths[trained.best])
            )
            folder = folder_of(record)
            with run.workdir.replacing(f"{folder}/model.keras") as path:
                save_keras(model, path)
            for index, result in enumerate(trained.results):
                write_scalars(
                    run.path(f"tensorboard/{name}_{index}"),
                    {"epoch_loss": result.losses},
                )
        return records

    def _larger_than(self, best: Architecture) -> list[Architecture]:
        """Labelled networks that keep to the limits and may lose less.

        Along the front of accuracy and size, from the next larger on.
        """
        size = self._run.space.count_params(best)
        return [
            Architecture.parse(point["architecture"])
            for point in self._run.stage("search")["pareto"]
            if point["num_params"] > size
        ]

    def _broken_limits(self, student: Mapping[str, Any]) -> list[str]:
        """The limits that a trained student breaks, each as a sentence."""
        teacher = self._run.stage("teacher")
        return self._run.allowance.broken(
            Architecture.parse(student["architecture"]),
            teacher["validation_accuracy"] - student["validation_accuracy"],
        )

    def _chance(self, student: Mapping[str, Any]) -> list[str]:
        """Says where a student seems to be right by chance alone."""
        share = float(np.mean(student["validation_accuracies"]))
        if not seems_chance(share, self._run.dataset.validation.labels):
            return []
        return [
            f"The student is right about {share:.1%} of the images to choose "
            "by, hardly more than by chance, in the mean of its trainings: "
            "student.recipe may be too brief, or what is asked for too small."
        ]

    @property
    def _seeds(self) -> list[int]:
        """Of the trainings of each network."""
        num = self._run.config.student.num_seeds
        return [self._run.seed + _SEEDS_APART * index for index in range(num)]

    def _trainer(self, seeds: Sequence[int]) -> StudentTrainer:
        run = self._run
        return StudentTrainer(
            run.features,
            run.teacher_logits,
            seeds=seeds,
            directory=run.path("students"),
            num_workers=max(1, run.config.num_workers),
        )
