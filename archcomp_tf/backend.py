"""What Keras does not offer alike on every backend.

Gradients, compilation, the fastest precision, and processes that train side by
side.
"""

from __future__ import annotations

import contextlib
import importlib.util
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


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers built in here have the Keras dtype policy of this name."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
