"""Tests of the batch norm that trainings have."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from archcomp_tf import batch_norm


@pytest.mark.parametrize("batch", [4, 5])
@pytest.mark.parametrize("channels", [8, 24, 5])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_fastest_batch_norm_does_what_keras_does(batch, channels, policy):
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (batch, 3, 3, channels)).astype("float32")
    weights = rng.uniform(0.5, 2, (4, channels))
    direction = rng.normal(size=x.shape).astype("float32")

    def outcome(layer_class):
        layer = layer_class(momentum=0.75, dtype=policy)
        layer.build(x.shape)
        layer.set_weights(weights)

        inputs = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.cast(layer(inputs, training=True), "float32")
            loss = tf.reduce_sum(outputs * direction)
        wanted = [inputs, *(v.value for v in layer.trainable_variables)]
        after = layer(inputs, training=False)  # by the moving statistics
        return [
            *(outputs, *tape.gradient(loss, wanted), *layer.get_weights()),
            tf.cast(after, "float32"),
        ]

    fast = outcome(batch_norm.fastest_batch_norm())
    plain = outcome(keras.layers.BatchNormalization)
    tolerance = 1e-4 if policy == "float32" else 2e-2
    for one, other in zip(fast, plain, strict=True):
        np.testing.assert_allclose(one, other, tolerance, tolerance)


@pytest.mark.parametrize(
    ("gpus", "channels", "is_fused"),
    [([], 16, True), ([], 12, False), (["GPU:0"], 12, True)],
)
def test_on_a_cpu_whole_vectors_of_channels_are_fused(
    gpus, channels, is_fused, monkeypatch
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: gpus)
    layer = batch_norm.fastest_batch_norm.__wrapped__()()
    layer.build((2, 4, 4, channels))
    traced = tf.function(
        lambda x: layer(x, training=True), autograph=False
    ).get_concrete_function(tf.TensorSpec((2, 4, 4, channels)))
    kinds = {op.type for op in traced.graph.get_operations()}
    assert ("FusedBatchNormV3" in kinds) == is_fused
