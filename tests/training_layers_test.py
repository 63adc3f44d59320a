"""Tests of the layers that trainings have in place of Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from archcomp_tf import training_layers
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build


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

    fast = outcome(training_layers.fastest_batch_norm())
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
    layer = training_layers.fastest_batch_norm.__wrapped__()()
    layer.build((2, 4, 4, channels))
    traced = tf.function(
        lambda x: layer(x, training=True), autograph=False
    ).get_concrete_function(tf.TensorSpec((2, 4, 4, channels)))
    kinds = {op.type for op in traced.graph.get_operations()}
    assert ("FusedBatchNormV3" in kinds) == is_fused


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_convolution_of_trainings_does_what_keras_does(
    size, policy, use_bias
):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, size, size, 16)).astype("float32")
    weights = [rng.normal(size=(1, 1, 16, 5)), rng.normal(size=5)]
    for strides in (1, 2, (1, 3)):
        outcomes = []
        for conv in (training_layers.safe_conv(), keras.layers.Conv2D):
            layer = conv(
                *(5, 1, strides, "same"), use_bias=use_bias, dtype=policy
            )
            layer.build(x.shape)
            layer.set_weights(weights[: 1 + use_bias])
            inputs = tf.constant(x)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs)
                assert outputs.dtype == layer.compute_dtype
                loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
            wanted = [inputs, *(v.value for v in layer.trainable_variables)]
            outcomes.append([outputs, *tape.gradient(loss, wanted)])
        tolerance = 1e-4 if policy == "float32" else 5e-2
        for one, other in zip(*outcomes, strict=True):
            np.testing.assert_allclose(
                *(tf.cast(tensor, "float32") for tensor in (one, other)),
                *(tolerance, tolerance),
            )


def test_no_strides_are_left_where_they_crash():
    # The gradient of such a convolution ends the process, see `safe_conv`.
    architecture = Architecture.parse("conv3x3-8 residual3x3-16/2 conv1x1-4/2")
    model = build(
        architecture, (64, 64, 3), 2, **training_layers.training_layers()
    )

    @tf.function(autograph=False)
    def gradient(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True))
        return tape.gradient(loss, model.trainable_variables)

    traced = gradient.get_concrete_function(tf.TensorSpec((2, 64, 64, 3)))
    strided = [
        op
        for op in traced.graph.get_operations()
        if op.type == "Conv2D" and set(op.get_attr("strides")) != {1}
    ]
    # Of the residual block's first convolution, whose window is of 3x3.
    assert [op.inputs[1].shape[:2].as_list() for op in strided] == [[3, 3]]
