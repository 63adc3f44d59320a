"""What Keras does not offer alike on every backend.

Gradients, compilation, what is fastest to train with, and processes that train
side by side.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import multiprocessing.context
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras

# Small networks gain nothing from a second core, and no process is to take the
# whole memory of a GPU.
_SHARING_ENVIRONMENT = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


@contextlib.contextmanager
def side_by_side(
    **environment: str,
) -> Iterator[multiprocessing.context.SpawnContext]:
    """Processes that are started within share the machine with each other.

    A spawned process first imports the program that started it, and a person's
    script would begin there once more: these import `quiet.py` in its place.

    Args:
      **environment: further variables of the processes.

    Yields:
      What they are to be made with.
    """
    main = types.ModuleType("__main__")
    main.__spec__ = importlib.util.find_spec("archcomp_tf.quiet")
    with (
        mock.patch.dict(os.environ, _SHARING_ENVIRONMENT | environment),
        mock.patch.dict(sys.modules, __main__=main),
    ):
        yield multiprocessing.get_context("spawn")


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it has ended.

    Nobody else would: a program that is killed cannot end what it started.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(
            target=lambda: (parent.join(), os._exit(1)), daemon=True
        ).start()


def value_and_grad(function: Callable[..., tuple[Any, Any]]) -> Callable:
    """Differentiates a function by its first argument.

    Args:
      function: `(tensor, *args) -> (loss, anything else)`.

    Returns:
      `(tensor, *args) -> ((loss, anything else), gradient)`.
    """
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.value_and_grad(function, has_aux=True)
        case "torch":
            import torch

            def differentiated(tensor, *args):
                tensor = tensor.detach().requires_grad_()
                with torch.enable_grad():
                    loss, rest = function(tensor, *args)
                (gradient,) = torch.autograd.grad(loss, tensor)
                detached = keras.tree.map_structure(
                    lambda x: x.detach(), (loss, rest)
                )
                return detached, gradient

        case _:
            import tensorflow as tf

            def differentiated(tensor, *args):
                with tf.GradientTape() as tape:
                    tape.watch(tensor)
                    loss, rest = function(tensor, *args)
                return (loss, rest), tape.gradient(loss, tensor)

    return differentiated


def compiled(function: Callable) -> Callable:
    """The function, compiled where the backend compiles: not on PyTorch."""
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.jit(function)
        case "torch":
            return function
        case _:
            import tensorflow as tf

            traced = tf.function(function, autograph=False)

            def call(*args):
                options = tf.config.optimizer.get_experimental_options()
                # Fusing a 1x1 convolution to one channel with its bias gives
                # oneDNN (TensorFlow 2.21) a reorder that it cannot do.
                tf.config.optimizer.set_experimental_options(
                    {"remapping": False}
                )
                try:
                    return traced(*args)
                finally:
                    tf.config.optimizer.set_experimental_options(
                        {"remapping": True} | options
                    )

            return call


def compiled_inference(model: keras.Model) -> Callable:
    """Images -> logits, compiled where single operations are slow alone."""
    if keras.backend.backend() == "jax":
        variables = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]
        call = compiled(
            lambda *state_and_images: model.stateless_call(
                *state_and_images, training=False
            )[0]
        )
        return lambda images: call(variables, others, images)
    # Tracing costs more than a network that is evaluated once.
    return lambda images: model(images, training=False)


def errors() -> tuple[type[Exception], ...]:
    """What the backend raises where it cannot run a network."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return (RuntimeError, MemoryError, tf.errors.OpError)
    return (RuntimeError, MemoryError)  # JAX's and PyTorch's are RuntimeErrors


def fastest_dtype_policy() -> str:
    """ "mixed_bfloat16" where the device computes in it, else "float32"."""
    match keras.backend.backend():
        case "jax":
            import jax

            has_it = jax.default_backend() in ("gpu", "tpu")
        case "torch":
            import torch

            has_it = (
                torch.cuda.is_available() and torch.cuda.is_bf16_supported()
            )
        case _:
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            # From compute capability 8.0 on, NVIDIA's GPUs have it.
            has_it = bool(gpus) and all(
                tf.config.experimental.get_device_details(gpu).get(
                    "compute_capability", (0, 0)
                )
                >= (8, 0)
                for gpu in gpus
            )
    return "mixed_bfloat16" if has_it else "float32"


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
                # It gives the variance of all images, of which these are
                # samples.
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


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers built in here have the Keras dtype policy of this name."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
