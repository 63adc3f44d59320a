"""What a Keras model was read as, row by row, and how the two differ.

The rows hold every weight of the model and every weight of what `build` makes
of its architecture: their differences sum to that of the whole.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import keras

from archcomp_tf.architecture import Architecture
from archcomp_tf.cost import block_weights
from archcomp_tf.keras_graph import Call
from archcomp_tf.layer import Block, Shape
from archcomp_tf.steps import Step

_HEADER = ("Keras layers", "read as", "in the model", "built", "why")
_KERNELS = ("conv", "dense")  # how the types of layers that have one end


@dataclasses.dataclass(frozen=True)
class Row:
    """Some Keras layers that are read as one.

    Attributes:
      layers: the names of the Keras layers.
      read_as: the text form of a `Layer`, or "pool", "classifier" or, for
        what prepares the images and is no part of the architecture, "front".
      num_params: weights in the model.
      built_params: weights in what `build` makes of it.
      causes: weights built minus weights in the model, for each of "kernel",
        "bias", "batch norm", "activation" and "front" where they differ.
      remarks: other differences.
    """

    layers: tuple[str, ...]
    read_as: str
    num_params: int
    built_params: int
    causes: Mapping[str, int]
    remarks: tuple[str, ...]

    @property
    def why(self) -> str:
        """All differences in words; empty where there are none."""
        causes = (f"{cause} {num:+,}" for cause, num in self.causes.items())
        return "; ".join([*causes, *self.remarks])


@dataclasses.dataclass(frozen=True)
class Reading:
    """An architecture, and how a Keras model was read as it.

    Attributes:
      architecture: what was read.
      input_shape: (height, width, channels) of what the first layer takes,
        behind the front.
      num_classes: number of logits.
      rows: from the input to the classifier.
    """

    architecture: Architecture
    input_shape: Shape
    num_classes: int
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        """A table of the rows, and their sums."""
        total = (
            sum(row.num_params for row in self.rows),
            sum(row.built_params for row in self.rows),
        )
        lines = [_HEADER]
        for row in self.rows:
            numbers = f"{row.num_params:,}", f"{row.built_params:,}"
            lines.append((_names(row.layers), row.read_as, *numbers, row.why))
        lines.append(("sum", "", *(f"{num:,}" for num in total), ""))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            f"{layers:{widths[0]}}  {read_as:{widths[1]}}  "
            f"{params:>{widths[2]}}  {built:>{widths[3]}}  {why}".rstrip()
            for layers, read_as, params, built, why in lines
        )


def front_row(calls: Sequence[Call]) -> Row:
    """The row of what stays in front of every network."""
    layers = [call.layer for call in calls]
    num = sum(_weights(layer).total() for layer in layers)
    names = tuple(layer.name for layer in layers)
    return Row(names, "front", num, 0, {"front": -num} if num else {}, ())


def row(
    read_as: str,
    steps: Sequence[Step],
    remarks: Sequence[str],
    block: Block,
    shape: Shape,
) -> Row:
    """The row of one layer, of the pool or of the classifier.

    Args:
      read_as: its name.
      steps: what it was read from.
      remarks: how they differ from it.
      block: what is built of it.
      shape: of the block's input, without the batch, where it is built.
    """
    layers = [layer for step in steps for layer in step.layers]
    named = layers or [step.layer for step in steps]
    found, built = collections.Counter(), block_weights(block, shape)
    for layer in layers:
        found.update(_weights(layer))
    causes = {
        cause: built[cause] - found[cause]
        for cause in ("kernel", "bias", "batch norm", "activation")
        if built[cause] != found[cause]
    }
    remarks = [*(text for s in steps for text in s.remarks), *remarks]
    actual, made = steps[-1].output_shape, block.output_shape(shape)
    if actual != made:
        remarks.append(f"gives {_size(actual)}, built {_size(made)}")
    return Row(
        tuple(dict.fromkeys(layer.name for layer in named)),
        read_as,
        found.total(),
        built.total(),
        causes,
        tuple(dict.fromkeys(remarks)),
    )


def _weights(layer) -> collections.Counter[str]:
    """The weights of a Keras layer by what they are."""
    if not isinstance(layer, keras.Layer):
        return collections.Counter()
    num, kind = layer.count_params(), type(layer).__name__.lower()
    if isinstance(layer, keras.layers.BatchNormalization):
        return collections.Counter({"batch norm": num})
    if not kind.removesuffix("2d").endswith(_KERNELS):
        return collections.Counter({"activation": num})
    bias = layer.bias.shape[0] if layer.use_bias else 0
    return collections.Counter({"kernel": num - bias, "bias": bias})


def _names(layers: Iterable[str]) -> str:
    """The names, or the ends of a long row."""
    names = list(layers)
    if len(names) > 3:
        return f"{names[0]} ... {names[-1]} ({len(names)})"
    return " ".join(names)


def _size(shape: Shape) -> str:
    if len(shape) == 3:
        return "x".join(map(str, shape))
    return f"{math.prod(shape)} values"
