"""Layers to train with: what Keras' own compute, with the same weights.

Batch norm takes fewer passes over memory; a convolution does not crash.
"""

from __future__ import annotations

import functools
import math

import keras


def training_layers() -> dict[str, type[keras.layers.Layer]]:
    """What takes the place of Keras' own layers: arguments of `build`."""
    return {"conv": safe_conv(), "batch_norm": fastest_batch_norm()}


@functools.cache
def safe_conv() -> type[keras.layers.Conv2D]:
    """A convolution to train with: Keras' own, or one with its weights.

    On a CPU the gradient of a 1x1 convolution with strides, of fewer than 16
    channels and maps of 48 pixels and more, ends TensorFlow's process (2.21,
    oneDNN).  Without the pixels that it leaves out it has no strides.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.layers.Conv2D
    import tensorflow as tf

    class SafeConv2D(keras.layers.Conv2D):
        def call(self, inputs):
            if self.kernel_size != (1, 1) or self.strides == (1, 1):
                return super().call(inputs)
            rows, columns = self.strides
            outputs = tf.nn.conv2d(
                inputs[:, ::rows, ::columns],
                tf.convert_to_tensor(self.kernel),
                strides=1,
                padding="VALID",
            )
            return outputs + self.bias if self.use_bias else outputs

    return SafeConv2D


@functools.cache
def fastest_batch_norm() -> type[keras.layers.BatchNormalization]:
    """Batch norm to train with: Keras' own, or one with its weights.

    On TensorFlow Keras takes the mean, the variance and the rest in passes of
    their own, forwards and backwards.  TensorFlow's fused operation takes few;
    where the channels are no multiple of 8, it is slower than Keras' on a CPU,
    and `_normalized` is the fastest.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.layers.BatchNormalization
    import tensorflow as tf

    multiple = 1 if tf.config.list_physical_devices("GPU") else 8

    class FastBatchNormalization(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            if not training or len(inputs.shape) != 4:
                return super().call(inputs, training=training, mask=mask)
            images = tf.cast(inputs, tf.float32)
            gamma = tf.convert_to_tensor(self.gamma)
            beta = tf.convert_to_tensor(self.beta)
            if inputs.shape[-1] % multiple:
                outputs, mean, variance = _normalized(
                    images, gamma, beta, self.epsilon
                )
            else:
                outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                    images, gamma, beta, epsilon=self.epsilon
                )
                # It gives the unbiased variance, Keras keeps the biased one.
                num = tf.cast(tf.size(images) / images.shape[-1], tf.float32)
                variance *= (num - 1) / num
            for moving, new in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                moving.assign(
                    moving * self.momentum + new * (1 - self.momentum)
                )
            return tf.cast(outputs, self.compute_dtype)

    return FastBatchNormalization


def _normalized(images, gamma, beta, epsilon: float) -> tuple:
    """Batch norm of `[N, height, width, channels]`, and mean and variance.

    Rows of a few pixels are long enough for a processor's vectors, whatever the
    channels; their sums are a matrix product; and the gradient is written out,
    since what differentiation makes of the mean and the variance takes more
    passes.  Mean and variance have no gradient.
    """
    import tensorflow as tf

    channels = images.shape[-1]
    pixels = math.gcd(8, math.prod(n for n in images.shape[:-1] if n))

    @tf.custom_gradient
    def normalized(images, gamma, beta):
        rows = tf.reshape(images, [-1, pixels * channels])
        ones = tf.ones([1, tf.shape(rows)[0]])
        num = tf.cast(tf.shape(rows)[0] * pixels, tf.float32)

        def sums(rows):
            return tf.reduce_sum(
                tf.reshape(tf.matmul(ones, rows), [pixels, channels]), axis=0
            )

        def row(values):
            return tf.tile(values, [pixels])

        mean = sums(rows) / num
        centred = rows - row(mean)
        variance = sums(centred**2) / num
        scale = tf.math.rsqrt(variance + epsilon)
        outputs = centred * row(gamma * scale) + row(beta)

        def gradient(upstream, *_):
            upstream = tf.reshape(upstream, tf.shape(rows))
            of_beta = sums(upstream)
            of_gamma = sums(upstream * centred) * scale
            of_rows = row(gamma * scale) * (
                upstream
                - row(of_beta / num)
                - centred * row(scale * of_gamma / num)
            )
            return tf.reshape(of_rows, tf.shape(images)), of_gamma, of_beta

        return (tf.reshape(outputs, tf.shape(images)), mean, variance), gradient

    return normalized(images, gamma, beta)
