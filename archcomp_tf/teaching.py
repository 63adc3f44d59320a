"""A run's teacher: trained or taken in, with what students learn from it."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

import keras
import numpy as np

from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.dashboards import write_scalars
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.distillation import (
    seeming_label_smoothing,
    teacher_logits,
    unsmooth,
)
from archcomp_tf.export import save_keras
from archcomp_tf.images import MAX_PIXEL, unit
from archcomp_tf.inference import accuracy, seems_chance
from archcomp_tf.keras_graph import calls, num_flops
from archcomp_tf.preprocessing import Preprocessing
from archcomp_tf.run import TEACHER_MODEL, Run
from archcomp_tf.teachers import named
from archcomp_tf.training import Recipe, build_and_train

_LOGGER = logging.getLogger(__name__)

_TRAINING, _UNSMOOTHING = "training", "unsmoothing"


def prepare_teacher(run: Run) -> dict[str, Any]:
    """Trains the teacher, or takes in one that is trained; keeps its answers.

    Args:
      run: the compression.

    Returns:
      What its record says of it.

    Raises:
      ValueError: it does not fit the data.
      UnsupportedModelError: it cannot be read, and the config names no other
        network to search around.
    """
    # Random layers of a given model take their seeds where it is copied.
    keras.utils.set_random_seed(run.seed)
    ready = run.ready_teacher()
    model = _trained(run) if ready is None else ready
    preprocessing = Preprocessing(model)
    architecture = run.architecture_of(model)
    scaled, dataset = preprocessing.scaled, run.dataset
    own = accuracy(model, dataset.validation, scaled)
    logits = teacher_logits(model, dataset.train.images, scaled=scaled)
    if num := np.sum(~np.isfinite(logits).all(axis=-1)):
        raise ValueError(
            f"Expected finite outputs of {model.name}; got infinity or NaN for "
            f"{num} of {len(logits)} images to learn from."
        )
    doubts: list[str] = []
    if ready is not None:
        _LOGGER.info(
            "teacher: right about %.1f%% of the %s images to choose by; where "
            "its own evaluate says more, something in front of it is missing",
            100 * own,
            f"{len(dataset.validation):,}",
        )
        _check_range(model, dataset.validation, preprocessing, own)
        doubts += _chance(dataset, preprocessing, own) or _known_images(
            dataset, logits, own
        )
        doubts += _mirrored(run, preprocessing)
    # Kept once nothing refuses it: the directory is then this teacher's.
    with run.workdir.replacing(TEACHER_MODEL) as path:
        save_keras(model, path)
    if run.config.teacher.unsmooth_epochs:
        dataset = dataset.without_test.map_images(preprocessing.scaled)
        logits = _unsmoothed_logits(run, dataset)
    if run.config.labels.distil:
        doubts += _smoothed(logits)
    for doubt in doubts:
        _LOGGER.warning("%s", doubt)
    with run.workdir.replacing("teacher/logits.npy") as path:
        np.save(path, logits)
    # Not all of it may be as its layers are read; where others are searched
    # around, these may be of any kind.
    flops = None if run.named_architecture else num_flops(calls(model))
    return run.described(architecture) | {
        "num_params": model.count_params(),
        "num_flops": flops,
        "inputs": run.inputs,
        "validation_accuracy": own,
        "doubts": doubts,
    }


def forget_training(run: Run) -> None:
    """Removes what the teacher's trainings would go on from; they are done."""
    for name in (_TRAINING, _UNSMOOTHING):
        _checkpoint(run, name).remove()


def _checkpoint(run: Run, name: str) -> Checkpoint:
    # Another recipe is another config, which the directory refuses; other
    # images or another teacher only once the stage is done.
    return Checkpoint(run.path(f"teacher/{name}.npz"), f"{name} {run.inputs}")


def _trained(run: Run) -> keras.Model:
    settings = run.config.teacher
    model, result = build_and_train(
        named(settings.architecture),
        run.dataset,
        Recipe(**settings.recipe),
        seed=run.seed,
        stage="teacher epoch",
        checkpoint=_checkpoint(run, _TRAINING),
    )
    write_scalars(
        run.path("tensorboard/teacher"), {"epoch_loss": result.losses}
    )
    return model


def _unsmoothed_logits(run: Run, dataset: Dataset) -> np.ndarray:
    """Of a copy, for the teacher itself is what students are held against."""
    settings = run.config.teacher
    copy = run.model(TEACHER_MODEL)
    recipe = Recipe(**settings.recipe)
    unsmooth(
        copy,
        dataset,
        dataclasses.replace(recipe, epochs=settings.unsmooth_epochs),
        seed=run.seed,
        checkpoint=_checkpoint(run, _UNSMOOTHING),
    )
    return teacher_logits(copy, dataset.train.images)


def _known_images(
    dataset: Dataset, logits: np.ndarray, validation_accuracy: float
) -> list[str]:
    """Says where a teacher seems to know the images that judge it."""
    train, num = dataset.train, len(dataset.validation)
    known = float(np.mean(np.argmax(logits, axis=-1) == train.labels))
    spread = math.sqrt(known * (1 - known) / num)
    if validation_accuracy < known - spread:
        return []
    return [
        f"The teacher is as accurate on the {num:,} images to choose by "
        f"({validation_accuracy:.1%}) as on those to learn from ({known:.1%}). "
        "If it was trained on both, more is counted as lost than is lost: "
        "give images that it does not know, as the second of three pairs."
    ]


def _check_range(
    model: keras.Model,
    validation: Split,
    preprocessing: Preprocessing,
    validation_accuracy: float,
) -> None:
    """Raises ValueError where a teacher is better when given other values."""
    most = preprocessing.max_pixel
    ranges = ((0, MAX_PIXEL), (-1, 1)) if most == 1 else ((0, 1),)
    # Neither by chance, three standard errors of a difference at most, nor by
    # a little contrast.
    margin = max(0.1, 3 * math.sqrt(0.5 / len(validation)))
    for low, high in ranges:
        other = accuracy(
            model,
            validation,
            lambda x, low=low, high=high: (
                low + (high - low) * unit(preprocessing.scaled(x)) / most
            ),
        )
        if other - validation_accuracy > margin:
            scale = f"{high - low}" if most == 1 else f"1 / {most}"
            layer = f"Rescaling({scale}, offset={low})"
            raise ValueError(
                f"{model.name} is right about {validation_accuracy:.1%} of the "
                f"images to choose by where it is given values from 0 to "
                f"{most}, and about {other:.1%} where they go from {low} to "
                f"{high}: put "
                f"{layer} in front of it, keras.Sequential([{layer}, model]); "
                "students will have it too."
            )


def _chance(
    dataset: Dataset, preprocessing: Preprocessing, validation_accuracy: float
) -> list[str]:
    """Says where a teacher seems to be right by chance alone."""
    if not seems_chance(validation_accuracy, dataset.validation.labels):
        return []
    return [
        f"The teacher is right about {validation_accuracy:.1%} of the images "
        "to choose by, hardly more than by chance. It is given values from 0 "
        f"to {preprocessing.max_pixel}: if it was trained on others, put the "
        "layers that make them from these in front of it (Rescaling, "
        "Normalization, a preprocess_input); students will have them too."
    ]


def _mirrored(run: Run, preprocessing: Preprocessing) -> list[str]:
    """Says where a teacher saw mirrored images and students will not."""
    if not preprocessing.mirrors or run.config.student.recipe.mirror:
        return []
    return [
        "The teacher was trained on images that were mirrored at random. "
        "With config.student.recipe.mirror = True students are too."
    ]


def _smoothed(logits: np.ndarray) -> list[str]:
    """Says where a teacher keeps from students what they could learn."""
    smoothing = seeming_label_smoothing(logits)
    if not smoothing:
        return []
    return [
        "The teacher seems to have been trained with a label smoothing of "
        f"{smoothing:.2f}: it hardly tells one wrong class from another, and "
        "students learn little more from it than from the labels. With "
        "config.teacher.unsmooth_epochs = 3, in another working directory, "
        "they learn from a copy that was trained on for so long without."
    ]
