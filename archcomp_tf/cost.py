"""Closed-form cost of an architecture: parameters, operations, memory.

Nothing is built: the numbers are sums over the primitive operations.  They
are exact, not estimates: `num_params` equals `count_params()` of the Keras
model, non-trainable batch-norm statistics included.

Only the standard library is needed here.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Iterator

from archcomp_tf.architecture import Architecture, check_architecture
from archcomp_tf.layer import Block, Op, Shape

# Exact parameters of an architecture, whatever its images and classes.
CountParams = Callable[[Architecture], int]


def num_params(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """Weights of the network, trainable or not.

    Args:
      architecture: the network.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.

    Returns:
      The same number as `build(...).count_params()`.
    """
    check_architecture("what is counted", architecture)
    return sum(
        block_params(block, shape)
        for _, block, shape in architecture.blocks(input_shape, num_classes)
    )


def num_multiply_adds(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """Multiply-adds of convolutions and dense layers for one image.

    Batch norm folds into the convolution before it at inference; pools,
    activations, biases and sums are not multiply-adds and are not counted.
    """
    check_architecture("what is counted", architecture)
    return sum(
        block_multiply_adds(block, shape)
        for _, block, shape in architecture.blocks(input_shape, num_classes)
    )


def num_flops(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """Floating-point operations for one image: twice the multiply-adds."""
    return 2 * num_multiply_adds(architecture, input_shape, num_classes)


def num_activations(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """Values that the operations of the network give for one image.

    All of them, batch norm, activations and pools included: those are what
    training passes over in memory.
    """
    return sum(
        _block_values(block, shape)
        for _, block, shape in architecture.blocks(input_shape, num_classes)
    )


def peak_activations(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """The most activations alive at once, for one image.

    The operations run one after another, as LiteRT has them; each needs its
    input and its output, and a block with a shortcut keeps its own input
    meanwhile.

    Args:
      architecture: the network.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.

    Returns:
      Values, of which `measurement.ram_bytes` finds the bytes in a file: 4
      each in float32, 1 in int8.
    """
    return max(
        _block_activations(block, shape)
        for _, block, shape in architecture.blocks(input_shape, num_classes)
    )


def block_weights(block: Block, shape: Shape) -> collections.Counter[str]:
    """Weights of a block by what they are.

    Args:
      block: the layer.
      shape: of its input, without the batch.

    Returns:
      "kernel", "bias" and "batch norm" -> how many there are.
    """
    weights = collections.Counter()
    for op, inner in _ops(block, shape):
        weights.update(_op_weights(op, inner))
    return weights


def _op_weights(op: Op, shape: Shape) -> dict[str, int]:
    bias = op.filters if op.use_bias else 0
    match op.name:
        case "conv":
            kernel = op.kernel_size**2 * shape[-1] * op.filters
        case "depthwise_conv":
            kernel = op.kernel_size**2 * shape[-1]
        case "dense":
            kernel = shape[-1] * op.filters
        case "batch_norm":  # scale, offset, moving mean, moving variance
            return {"batch norm": 4 * shape[-1]}
        case _:
            return {}
    return {"kernel": kernel, "bias": bias}


def _op_multiply_adds(op: Op, shape: Shape) -> int:
    match op.name:
        case "conv":
            per_output = op.kernel_size**2 * shape[-1]
        case "depthwise_conv":
            per_output = op.kernel_size**2
        case "dense":
            per_output = shape[-1]
        case _:
            return 0
    return per_output * math.prod(op.output_shape(shape))


def _ops(block: Block, shape: Shape) -> Iterator[tuple[Op, Shape]]:
    """The operations of a block, each with the shape of its input."""
    for ops in (block.branch, block.shortcut or ()):
        inner = shape
        for op in ops:
            yield op, inner
            inner = op.output_shape(inner)
    # What follows the sum is elementwise: it has the branch's output shape.
    for op in block.after:
        yield op, block.output_shape(shape)


# A search counts thousands of networks made of the same few hundred blocks.
@functools.lru_cache(maxsize=65536)
def block_params(block: Block, shape: Shape) -> int:
    """Weights of a block, trainable or not; `shape` is that of its input."""
    return block_weights(block, shape).total()


@functools.lru_cache(maxsize=65536)
def block_multiply_adds(block: Block, shape: Shape) -> int:
    """The same of its multiply-adds, see `num_multiply_adds`."""
    return sum(_op_multiply_adds(*op) for op in _ops(block, shape))


@functools.lru_cache(maxsize=65536)
def _block_values(block: Block, shape: Shape) -> int:
    return sum(
        math.prod(op.output_shape(inner)) for op, inner in _ops(block, shape)
    )


# Batch norm is folded into the convolution before it, and so is ReLU.
_FOLDED = ("batch_norm", "relu")


def _block_activations(block: Block, shape: Shape) -> int:
    """The most values alive while one of the block's operations runs."""
    kept = 0 if block.shortcut is None else math.prod(shape)
    peak, inner = math.prod(shape), shape
    for index, op in enumerate(block.branch):
        output = op.output_shape(inner)
        if op.name not in _FOLDED:
            alive = math.prod(inner) + math.prod(output)
            # The first operation's input is the one that the shortcut keeps.
            peak = max(peak, alive + (kept if index else 0))
        inner = output
    if block.shortcut:  # a projection, while the branch's output waits
        peak = max(peak, math.prod(shape) + 2 * math.prod(inner))
    if block.shortcut is not None:  # both summands and the sum
        peak = max(peak, 3 * math.prod(inner))
    return peak
