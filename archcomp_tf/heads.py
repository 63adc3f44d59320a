"""Regression heads: points of the embedding -> what a network is worth.

    z [N, L * C] ------------------- CostHead -----> log10 of a cost  [N, 1]
    z [N, L * C], log10 parameters - EnsembleHead -> a target's link  [N, K]

A head is a model of its own on z: a further target (multiply-adds, a measured
latency) is one more head, see `fitting.py`, and the embedding stays as it is.
Like the embedding it is float32, whatever Keras' global dtype policy is.

Ours throughout: of the paper (Ashok, arXiv 1902.03326) only the abstract was at
hand, which names the two targets and not what the heads are made of.
"""

from __future__ import annotations

import math

import keras
import numpy as np

from archcomp_tf.backend import dtype_policy

# So many standard deviations on each side hold 80 % of a normal distribution.
INTERVAL_80 = 1.2816
LINKS = ("identity", "logit")

_HIDDEN = 32  # units a slot, and units of a member of an ensemble
_NUM_TERMS = 4  # at most so many products in the cost of one layer
_NUM_CARRIED = 4  # numbers handed from slot to slot
_TYPICAL_LOG_PARAMS = 5.0
# Weight of the mean code of the slots, times the square root of their number:
# how much of a choice's effect is assumed to be the same in every slot.
# Chosen on held-out networks of three spaces and on searches of two.
_SHARED = 2.0
# A few validation images that are all right, or all wrong, say no more.
_LOGIT_RANGE = (0.005, 0.999)
# log10 of a layer's cost to begin with; from 0, much of a training is spent on
# the way to it.
_TYPICAL_TERM = keras.initializers.Constant(3.5)


@keras.saving.register_keras_serializable(package="archcomp_tf")
class Carry(keras.layers.Layer):
    """What the nearest kept slot before each slot left behind.

    With k_i how far slot i is kept and v_i what it leaves,

        c_0 = 0,  c_(i+1) = k_i v_i + (1 - k_i) c_i

    so that a removed layer (k_i = 0) hands on what it was given: the input
    width of a layer is the width of the last layer before it that is there.
    """

    def call(self, values, keep):
        """values `[N, L, H]`, keep `[N, L, 1]` in (0, 1) -> c `[N, L, H]`."""
        carried = keras.ops.zeros_like(values[:, 0])
        carries = []
        for index in range(values.shape[1]):
            carries.append(carried)
            kept = keep[:, index]
            carried = kept * values[:, index] + (1 - kept) * carried
        return keras.ops.stack(carries, axis=1)


@keras.saving.register_keras_serializable(package="archcomp_tf")
class CostHead(keras.Model):
    """z -> log10 of a cost that is a sum over the layers.

    A layer's parameters, or multiply-adds, are a sum of products of its own
    choices and its input's width: in logarithms, a log-sum-exp of sums.  The
    head has that form, and what stands in it is learnt:

        log10 cost = log10 sum_it 10^(own_it + given_it)

    over slots i and terms t; own_i is a function of slot i alone and given_i
    of what is carried to it.

    Args:
      num_slots: L.
      channels: C, of z a slot.
    """

    @dtype_policy("float32")
    def __init__(self, num_slots: int, channels: int, **kwargs):
        z = keras.Input((num_slots * channels,), name="z")
        y = keras.layers.Reshape((num_slots, channels))(z)
        y = _per_slot(num_slots, _HIDDEN, activation="silu")(y)
        values = _per_slot(num_slots, _NUM_CARRIED)(y)
        keep = _per_slot(num_slots, 1, activation="sigmoid")(y)
        given = keras.layers.Dense(_NUM_TERMS)(Carry()(values, keep))
        terms = given + _per_slot(
            num_slots,
            _NUM_TERMS,
            bias_initializer=_TYPICAL_TERM,
            name="own",
        )(y)
        terms = keras.layers.Flatten()(terms * math.log(10))
        cost = keras.ops.logsumexp(terms, axis=-1, keepdims=True)
        super().__init__(z, cost / math.log(10), **kwargs)
        self.num_slots = num_slots
        self.channels = channels

    def get_config(self):
        return {
            "num_slots": self.num_slots,
            "channels": self.channels,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="archcomp_tf")
class Units(keras.layers.Layer):
    """Standardised outputs -> units of the target's link, and their spread.

    Set by whoever fits the head, not by gradients:

      mean, scale: of the labels; y -> mean + scale y.
      variance: what is to be added to the variance over the members for the
        spread to be as large as the errors on held-out labels are.
    """

    def build(self, input_shape):
        del input_shape
        for name, value in (("mean", 0.0), ("scale", 1.0), ("variance", 0.0)):
            weight = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                name=name,
            )
            setattr(self, name, weight)

    def call(self, y):
        return self.mean + self.scale * y


@keras.saving.register_keras_serializable(package="archcomp_tf")
class EnsembleHead(keras.Model):
    """z and log10 parameters -> a target, said by K small networks.

    Size predicts much of the accuracy, and its head was trained on far more
    architectures than are labelled.  The mean code of the slots is an input
    too: a window of 3 that pays in some layers is likely to pay in others.

    Args:
      num_slots: L.
      channels: C, of z a slot.
      num_members: K.
      link: "identity", or "logit" for targets in [0, 1]: from 0.90 to 0.95 is
        as far as from 0.95 to 0.976, half of the errors, and one network that
        learns nothing does not outweigh all differences between good ones.

    Attributes:
      units: the `Units` of the target.
    """

    @dtype_policy("float32")
    def __init__(
        self,
        num_slots: int,
        channels: int,
        num_members: int,
        link: str = "identity",
        **kwargs,
    ):
        if link not in LINKS:
            raise ValueError(f"Expected a link of {LINKS}; got {link!r}.")
        z = keras.Input((num_slots * channels,), name="z")
        log_params = keras.Input((1,), name="log_params")
        codes = keras.layers.Reshape((num_slots, channels))(z)
        common = keras.layers.GlobalAveragePooling1D()(codes)
        y = keras.layers.Concatenate()(
            [
                z,
                _SHARED * math.sqrt(num_slots) * common,
                log_params - _TYPICAL_LOG_PARAMS,
            ]
        )
        y = keras.layers.Dense(num_members * _HIDDEN, activation="silu")(y)
        y = keras.layers.Reshape((num_members, _HIDDEN))(y)
        y = keras.layers.EinsumDense(
            "nku,ku->nk", (num_members,), bias_axes="k"
        )(y)
        units = Units(name="units")
        super().__init__([z, log_params], units(y), **kwargs)
        self.num_slots = num_slots
        self.channels = channels
        self.num_members = num_members
        self.link = link
        self.units = units

    def linked(self, target: np.ndarray) -> np.ndarray:
        """The target on the scale on which the members predict."""
        if self.link == "identity":
            return target
        target = np.clip(target, *_LOGIT_RANGE)
        return np.log(target / (1 - target))

    def statistics(self, members):
        """What the members say `[N, K]` -> mean `[N]`, spread `[N]`.

        Both are in the target's own units.  The spread is a standard
        deviation: 80 % of the truth is meant to lie within 1.28 of it.
        """
        mean = keras.ops.mean(members, axis=-1)
        variance = keras.ops.var(members, axis=-1) + self.units.variance
        spread = keras.ops.sqrt(keras.ops.relu(variance))
        if self.link == "identity":
            return mean, spread
        mean = keras.ops.sigmoid(mean)
        return mean, mean * (1 - mean) * spread  # the sigmoid's slope

    def get_config(self):
        return {
            "num_slots": self.num_slots,
            "channels": self.channels,
            "num_members": self.num_members,
            "link": self.link,
            "name": self.name,
        }


def _per_slot(num_slots: int, units: int, **kwargs) -> keras.layers.Layer:
    """`[N, L, C]` -> `[N, L, units]`: one kernel, and a bias for each slot.

    Slots number their choices each for itself: the first width of one layer
    is not that of another, and the bias makes up for it.
    """
    return keras.layers.EinsumDense(
        "nlc,cd->nld", (num_slots, units), bias_axes="ld", **kwargs
    )
