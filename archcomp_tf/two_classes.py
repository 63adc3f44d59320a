"""A classifier of two classes that has one output, as one that has two.

People end such a network in one number: the probability of the second class, or
its logit z.  Those of both classes are the softmax of (0, z).
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from archcomp_tf.keras_graph import made_by

_LINEAR = keras.activations.linear
# The activation of one output -> that of two.
_ENDS = {keras.activations.sigmoid: "softmax", _LINEAR: None}


def as_two_classes(model: keras.Model) -> keras.Model:
    """The classifier of two classes with an output for each.

    Args:
      model: images -> the probability of class 1, or its logit, `[N, 1]`.

    Returns:
      Images -> both probabilities, or two logits, `[N, 2]`: a model that shares
      all layers with `model` but the last, which may be that of a nested model.
      The model itself where it does not end in a Dense of one output, linear or
      with a sigmoid.
    """
    return _with_two(model, _LINEAR) or model


def _with_two(model: keras.Model, activation: Callable) -> keras.Model | None:
    """The model with two outputs, where it has one that can be made two.

    Args:
      model: perhaps with one output.
      activation: what stands behind it; perhaps none, which is linear.
    """
    if len(getattr(model, "outputs", None) or ()) != 1:  # or has no graph
        return None
    last, node = made_by(model.outputs[0])
    if isinstance(last, keras.layers.Activation) and activation is _LINEAR:
        activation = last.activation
        last, node = made_by(node.input_tensors[0])
    if isinstance(last, keras.Model):
        both = _with_two(last, activation)
    else:
        both = _dense_of_two(last, activation)
    if both is None:
        return None
    outputs = both(*node.arguments.args, **node.arguments.kwargs)
    return keras.Model(model.inputs[0], outputs, name=model.name)


def _dense_of_two(
    last: keras.Layer, activation: Callable
) -> keras.layers.Dense | None:
    """The same for the last layer; in float32, as its answers are used."""
    if not isinstance(last, keras.layers.Dense) or last.units != 1:
        return None
    if activation is _LINEAR:
        activation = last.activation
    elif last.activation is not _LINEAR:
        return None
    if activation not in _ENDS:
        return None
    both = keras.layers.Dense(
        2, activation=_ENDS[activation], name=last.name, dtype="float32"
    )
    kernel = keras.ops.convert_to_numpy(last.kernel)
    bias = float(last.bias[0]) if last.use_bias else 0.0
    both.build((None, len(kernel)))
    kernel = np.concatenate([np.zeros_like(kernel), kernel], axis=-1)
    both.set_weights([kernel, np.array([0.0, bias])])
    return both
