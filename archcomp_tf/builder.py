"""`Architecture` -> functional `keras.Model`.

The model takes float images with values in [0, 1] and gives logits.  It is
plain Keras: nothing of this package is needed to load or run it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

from archcomp_tf.architecture import (
    CLASSIFIER,
    Architecture,
    check_architecture,
)
from archcomp_tf.layer import Block, Op, Shape

# Keras' default of 0.99 leaves the statistics of a network trained for a few
# hundred steps near their initial values, and its accuracy near chance.
BATCH_NORM_MOMENTUM = 0.9

_MakeLayer = Callable[[Op, str], keras.Layer]


def build(
    architecture: Architecture,
    input_shape: Shape,
    num_classes: int,
    *,
    conv: type[keras.layers.Conv2D] = keras.layers.Conv2D,
    batch_norm: type[
        keras.layers.BatchNormalization
    ] = keras.layers.BatchNormalization,
) -> keras.Model:
    """Builds the network with fresh weights.

    Args:
      architecture: the network.
      input_shape: (height, width, channels) of an image.
      num_classes: number of logits.
      conv: Keras' layer, or a subclass to take in its place.
      batch_norm: likewise.

    Returns:
      A functional model, float images `[N, height, width, channels]` ->
      logits `[N, num_classes]`, named after the fingerprint.  The logits are
      float32, also where Keras' policy is of mixed precision: of bfloat16's
      numbers, which are far apart, many images would have two largest.
    """
    check_architecture("what is built", architecture)
    inputs = keras.Input(tuple(input_shape), name="image")
    make_layer = functools.partial(
        _keras_layer, conv=conv, batch_norm=batch_norm
    )
    x = inputs
    for name, block, _ in architecture.blocks(input_shape, num_classes):
        x = _apply_block(x, block, name, make_layer)
    name = f"network_{architecture.fingerprint}"
    return keras.Model(inputs, x, name=name)


def _apply_block(x, block: Block, name: str, make_layer: _MakeLayer):
    y = _apply_ops(x, block.branch, name, make_layer)
    if block.shortcut is not None:
        shortcut = _apply_ops(x, block.shortcut, f"{name}_shortcut", make_layer)
        y = keras.layers.Add(name=f"{name}_add")([y, shortcut])
    return _apply_ops(y, block.after, f"{name}_after", make_layer)


def _apply_ops(x, ops: tuple[Op, ...], name: str, make_layer: _MakeLayer):
    for index, op in enumerate(ops):
        # A block of one operation, such as the classifier, has its name alone.
        full_name = name if len(ops) == 1 else f"{name}_{index}_{op.name}"
        x = make_layer(op, full_name)(x)
    return x


def _keras_layer(
    op: Op,
    name: str,
    conv: type[keras.layers.Conv2D],
    batch_norm: type[keras.layers.BatchNormalization],
) -> keras.Layer:
    layers = keras.layers
    # Shapes are of channels last, whatever this Keras is set to.
    named = {"name": name, "data_format": "channels_last"}
    window = {"strides": op.strides, "padding": "same", **named}
    match op.name:
        case "conv":
            return conv(
                op.filters,
                op.kernel_size,
                use_bias=op.use_bias,
                kernel_initializer="he_normal",
                **window,
            )
        case "depthwise_conv":
            return layers.DepthwiseConv2D(
                op.kernel_size,
                use_bias=op.use_bias,
                depthwise_initializer="he_normal",
                **window,
            )
        case "dense":
            return layers.Dense(
                op.filters,
                use_bias=op.use_bias,
                dtype="float32" if name == CLASSIFIER else None,
                name=name,
            )
        case "batch_norm":
            return batch_norm(momentum=BATCH_NORM_MOMENTUM, name=name)
        case "relu":
            return layers.ReLU(name=name)
        case "max_pool":
            return layers.MaxPooling2D(op.kernel_size, **window)
        case "avg_pool":
            return layers.AveragePooling2D(op.kernel_size, **window)
        case "global_avg_pool":
            return layers.GlobalAveragePooling2D(**named)
        case "flatten":
            return layers.Flatten(**named)
    raise ValueError(f"No Keras layer for the operation {op}.")
