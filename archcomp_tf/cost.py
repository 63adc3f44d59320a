"""Closed-form cost of an architecture: parameters, operations, memory.

Nothing is built: the numbers are sums over the primitive operations.  They
are exact, not estimates: `num_params` equals `count_params()` of the Keras
model, non-trainable batch-norm statistics included.

Only the standard library is needed here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import Block, Op, Shape

# Exact parameters of an architecture, whatever its images and classes.
CountParams = Callable[[Architecture], int]

_BYTES_PER_VALUE = 4  # float32


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
    return sum(
        _block_params(block, shape)
        for _, block, shape in architecture.blocks(input_shape, num_classes)
    )


def num_multiply_adds(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """Multiply-adds of convolutions and dense layers for one image.

    Batch norm folds into the convolution before it at inference; pools,
    activations, biases and sums are not multiply-adds and are not counted.
    """
    return sum(
        _block_multiply_adds(block, shape)
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


def activation_bytes(
    architecture: Architecture, input_shape: Shape, num_classes: int
) -> int:
    """Largest sum of activations alive at once, for one float32 image.

    The operations run one after another; each needs its input and its output,
    and a block with a shortcut keeps its own input meanwhile.  Batch norm,
    activations and sums work in place.
    """
    values = max(
        _block_activations(block, shape)
        for _, block, shape in architecture.blocks(input_shape, num_classes)
    )
    return values * _BYTES_PER_VALUE


def _op_params(op: Op, shape: Shape) -> int:
    bias = op.filters if op.use_bias else 0
    match op.name:
        case "conv":
            return op.kernel_size**2 * shape[-1] * op.filters + bias
        case "depthwise_conv":
            return op.kernel_size**2 * shape[-1] + bias
        case "dense":
            return shape[-1] * op.filters + bias
        case "batch_norm":  # scale, offset, moving mean, moving variance
            return 4 * shape[-1]
    return 0


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
    return per_output * _size(op.output_shape(shape))


def _sum_over_ops(op_cost, block: Block, shape: Shape) -> int:
    total = 0
    for ops in (block.branch, block.shortcut or ()):
        inner = shape
        for op in ops:
            total += op_cost(op, inner)
            inner = op.output_shape(inner)
    # What follows the sum is elementwise: it has the branch's output shape.
    return total + sum(
        op_cost(op, block.output_shape(shape)) for op in block.after
    )


# A search counts thousands of networks made of the same few hundred blocks.
@functools.lru_cache(maxsize=65536)
def _block_params(block: Block, shape: Shape) -> int:
    return _sum_over_ops(_op_params, block, shape)


@functools.lru_cache(maxsize=65536)
def _block_multiply_adds(block: Block, shape: Shape) -> int:
    return _sum_over_ops(_op_multiply_adds, block, shape)


@functools.lru_cache(maxsize=65536)
def _block_values(block: Block, shape: Shape) -> int:
    return _sum_over_ops(
        lambda op, shape: _size(op.output_shape(shape)), block, shape
    )


_IN_PLACE = ("batch_norm", "relu", "flatten")


def _block_activations(block: Block, shape: Shape) -> int:
    kept = 0 if block.shortcut is None else _size(shape)
    peak, inner = _size(shape), shape
    for index, op in enumerate(block.branch):
        output = op.output_shape(inner)
        if op.name not in _IN_PLACE:
            alive = _size(inner) + _size(output)
            # The first operation's input is the one that the shortcut keeps.
            peak = max(peak, alive + (kept if index else 0))
        inner = output
    if block.shortcut:
        peak = max(peak, _size(shape) + 2 * _size(inner))
    return peak


def _size(shape: Shape) -> int:
    size = 1
    for dimension in shape:
        size *= dimension
    return size
