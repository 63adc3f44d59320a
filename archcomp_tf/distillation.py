"""What students learn from: a teacher's answers, and how much they tell.

Distillation (Hinton et al., arXiv 1503.02531) lives on how unlikely a teacher
holds each of the wrong classes.  A teacher that was trained with label
smoothing tells little of that (Mueller et al., arXiv 1906.02629); some epochs
without it bring most of it back.  What that is worth was measured, see "what
label smoothing costs" in results/README.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from archcomp_tf import inference
from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.datasets import Dataset
from archcomp_tf.training import Recipe, train

_LEAST_PROBABILITY = 1e-7  # of a softmax or a sigmoid, for its logarithm
# A softmax in bfloat16 is off by 0.002 and more, also where it is cast after.
_SUM_TOLERANCE = 0.02
# With fewer classes the few wrong ones may be alike without any smoothing.
_MIN_CLASSES = 5
# How much smaller the learning rate is where a trained network goes on.
_GENTLER = 5


def teacher_logits(
    teacher: keras.Model, images: np.ndarray, **kwargs: Any
) -> np.ndarray:
    """The teacher's logits `[N, num_classes]` for images `[N, ...]`.

    A teacher that ends in a softmax gives the logarithms of its
    probabilities, which are logits of the same probabilities.  One that ends
    in a sigmoid a class, whose outputs are all in [0, 1] and do not sum to 1,
    gives log(p / (1 - p)).  The arguments are those of `inference.logits`.
    """
    outputs = inference.logits(teacher, images, **kwargs)
    to_logits = _to_logits(outputs)
    return to_logits(outputs, np) if to_logits else outputs


def seeming_label_smoothing(logits: np.ndarray) -> float:
    """The label smoothing that a classifier seems to have been trained with.

    Where labels are smoothed, all wrong classes are to be equally unlikely, and
    the right one likelier by a set factor.

    Args:
      logits: `[N, num_classes]`, for images that it learnt from.

    Returns:
      The share of a label that goes to all classes alike, to whose optimum the
      median image comes; 0 where that is under 0.02, where the wrong classes
      differ by more than a fifth of what the right one is ahead of them, or
      where there are fewer than 5 classes.
    """
    num_classes = logits.shape[-1]
    if num_classes < _MIN_CLASSES:
        return 0.0
    ordered = np.sort(logits, axis=-1)
    wrong = ordered[:, :-1]
    ahead = np.median(ordered[:, -1] - wrong.mean(axis=-1))
    smoothing = num_classes / (np.exp(ahead) + num_classes - 1)
    alike = np.median(wrong.std(axis=-1)) < ahead / 5
    return float(smoothing) if alike and smoothing >= 0.02 else 0.0


def unsmooth(
    teacher: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Trains a teacher on, in place, without label smoothing.

    Args:
      teacher: images -> what `teacher_logits` makes logits of; all of it is
        trained where all of it is frozen.
      dataset: its images are as the teacher takes them.
      recipe: how it might have been trained; it goes on with a fifth of the
        learning rate, for the recipe's epochs.
      seed: of the order of the images, and of how they are changed.
      checkpoint: where the training goes on if it was killed; the caller
        removes it.

    Raises:
      ValueError: the recipe changes images, and these have no channels.
      DivergedError: the loss became infinite or not a number.
    """
    if recipe.augmentation and len(dataset.input_shape) < 3:
        raise ValueError(
            f"{teacher.name} takes images of shape {dataset.input_shape}, "
            "without channels, which a recipe cannot change; expected its "
            "max_shift, mirror and cutout to be 0."
        )
    to_logits = _to_logits(inference.logits(teacher, dataset.validation.images))
    model = teacher
    if to_logits:
        probabilities = ops.cast(teacher.outputs[0], "float32")
        model = keras.Model(
            teacher.inputs[0], to_logits(probabilities, ops), name=teacher.name
        )
    if not model.trainable_variables:  # frozen when it was trained
        teacher.trainable = True
    recipe = dataclasses.replace(
        recipe,
        learning_rate=recipe.learning_rate / _GENTLER,
        label_smoothing=0.0,
    )
    train(
        model,
        dataset,
        recipe,
        seed=seed,
        stage="teacher epoch without smoothing",
        checkpoint=checkpoint,
    )


def _to_logits(outputs: np.ndarray) -> Callable[[Any, Any], Any] | None:
    """What makes logits of a classifier's outputs, of which some are given.

    Returns:
      (probabilities, NumPy or `keras.ops`) -> logits; None for outputs that
      are logits.
    """
    if not np.all((outputs >= 0) & (outputs <= 1)):
        return None
    if np.allclose(outputs.sum(axis=-1), 1, rtol=0, atol=_SUM_TOLERANCE):
        return _log
    return _logit


def _log(p, xp):
    return xp.log(xp.maximum(p, _LEAST_PROBABILITY))


def _logit(p, xp):
    p = xp.clip(p, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return xp.log(p / (1 - p))
