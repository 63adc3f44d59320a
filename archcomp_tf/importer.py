"""Keras model -> `Architecture`, the inverse of `builder.build`.

The graph of the model (`keras_graph`) is read into steps, the primitive
operations of `layer.Op` and sums of two rows of them (`steps`), and these into
the layers whose own expansion they are (`parts`).

An architecture says what kind of network to search around, and no more: the
teacher itself is used as it is.  So a model is read where the network that is
built has its layers, each with its kind, width, window and strides, and every
other difference is said by `explain`:

- biases and batch norms do not count, every activation is a `relu`, and
  dropout, noise, activity regularization and zero padding are left out, and so
  is scaling behind the front of the model;
- an activation may be missing, stand alone or stand elsewhere: in front of the
  convolution, behind the pool;
- padding `valid` is read as `same`, whose maps are a little larger, and so is
  the first dense layer behind a `flatten`;
- in a block the strides may stand on another convolution, and the shortcut may
  have or lack a 1x1 convolution or a pool;
- a global maximum is a global mean; a convolution of the whole map is `flatten`
  and `dense`; a 1x1 convolution that gives the classes is the classifier;
- a `SeparableConv2D` has an activation between its two convolutions;
- a gate of one number a channel (squeeze and excitation) is left out, and an
  expansion is by a whole number of times the channels;
- the front of the model is no part of the architecture (`preprocessing`).

What the layers of this package have no weights for is refused: groups,
dilation, windows that are not square, depth multipliers, other normalizations,
other products, concatenations, sums that no kind has, dense layers on maps,
attention, recurrence, weights that are used twice, several inputs or outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import keras

from archcomp_tf import keras_graph, reading
from archcomp_tf.architecture import Architecture
from archcomp_tf.keras_graph import Call, UnsupportedModelError
from archcomp_tf.layer import Op
from archcomp_tf.parts import LEFT_OUT, Part, parts_of, with_strays
from archcomp_tf.reading import Reading
from archcomp_tf.steps import (
    BATCH_NORM,
    POOL,
    RELU,
    Step,
    activation_name,
    item_text,
    steps,
    without,
)
from archcomp_tf.two_classes import as_two_classes

_CLASSIFIER = "a linear, softmax or sigmoid Dense at the end, an output a class"


def from_keras(model: keras.Model) -> Architecture:
    """Reads the architecture of a Keras classifier of images.

    `from_keras(build(a, input_shape, num_classes)) == a.compact`.  Structure
    alone cannot tell a 1x1 `conv` and then an `inverted_residual` of expansion
    1 from one wider `inverted_residual`.  Biases and batch norms do, where
    they are those of `build` all through the model; elsewhere the single layer
    is read.

    Args:
      model: functional or built Sequential, nested or not: images
        `[N, height, width, channels]` -> logits or probabilities
        `[N, num_classes]`.

    Returns:
      The layers between the input and the classifier.

    Raises:
      TypeError: it is not a Keras model.
      UnsupportedModelError: names the Keras layer that no layer describes,
        what was expected and what was found.
    """
    return explain(model).architecture


def explain(model: keras.Model) -> Reading:
    """Reads a Keras model and says how what is built of it differs.

    `print(explain(model))` shows a table.  Args and Raises are those of
    `from_keras`.
    """
    calls = keras_graph.calls(model)
    if as_two_classes(model) is not model:
        got = (
            "one output of two classes; `compress` takes it as it is, and "
            "`archcomp_tf.two_classes.as_two_classes` makes of it what can be "
            "read"
        )
        raise UnsupportedModelError(model.layers[-1], _CLASSIFIER, got)
    _check_used_once(calls)
    front = keras_graph.front(calls)
    shape = keras_graph.front_shape(model, front)
    if len(shape) == 3 and None in shape:
        got = f"{shape}; keras.Model(i, model(i)) has a size, that of i"
        raise UnsupportedModelError(model, "images of one size", got)
    if len(shape) != 3:
        raise UnsupportedModelError(model, "(height, width, channels)", shape)
    row = without(steps(calls[len(front) :], shape), None)
    body, classifier = _classifier(model, row)
    parts = with_strays([*parts_of(body), Part(None, (classifier,))])
    layers = (part.layer for part in parts if part.layer)
    architecture = Architecture(tuple(layers))
    num_classes = classifier.item.filters
    blocks = architecture.blocks(shape, num_classes)
    rows = [
        reading.row(
            str(part.layer or name), part.steps, part.remarks, block, inner
        )
        for part, (name, block, inner) in zip(parts, blocks, strict=True)
    ]
    rows[:0] = [reading.front_row(front)] if front else []
    return Reading(architecture, shape, num_classes, tuple(rows))


def _check_used_once(row: Iterable[Call]) -> None:
    seen = set()
    for call in keras_graph.flat(row):
        if call.layer in seen and getattr(call.layer, "weights", ()):
            raise UnsupportedModelError(call.layer, "one use", "shared weights")
        seen.add(call.layer)


def _classifier(model: keras.Model, row: list[Step]) -> tuple[list[Step], Step]:
    """The steps before the classifier, and the classifier."""
    ends = [step for step in row[-1:] if _gives_probabilities(step)]
    row = _conv_classifier(row[: len(row) - len(ends)], bool(ends))
    *body, last = row or [Step(Op("nothing"), model, (), ())]
    if not isinstance(last.item, Op) or last.item.name != "dense":
        got = activation_name(last.layer)
        got = got if last.item == RELU else item_text(last.item)
        raise UnsupportedModelError(last.layer, _CLASSIFIER, got)
    if last.item.filters < 2:
        got = "one output"
        raise UnsupportedModelError(last.layer, _CLASSIFIER, got)
    classifier = last.with_weights_of(*ends)
    # Probabilities are given as logits, and not built as what stands inside.
    remarks = (r for r in classifier.remarks if not r.startswith("sigmoid"))
    return body, dataclasses.replace(classifier, remarks=tuple(remarks))


def _gives_probabilities(step: Step) -> bool:
    """Whether it is a softmax, or a sigmoid for each class."""
    return step.item == Op("softmax") or (
        step.item == RELU and activation_name(step.layer) == "sigmoid"
    )


def _conv_classifier(row: list[Step], is_softmax: bool) -> list[Step]:
    """The same, where a 1x1 convolution gives the classes before the pool.

    Without a softmax at the end, one with an activation gives features.
    """
    *body, pool = row or [None]
    after = []
    while is_softmax and body and body[-1].item in (RELU, BATCH_NORM):
        after.insert(0, body.pop())
    conv = body.pop() if body else None
    if conv is None or pool.item != POOL or not isinstance(conv.item, Op):
        return row
    op = dataclasses.replace(conv.item, name="dense")
    if conv.item.name != "conv" or (op.kernel_size, op.strides) != (1, 1):
        return row
    remarks = ("a convolution before the pool",)
    remarks += (LEFT_OUT,) * any(step.item == RELU for step in after)
    pool = dataclasses.replace(pool, output_shape=conv.input_shape[-1:])
    dense = dataclasses.replace(
        conv,
        item=op,
        input_shape=pool.output_shape,
        output_shape=(op.filters,),
        remarks=conv.remarks + remarks,
    )
    return [*body, pool, dense.with_weights_of(*after)]
