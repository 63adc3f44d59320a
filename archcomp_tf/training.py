"""Trains one network on one data set, plain or distilled from a teacher.

Distillation is Hinton et al., arXiv 1503.02531, by Keras' own `Distiller`.
The teacher's logits are computed once for a data set and travel as a second
input, so that a student's step costs what the student costs.

What "accuracy" means in this package: the share of a split's images whose
largest logit is the labelled class, in [0, 1].
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.progress import Progress

_PREDICT_BATCH = 512
_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, decaying to zero.

    Small networks take fewer operations a step, and fewer to trace, with SGD
    than with Adam, at no loss of accuracy.

    Attributes:
      epochs: passes over the training split.
      batch_size: images a step.
      learning_rate: peak, reached after a tenth of the steps; then a half
        cosine to zero.
      weight_decay: decoupled (Loshchilov and Hutter, arXiv 1711.05101).
      temperature: of the distillation's softmax; not used without a teacher.
      label_weight: weight in [0, 1] of the loss on the true labels; the loss
        on the teacher's logits has the rest.  Not used without a teacher.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    temperature: float = 2.0
    label_weight: float = 0.5

    @property
    def name(self) -> str:
        """A short text that tells this recipe from others."""
        return "-".join(
            f"{value:g}" for value in dataclasses.asdict(self).values()
        )


class DivergedError(RuntimeError):
    """The loss of a training stopped being a finite number."""


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came out of a training.

    Attributes:
      validation_accuracy: in [0, 1], after the last epoch.
      seconds: wall time of the training.
    """

    validation_accuracy: float
    seconds: float


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The model's logits `[N, num_classes]` for images `[N, ...]`."""
    # Not `predict`, which traces a function anew for every model: a network
    # that is evaluated once costs more in tracing than in arithmetic.
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(
                model(images[start : start + _PREDICT_BATCH], training=False)
            )
            for start in range(0, len(images), _PREDICT_BATCH)
        ]
    )


def teacher_logits(teacher: keras.Model, images: np.ndarray) -> np.ndarray:
    """The teacher's logits `[N, num_classes]` for images `[N, ...]`.

    A teacher that ends in a softmax gives the logarithms of its
    probabilities, which are logits of the same probabilities.
    """
    outputs = logits(teacher, images)
    if np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return np.log(np.maximum(outputs, 1e-7))
    return outputs


def accuracy(model: keras.Model, split: Split) -> float:
    """Share of the split's images that the model puts in the right class."""
    classes = np.argmax(logits(model, split.images), axis=-1)
    return float(np.mean(classes == split.labels))


def train(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    teacher_logits: np.ndarray | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    stage: str | None = None,
) -> TrainingResult:
    """Trains `model` in place.

    Args:
      model: images `[N, height, width, channels]` -> logits, freshly built.
      dataset: trained on its train split, judged on its validation split.
      recipe: how to train.
      seed: of the order of the images.
      teacher_logits: `[len(dataset.train), num_classes]`; with them the
        network is distilled, without it is trained on the labels alone.
      callbacks: Keras callbacks of the caller's.
      stage: name under which epochs are logged; None logs nothing.

    Returns:
      The accuracy on the validation split, and the time.

    Raises:
      DivergedError: the loss became infinite or not a number.
    """
    start = time.monotonic()
    keras.utils.set_random_seed(seed)
    images, labels = dataset.train.images, dataset.train.labels
    if teacher_logits is None:
        trainee, inputs = model, images
    else:
        trainee = _distiller(model, recipe, teacher_logits.shape[-1])
        inputs = {"image": images, "teacher_logits": teacher_logits}
    num_steps = recipe.epochs * -(-len(labels) // recipe.batch_size)
    optimizer = _optimizer(recipe, num_steps)
    # Built here and not in the first step, which would be traced twice.
    optimizer.build(trainee.trainable_variables)
    trainee.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callbacks = [keras.callbacks.TerminateOnNaN(), *callbacks]
    if stage:
        callbacks.append(EpochProgress(stage, recipe.epochs, {"loss": "loss"}))
    history = trainee.fit(
        inputs,
        labels,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        callbacks=callbacks,
        verbose=0,
    ).history
    loss = history.get("loss", [float("nan")])[-1]
    if not np.isfinite(loss):
        raise DivergedError(
            f"The loss of {model.name} became {loss} in epoch "
            f"{len(history.get('loss', ()))} of {recipe.epochs}."
        )
    return TrainingResult(
        accuracy(model, dataset.validation), time.monotonic() - start
    )


def _optimizer(recipe: Recipe, num_steps: int) -> keras.optimizers.Optimizer:
    warmup_steps = num_steps // 10
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / max(1, warmup_steps),
        decay_steps=max(1, num_steps - warmup_steps),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup_steps,
    )
    return keras.optimizers.SGD(
        schedule,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )


def _distiller(
    model: keras.Model, recipe: Recipe, num_classes: int
) -> keras.distillation.Distiller:
    """A Distiller whose teacher reads its logits off the second input."""
    inputs = {
        "image": keras.Input(model.input_shape[1:], name="image"),
        "teacher_logits": keras.Input((num_classes,), name="teacher_logits"),
    }
    teacher = keras.Model(inputs, _Select("teacher_logits")(inputs))
    student = keras.Model(inputs, model(_Select("image")(inputs)))
    return keras.distillation.Distiller(
        teacher=teacher,
        student=student,
        # The default, the string "kl_divergence", becomes a function that
        # Keras (3.12 to 3.15) then applies to the logits, not to their
        # softmax: students learn next to nothing.  An instance is right.
        distillation_losses=keras.distillation.LogitsDistillation(
            temperature=recipe.temperature, loss=keras.losses.KLDivergence()
        ),
        student_loss_weight=recipe.label_weight,
    )


def build_and_train(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    **kwargs: Any,
) -> tuple[keras.Model, TrainingResult]:
    """Builds a network for a data set and trains it.

    Args:
      architecture: the network.
      dataset: gives the images' shape and the classes.
      recipe: how to train.
      seed: of the first weights and of the order of the images.
      **kwargs: of `train`.

    Returns:
      The trained model, and what `train` gives.
    """
    keras.utils.set_random_seed(seed)
    model = build(architecture, dataset.input_shape, dataset.num_classes)
    return model, train(model, dataset, recipe, seed=seed, **kwargs)


class _Select(keras.layers.Layer):
    """Passes one of several named inputs on.

    Every input of a functional model must lead to its output; this way those
    that are not used do.
    """

    def __init__(self, key: str):
        super().__init__()
        self._key = key

    def call(self, inputs):
        return inputs[self._key]


class EpochProgress(keras.callbacks.Callback):
    """Reports epochs as `Progress`.

    Args:
      stage: what is being trained.
      epochs: how many there are.
      names: key of Keras' logs -> what it is called in the line.
    """

    def __init__(self, stage: str, epochs: int, names: dict[str, str]):
        super().__init__()
        self._progress = Progress(stage, epochs)
        self._names = names

    def on_epoch_end(self, epoch, logs=None):
        del epoch
        values = (
            f"{name} {logs[key]:.4f}" for key, name in self._names.items()
        )
        self._progress.advance(", ".join(values))
