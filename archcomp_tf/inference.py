"""What a classifier says of images, and how often it is right.

What "accuracy" means in this package: the share of a split's images whose
largest logit is the labelled class, in [0, 1].
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from archcomp_tf.backend import compiled_inference
from archcomp_tf.datasets import Dataset, Split

_BATCH = 512


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The model's logits `[N, num_classes]` for images `[N, ...]`."""
    # Not `predict`, which traces a function anew for every model: a network
    # that is evaluated once costs more in tracing than in arithmetic.
    infer = compiled_inference(model)
    # In batches of one size, of which the last is filled up: another size
    # would be compiled anew.
    num_batches = -(-len(images) // _BATCH)
    size = -(-len(images) // num_batches)
    outputs = [
        ops.convert_to_numpy(
            ops.cast(
                infer(images.take(range(i, i + size), axis=0, mode="clip")),
                "float32",
            )
        )
        for i in range(0, num_batches * size, size)
    ]
    return np.concatenate(outputs)[: len(images)]


def teacher_logits(teacher: keras.Model, images: np.ndarray) -> np.ndarray:
    """The teacher's logits `[N, num_classes]` for images `[N, ...]`.

    A teacher that ends in a softmax gives the logarithms of its
    probabilities, which are logits of the same probabilities.
    """
    outputs = logits(teacher, images)
    if np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return np.log(np.maximum(outputs, 1e-7))
    return outputs


def seeming_label_smoothing(logits: np.ndarray) -> float:
    """The label smoothing that a classifier seems to have been trained with.

    Where labels are smoothed, all wrong classes are to be equally unlikely, and
    the right one by a set factor likelier: what a student could learn from how
    unlikely each of them is, is lost (Mueller et al., arXiv 1906.02629).

    Args:
      logits: `[N, num_classes]`, for images that it learnt from.

    Returns:
      The share of a label that goes to all classes alike, to whose optimum the
      median image comes; 0 where that is under 0.02, or where the wrong classes
      differ by more than a fifth of what the right one is ahead of them.
    """
    num_classes = logits.shape[-1]
    if num_classes < 3:  # there is one wrong class: nothing to lose
        return 0.0
    ordered = np.sort(logits, axis=-1)
    wrong = ordered[:, :-1]
    ahead = np.median(ordered[:, -1] - wrong.mean(axis=-1))
    smoothing = num_classes / (np.exp(ahead) + num_classes - 1)
    alike = np.median(wrong.std(axis=-1)) < ahead / 5
    return float(smoothing) if alike and smoothing >= 0.02 else 0.0


def check_fit(model: keras.Model, dataset: Dataset) -> None:
    """Raises ValueError, saying how, where a classifier and data do not fit.

    Args:
      model: images -> a number a class.
      dataset: what it is to classify.
    """
    taken, given = tuple(model.input_shape[1:]), dataset.input_shape
    if len(taken) == 2:  # it adds the one channel itself
        taken += (1,)
    if len(taken) == 3 and taken[-1] != given[-1]:
        words = {1: "grey", 3: "colour"}
        raise ValueError(
            f"{model.name} takes {words.get(taken[-1], '')} images of "
            f"{taken[-1]} channels; those of {dataset.name} are "
            f"{words.get(given[-1], '')} images of {given[-1]}."
        )
    if len(taken) != 3 or any(
        size not in (None, actual)
        for size, actual in zip(taken, given, strict=True)
    ):
        raise ValueError(
            f"{model.name} takes inputs of shape {taken}; the images of "
            f"{dataset.name} have shape {given}."
        )
    outputs = model.output_shape[-1]
    if outputs != dataset.num_classes:
        raise ValueError(
            f"{model.name} has {outputs} outputs; {dataset.name} has "
            f"{dataset.num_classes} classes."
        )


def accuracy(model: keras.Model, split: Split) -> float:
    """Share of the split's images that the model puts in the right class."""
    classes = np.argmax(logits(model, split.images), axis=-1)
    return float(np.mean(classes == split.labels))
