"""A classifier of two classes that has one output, as one that has two.

People end such a network in one number: the probability of the second class, or
its logit z.  Those of both classes are the softmax of (0, z).
"""

from __future__ import annotations

import keras
import numpy as np

from archcomp_tf.keras_graph import made_by

# The activation of one output -> that of two.
_ENDS = {
    keras.activations.sigmoid: "softmax",
    keras.activations.linear: None,
}


def as_two_classes(model: keras.Model) -> keras.Model:
    """The classifier of two classes with an output for each.

    Args:
      model: images -> the probability of class 1, or its logit, `[N, 1]`.

    Returns:
      Images -> both probabilities, or two logits, `[N, 2]`: a model that shares
      all layers with `model` but the last.  The model itself where it does not
      end in a Dense of one output, linear or with a sigmoid.
    """
    if len(getattr(model, "outputs", None) or ()) != 1:  # or has no graph
        return model
    last, node = made_by(model.outputs[0])
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Activation):
        last, node = made_by(node.input_tensors[0])
        if getattr(last, "activation", None) is not keras.activations.linear:
            return model
    if (
        not isinstance(last, keras.layers.Dense)
        or last.units != 1
        or activation not in _ENDS
    ):
        return model
    both = keras.layers.Dense(2, activation=_ENDS[activation], name=last.name)
    outputs = both(node.input_tensors[0])
    kernel = keras.ops.convert_to_numpy(last.kernel)
    bias = float(last.bias[0]) if last.use_bias else 0.0
    kernel = np.concatenate([np.zeros_like(kernel), kernel], axis=-1)
    both.set_weights([kernel, np.array([0.0, bias])])
    return keras.Model(model.inputs[0], outputs, name=model.name)
