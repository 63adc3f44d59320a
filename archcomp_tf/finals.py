"""The long trainings of a run: the finalists of a search, its student.

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
from archcomp_tf.dashboards import write_scalars
from archcomp_tf.export import save_keras
from archcomp_tf.inference import seems_chance
from archcomp_tf.ledger import SearchResult
from archcomp_tf.limits import LimitError
from archcomp_tf.objective import ROUNDING, Budget, Tolerance
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


def best_of(run: Run, result: SearchResult) -> Architecture:
    """The best of a search, after its best few are trained to the end.

    The first of many labels after a brief training is, often enough, only
    the luckiest; the mean of several long trainings is much less so.  Which
    are trained from several seeds, see `Run.finalists_by_seed`.
    """
    settings = run.config.student
    # Those that keep to the limits come first; the others only where none
    # does.
    ranked = result.ranked
    kept = (r for r in ranked if run.allowance.keeps(r.architecture))
    chosen = list(itertools.islice(kept, settings.num_finalists))
    finalists = {
        f"finalist {place}": record
        for place, record in enumerate(
            chosen or ranked[: settings.num_finalists], 1
        )
    }
    if len(finalists) == 1:  # trained when it is the student
        (only,) = finalists.values()
        return only.architecture.compact
    objective, seeds = run.final_objective, _seeds(run)
    names = list(finalists)
    for num_seeds, num in enumerate(run.finalists_by_seed, 1):
        trained = _trainer(run, seeds[:num_seeds])(
            {n: finalists[n].architecture.compact for n in names[:num]},
            Recipe(**settings.recipe),
        )
        scores = {}
        for name, network in trained.items():
            size = finalists[name].num_params
            scores[name] = objective(network.mean_accuracy, size), -size
        names = sorted(scores, key=scores.get, reverse=True)
    return finalists[names[0]].architecture.compact


def train_student(run: Run) -> dict[str, Any]:
    """Tunes the student's recipe and trains the student.

    The student is the best network of the search or, where that loses more
    accuracy than the limits allow, the next larger one on the Pareto front.

    Args:
      run: the compression; its search is done.

    Returns:
      What the record of the student says.

    Raises:
      LimitError: what was tried loses too much; it is kept.
    """
    found = run.stage("search")
    best = Architecture.parse(found["best"])
    recipe, trials = tuned_recipe(run, best)
    student = _student(run, best, recipe)
    return {
        "trials": trials,
        "recipe": dataclasses.asdict(recipe),
        "predicted_accuracy": found["predictions"].get(student["fingerprint"]),
        **student,
    }


def tuned_recipe(run: Run, best: Architecture) -> tuple[Recipe, list]:
    """The student's recipe, and the trials that it was chosen from."""
    settings = run.config.student
    base = Recipe(**settings.recipe)
    if settings.num_tuning_trials < 2:  # compared with nothing
        return base, []

    def train(recipe: Recipe) -> float:
        # Kept as one of those from several seeds.
        trainer = _trainer(run, _seeds(run)[:1])
        return trainer({"recipe": best}, recipe)["recipe"].mean_accuracy

    tuner = RecipeTuner(
        train,
        base,
        distilled=run.teacher_logits is not None,
        num_trials=settings.num_tuning_trials,
        seed=run.seed,
        directory=run.path(f"students/{best.fingerprint}"),
    )
    recipe = tuner.best()
    write_scalars(
        run.path("tensorboard/tuning"),
        {"tuning/validation_accuracy": [a for _, a in tuner.trials]},
    )
    return recipe, tuner.trials


def _student(run: Run, best: Architecture, recipe: Recipe) -> dict[str, Any]:
    """The best, or what loses less than the limits say, trained."""
    candidates = [best, *_larger_than(run, best)]
    tried = []
    for candidate in candidates[: 1 + _MAX_RETRIES]:
        (student,) = train_long(run, {"student": candidate}, recipe).values()
        tried.append(student)
        if not _broken_limits(run, student):
            doubts = _chance(run, student) + _missed(run, student)
            for doubt in doubts:
                _LOGGER.warning("%s", doubt)
            return student | {"doubts": doubts}
    nearest = max(tried, key=lambda t: t["validation_accuracy"])
    raise LimitError(
        f"The nearest that was found, {nearest['architecture']}, breaks a "
        f"limit: {'; '.join(_broken_limits(run, nearest))}. It is kept in "
        f"{run.path(folder_of(nearest))}. More labels, longer trainings or a "
        "looser limit may help; labels are used again with --config.corpus="
        f"{run.path('corpus/records.jsonl')}."
    )


def train_long(
    run: Run, networks: Mapping[str, Architecture], recipe: Recipe
) -> dict[str, dict[str, Any]]:
    """Trains networks, keeps the best of each, and says what they are.

    Of several trainings the best on validation data is the network that is
    given; the others tell how much of its accuracy was luck.
    """
    records = {}
    trainer = _trainer(run, _seeds(run))
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


def _larger_than(run: Run, best: Architecture) -> list[Architecture]:
    """Labelled networks that keep to the limits and may lose less.

    Along the front of accuracy and size, from the next larger on.
    """
    size = run.space.count_params(best)
    return [
        record.architecture.compact
        for record in run.found().pareto
        if record.num_params > size
    ]


def _broken_limits(run: Run, student: Mapping[str, Any]) -> list[str]:
    """The limits that a trained student breaks, each as a sentence."""
    teacher = run.stage("teacher")
    return run.allowance.broken(
        Architecture.parse(student["architecture"]),
        teacher["validation_accuracy"] - student["validation_accuracy"],
    )


def _chance(run: Run, student: Mapping[str, Any]) -> list[str]:
    """Says where a student seems to be right by chance alone."""
    share = float(np.mean(student["validation_accuracies"]))
    if not seems_chance(share, run.dataset.validation.labels):
        return []
    return [
        f"The student is right about {share:.1%} of the images to choose "
        "by, hardly more than by chance, in the mean of its trainings: "
        "student.recipe may be too brief, or what is asked for too small."
    ]


def _missed(run: Run, student: Mapping[str, Any]) -> list[str]:
    """Says where a student is not what the objective asks for."""
    objective, size = run.final_objective, student["num_params"]
    if isinstance(objective, Budget) and size > objective.max_params:
        return [
            f"At most {objective.max_params:,} parameters are asked for; the "
            f"student has {size:,}."
        ]
    if isinstance(objective, Tolerance):
        drop = objective.reference_accuracy - student["validation_accuracy"]
        if drop > objective.max_drop + ROUNDING:
            return [
                f"A loss of at most {100 * objective.max_drop:.6g} points of "
                "accuracy is asked for; on validation data the student loses "
                f"{100 * drop:.6g}."
            ]
    return []


def _seeds(run: Run) -> list[int]:
    """Of the trainings of each network."""
    num = run.config.student.num_seeds
    return [run.seed + _SEEDS_APART * index for index in range(num)]


def _trainer(run: Run, seeds: Sequence[int]) -> StudentTrainer:
    return StudentTrainer(
        run.features,
        run.teacher_logits,
        seeds=seeds,
        directory=run.path("students"),
        num_workers=max(1, run.config.num_workers),
    )
