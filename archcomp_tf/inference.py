"""What a classifier says of images, and how often it is right.

What "accuracy" means in this package: the share of a split's images whose
largest logit is the labelled class, in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from archcomp_tf.backend import compiled_inference
from archcomp_tf.datasets import Split
from archcomp_tf.images import unit

_BATCH = 512
_BATCH_PIXELS = 2**21  # at most, so that activations of large images fit


def logits(
    model: keras.Model,
    images: np.ndarray,
    scaled: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """The model's logits `[N, num_classes]` for a split's images `[N, ...]`.

    Args:
      model: images -> logits, or whatever else it gives.
      images: of a `Split`.
      scaled: makes of them what the model takes, a batch at a time, see
        `Preprocessing.scaled`; by default they are left as they are.
    """
    # Not `predict`, which traces a function anew for every model: a network
    # that is evaluated once costs more in tracing than in arithmetic.
    infer = compiled_inference(model)
    # In batches of one size, of which the last is filled up: another size
    # would be compiled anew.
    pixels = math.prod(images.shape[1:3])
    batch = min(_BATCH, max(1, _BATCH_PIXELS // pixels))
    num_batches = -(-len(images) // batch)
    size = -(-len(images) // num_batches)
    outputs = []
    for i in range(0, num_batches * size, size):
        taken = images.take(range(i, i + size), axis=0, mode="clip")
        found = ops.cast(infer(unit(scaled(taken))), "float32")
        outputs.append(ops.convert_to_numpy(found))
    return np.concatenate(outputs)[: len(images)]


def accuracy(
    model: keras.Model,
    split: Split,
    scaled: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> float:
    """Share of the split's images that the model puts in the right class.

    The arguments are those of `logits`.
    """
    return float(np.mean(correct(model, split, scaled)))


def correct(
    model: keras.Model,
    split: Split,
    scaled: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """Bool `[N]`, whether the model puts each image in the right class.

    The arguments are those of `logits`.
    """
    classes = np.argmax(logits(model, split.images, scaled), axis=-1)
    return classes == split.labels


def seems_chance(share: float, labels: np.ndarray) -> bool:
    """Whether always answering the commonest class may score as high.

    Args:
      share: of right answers, in [0, 1].
      labels: of all images; a share within two standard errors is as large.
    """
    chance = float(np.bincount(labels).max() / len(labels))
    return share <= chance + 2 * math.sqrt(chance * (1 - chance) / len(labels))
