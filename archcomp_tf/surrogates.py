"""Costs that have to be measured, guessed from those that are counted.

To write a network's file, or to time it, takes seconds; a search asks for the
costs of thousands of networks.  So some are measured, and a linear function of
what is counted is fitted to these: of weights, operations and values.  Our own.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize

from archcomp_tf.architecture import Architecture
from archcomp_tf.cost import block_weights, num_activations, num_flops
from archcomp_tf.layer import Shape


class Surrogate:
    """A guess of a cost that has to be measured.

    Args:
      measure: (architecture, input_shape, num_classes) -> the cost, positive.
      samples: networks to measure, of those whose costs are to be guessed.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.
    """

    def __init__(
        self,
        measure: Callable[[Architecture, Shape, int], float],
        samples: Sequence[Architecture],
        input_shape: Shape,
        num_classes: int,
    ):
        images = input_shape, num_classes
        costs = np.array([measure(sample, *images) for sample in samples])
        counts = np.array([_counts(sample, *images) for sample in samples])
        # Relative errors: the costs of samples differ by orders of magnitude.
        # Nothing that is counted makes a network cheaper.
        self._weights, _ = scipy.optimize.nnls(
            counts / costs[:, None], np.ones(len(costs))
        )

    def __call__(
        self, architecture: Architecture, input_shape: Shape, num_classes: int
    ) -> float:
        """The cost as it is guessed; arguments as above."""
        counts = _counts(architecture, input_shape, num_classes)
        return float(counts @ self._weights)


def _counts(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> np.ndarray:
    """What costs depend on, `[7]`."""
    network = architecture, input_shape, num_classes
    weights, num_ops = collections.Counter(), 0
    for _, block, shape in architecture.blocks(input_shape, num_classes):
        weights.update(block_weights(block, shape))
        num_ops += len(block.branch) + len(block.shortcut or ())
    kinds = ("kernel", "bias", "batch norm")
    return np.array(
        [1, num_ops, *(weights[kind] for kind in kinds)]
        + [num_flops(*network), num_activations(*network)],
        float,
    )
