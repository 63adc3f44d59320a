"""Trains one network on one data set, plain or distilled from a teacher.

A training is one compiled function that is called once an epoch: all weights
are one vector, so that a step's gradient and update are a handful of
operations, and nothing returns to Python between two steps.  For a small
network `fit` costs several times as much, most of it in tracing.

Distillation is Hinton et al., arXiv 1503.02531.  The teacher's logits are
computed once for a data set, so that a student's step costs what the student
costs.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from archcomp_tf.architecture import Architecture
from archcomp_tf.augmentation import Augmentation
from archcomp_tf.backend import (
    compiled,
    dtype_policy,
    fastest_dtype_policy,
    value_and_grad,
)
from archcomp_tf.builder import build
from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.images import MAX_PIXEL
from archcomp_tf.inference import accuracy
from archcomp_tf.layer import Shape
from archcomp_tf.progress import Progress
from archcomp_tf.ranges import check_number
from archcomp_tf.training_layers import training_layers

_MOMENTUM = 0.9
# A longer gradient is cut to this length (Pascanu et al., arXiv 1211.5063).
# Where all layers have batch norm few are longer; a network with a dense layer,
# which has none, had longer ones, and one of its trainings ended at chance.
_MAX_GRADIENT = 3.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, decaying to zero.

    Small networks take fewer operations a step, and fewer to trace, with SGD
    than with Adam, at no loss of accuracy.

    Attributes:
      num_images: how many of the training split are used, the first; 0 for
        all of them.
      epochs: passes over these, each rounded to whole batches.
      batch_size: images a step.
      learning_rate: peak, reached after a tenth of the steps; then a half
        cosine to zero.
      weight_decay: decoupled (Loshchilov and Hutter, arXiv 1711.05101).
      temperature: of the distillation's softmax; not used without a teacher.
      label_weight: weight in [0, 1] of the loss on the true labels; the loss
        on the teacher's logits has the rest.  Not used without a teacher.
      label_smoothing: share in [0, 1] of a label that goes to all classes
        alike (Szegedy et al., arXiv 1512.00567).
      max_shift: of the `Augmentation`, in pixels.
      mirror: of the `Augmentation`.
      cutout: of the `Augmentation`, in pixels.

    Raises:
      ValueError: a number makes no sense.
    """

    num_images: int = 0
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    temperature: float = 2.0
    label_weight: float = 0.5
    label_smoothing: float = 0.0
    max_shift: int = 0
    mirror: bool = False
    cutout: int = 0

    def __post_init__(self):
        for name in ("num_images", "max_shift", "cutout"):
            check_number(name, getattr(self, name), 0, whole=True)
        for name in ("epochs", "batch_size"):
            check_number(name, getattr(self, name), 1, whole=True)
        for name in ("learning_rate", "temperature"):
            check_number(name, getattr(self, name), 0, above=True)
        check_number("weight_decay", self.weight_decay, 0)
        check_number("label_weight", self.label_weight, 0, 1)
        check_number("label_smoothing", self.label_smoothing, 0, 1)

    @property
    def augmentation(self) -> Augmentation:
        """How the images of a training are changed."""
        return Augmentation(self.max_shift, self.mirror, self.cutout)

    @property
    def name(self) -> str:
        """A short text that tells this recipe from others, fit for a path."""
        return "-".join(
            f"{value:.15g}" for value in dataclasses.asdict(self).values()
        )


class DivergedError(RuntimeError):
    """The loss of a training stopped being a finite number."""


class TimeLimitError(RuntimeError):
    """A training took longer than it was allowed to."""


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came out of a training.

    Attributes:
      validation_accuracy: in [0, 1], after the last epoch.
      seconds: wall time of the training.
      losses: mean over the steps of each epoch.
    """

    validation_accuracy: float
    seconds: float
    losses: tuple[float, ...] = ()


def train(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    teacher_logits: np.ndarray | None = None,
    stage: str | None = None,
    on_epoch: Callable[[int], None] | None = None,
    max_seconds: float = math.inf,
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Trains `model` in place.

    Args:
      model: images `[N, height, width, channels]` -> logits; it need not be
        compiled.
      dataset: trained on its train split, judged on its validation split.
      recipe: how to train.
      seed: of the order of the images, and of how they are changed.
      teacher_logits: `[len(dataset.train), num_classes]`; with them the
        network is distilled, without it is trained on the labels alone.  They
        are those of the images as they are, also where the recipe changes them.
      stage: name under which epochs are logged; None logs nothing.
      on_epoch: is told after each epoch how many are done.
      max_seconds: how long it may take; looked at between epochs.
      checkpoint: where the training goes on if it was killed; the caller
        removes it.

    Returns:
      The accuracy on the validation split, the time, and the losses.

    Raises:
      ValueError: the arrays do not belong together.
      DivergedError: the loss became infinite or not a number.
      TimeLimitError: it took longer than `max_seconds`.
    """
    start = time.monotonic()
    keras.utils.set_random_seed(seed)
    arrays = _training_arrays(dataset.train, teacher_logits, recipe)
    order = _order(len(arrays[0]), recipe, seed)
    rates = _learning_rates(recipe, order.shape[0] * order.shape[1])
    rates = rates.reshape(order.shape[:2])
    train_epoch = _epoch_function(model, recipe)
    state, losses = _initial_state(model), []
    kept = checkpoint.read() if checkpoint else None
    if kept:
        weights, velocity, *others = map(ops.convert_to_tensor, kept.arrays)
        state, losses = (weights, velocity, others), list(kept.losses)
    progress = (
        Progress(stage, recipe.epochs, done=len(losses)) if stage else None
    )
    for epoch in range(len(losses), recipe.epochs):
        state, loss = train_epoch(
            state,
            arrays,
            ops.convert_to_tensor(order[epoch]),
            _draws(recipe, order.shape[1:], dataset.input_shape, seed, epoch),
            ops.convert_to_tensor(rates[epoch]),
        )
        losses.append(float(loss))
        if not math.isfinite(losses[-1]):
            raise DivergedError(
                f"The loss of {model.name} became {losses[-1]} in epoch "
                f"{epoch + 1} of {recipe.epochs}."
            )
        if checkpoint:
            weights, velocity, others = state
            checkpoint.write(
                [*map(ops.convert_to_numpy, (weights, velocity, *others))],
                losses,
            )
        if on_epoch:
            on_epoch(len(losses))
        if progress:
            progress.advance(f"loss {losses[-1]:.4f}")
        seconds = time.monotonic() - start
        if seconds > max_seconds:
            raise TimeLimitError(
                f"The training of {model.name} took more than {max_seconds:g} "
                f"s: {seconds:.0f} s for {epoch + 1} of {recipe.epochs} epochs."
            )
    _assign(model, state)
    return TrainingResult(
        accuracy(model, dataset.validation),
        time.monotonic() - start,
        tuple(losses),
    )


def _training_arrays(
    split: Split, teacher_logits: np.ndarray | None, recipe: Recipe
) -> tuple:
    """Images, what white is in them, labels, teacher's logits: on the device.

    White is None for images in [0, 1].
    """
    lengths = {"images": len(split.images), "labels": len(split.labels)}
    if teacher_logits is not None:
        lengths["teacher's logits"] = len(teacher_logits)
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{n} {name}" for name, n in lengths.items())
        raise ValueError(f"Expected as many labels as images; got {counts}.")
    used = slice(recipe.num_images or None)
    images, white = split.images[used], None
    if images.dtype == np.uint8:
        # A tensor, not a constant: compilers multiply by a constant's inverse,
        # which differs from `images.unit` in the last bit.
        white = np.full(len(images), MAX_PIXEL, np.float32)
        white = ops.convert_to_tensor(white)
    else:
        images = images.astype(np.float32, copy=False)
    return (
        ops.convert_to_tensor(images),
        white,
        ops.convert_to_tensor(split.labels[used], "int32"),
        None
        if teacher_logits is None
        else ops.convert_to_tensor(teacher_logits[used], "float32"),
    )


def _order(num_images: int, recipe: Recipe, seed: int) -> np.ndarray:
    """Which images each step sees: `[epochs, steps, batch]`.

    One permutation after another, cut into whole batches: of a batch that an
    epoch leaves over, the next epoch makes the rest.
    """
    batch = min(recipe.batch_size, num_images)
    steps = max(1, round(num_images / batch))
    num_seen = recipe.epochs * steps * batch
    rng = np.random.default_rng(seed)
    permutations = [
        rng.permutation(num_images) for _ in range(-(-num_seen // num_images))
    ]
    seen = np.concatenate(permutations)[:num_seen].astype(np.int32)
    return seen.reshape(recipe.epochs, steps, batch)


def _draws(
    recipe: Recipe,
    num: tuple[int, ...],
    image_shape: Shape,
    seed: int,
    epoch: int,
):
    """What is random in an epoch's images, as a tensor; None for nothing."""
    if not recipe.augmentation:
        return None
    # By the epoch, so that a training that goes on sees what it would have.
    rng = np.random.default_rng([seed, epoch])
    return ops.convert_to_tensor(
        recipe.augmentation.draw(rng, num, image_shape)
    )


def _learning_rates(recipe: Recipe, num_steps: int) -> np.ndarray:
    """The learning rate of every step: a linear warm-up, then a half cosine."""
    num_warmup = num_steps // 10
    warmup = np.arange(1, num_warmup + 1) / max(1, num_warmup)
    phase = np.arange(num_steps - num_warmup) / max(1, num_steps - num_warmup)
    decay = (1 + np.cos(np.pi * phase)) / 2
    rates = recipe.learning_rate * np.concatenate([warmup, decay])
    return rates.astype(np.float32)


def _initial_state(model: keras.Model) -> tuple:
    """(all weights as one vector, their velocity, what is not trained)."""
    weights = np.concatenate(
        [ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]
    )
    return (
        ops.convert_to_tensor(weights),
        ops.convert_to_tensor(np.zeros_like(weights)),
        [
            ops.convert_to_tensor(ops.convert_to_numpy(v))
            for v in model.non_trainable_variables
        ],
    )


def _assign(model: keras.Model, state: tuple) -> None:
    weights, _, others = state
    variables = model.trainable_variables
    for variable, value in zip(
        variables, _split(weights, variables), strict=True
    ):
        variable.assign(value)
    for variable, value in zip(
        model.non_trainable_variables, others, strict=True
    ):
        variable.assign(value)


def _split(weights, variables) -> list:
    """One vector -> a tensor for each variable."""
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])
    return [
        ops.reshape(part, variable.shape)
        for part, variable in zip(
            ops.split(weights, ends[:-1].tolist()), variables, strict=True
        )
    ]


def _epoch_function(model: keras.Model, recipe: Recipe) -> Callable:
    """(state, arrays, batches, draws, rates) -> (state, mean loss)."""
    variables = model.trainable_variables

    def loss_of(weights, others, images, labels, teacher):
        outputs, others = model.stateless_call(
            _split(weights, variables), others, images, training=True
        )
        outputs = ops.cast(outputs, "float32")
        return _loss(recipe, outputs, labels, teacher), others

    gradient_of = value_and_grad(loss_of)

    def train_epoch(state, arrays, batches, draws, rates):
        def step(index, carry):
            (weights, velocity, others), total = carry
            images, white, *targets = [
                None if array is None else ops.take(array, batches[index], 0)
                for array in arrays
            ]
            if white is not None:
                ones = (1,) * (len(images.shape) - 1)
                white = ops.reshape(white, (-1, *ones))
                images = ops.cast(images, "float32") / white
            if draws is not None:
                images = recipe.augmentation(images, draws[index])
            (loss, others), gradient = gradient_of(
                weights, others, images, *targets
            )
            length = ops.sqrt(ops.sum(gradient**2))
            gradient *= _MAX_GRADIENT / ops.maximum(length, _MAX_GRADIENT)
            change = rates[index] * gradient
            velocity = _MOMENTUM * velocity - change
            weights *= 1 - rates[index] * recipe.weight_decay
            weights += _MOMENTUM * velocity - change  # Nesterov's
            return (weights, velocity, others), total + loss

        num_steps = batches.shape[0]
        state, total = ops.fori_loop(0, num_steps, step, (state, 0.0))
        return state, total / num_steps

    return compiled(train_epoch)


def _loss(recipe: Recipe, outputs, labels, teacher):
    """Mean cross-entropy with the labels, and with the teacher's softmax."""
    smoothing, num_classes = recipe.label_smoothing, outputs.shape[-1]
    targets = ops.one_hot(labels, num_classes, dtype=outputs.dtype)
    targets = (1 - smoothing) * targets + smoothing / num_classes
    loss = ops.mean(
        ops.categorical_crossentropy(targets, outputs, from_logits=True)
    )
    if teacher is None:
        return loss
    distillation = ops.mean(
        ops.categorical_crossentropy(
            ops.softmax(teacher / recipe.temperature),
            outputs / recipe.temperature,
            from_logits=True,
        )
    )
    weight = recipe.label_weight
    # The square keeps its gradient in proportion to that of the labels' loss.
    soft = recipe.temperature**2 * distillation
    return weight * loss + (1 - weight) * soft


@dtype_policy("float32")  # of what comes back, not of the training
def build_and_train(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    **kwargs: Any,
) -> tuple[keras.Model, TrainingResult]:
    """Builds a network for a data set and trains it.

    It is trained in the fastest precision of the device, with the backend's
    `training_layers`; what comes back is plain Keras in float32.

    Args:
      architecture: the network.
      dataset: gives the images' shape and the classes.
      recipe: how to train.
      seed: of the first weights and of the order of the images.
      **kwargs: of `train`.

    Returns:
      The trained model, and what `train` gives.
    """
    trained, result = _fast_training(
        architecture, dataset, recipe, seed=seed, **kwargs
    )
    model = build(architecture, dataset.input_shape, dataset.num_classes)
    model.set_weights(trained.get_weights())
    if trained.compute_dtype != model.compute_dtype:  # it rounds otherwise
        result = dataclasses.replace(
            result, validation_accuracy=accuracy(model, dataset.validation)
        )
    return model, result


def trained_accuracy(
    architecture: Architecture, dataset: Dataset, recipe: Recipe, **kwargs: Any
) -> float:
    """The validation accuracy, in [0, 1], that a network is trained to.

    The network is not kept.  The arguments are those of `build_and_train`.
    """
    _, result = _fast_training(architecture, dataset, recipe, **kwargs)
    return result.validation_accuracy


def _fast_training(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    **kwargs: Any,
) -> tuple[keras.Model, TrainingResult]:
    keras.utils.set_random_seed(seed)
    with dtype_policy(fastest_dtype_policy()):
        model = build(
            architecture,
            dataset.input_shape,
            dataset.num_classes,
            **training_layers(),
        )
    return model, train(model, dataset, recipe, seed=seed, **kwargs)
