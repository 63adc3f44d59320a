"""What Keras does not offer alike on every backend.

Gradients, compilation and the fastest precision.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np


class BackendError(RuntimeError):
    """Keras runs on a backend on which something cannot be done."""


def check_tensorflow(what: str) -> None:
    """Raises BackendError where Keras does not run on TensorFlow.

    Args:
      what: needs it; the beginning of a sentence.
    """
    if keras.backend.backend() != "tensorflow":
        raise BackendError(
            f"{what} needs TensorFlow, and Keras runs on "
            f"{keras.backend.backend()} here. A working directory may be "
            "carried to where it runs on TensorFlow, and goes on there."
        )


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


def compiled_reading(
    function: Callable, variables: Sequence[keras.Variable]
) -> Callable:
    """The function, compiled, with what the variables hold at each call.

    JAX would otherwise keep what they held when it was traced.

    Args:
      function: tensors -> tensors; it changes no variable.
      variables: of Keras, that it reads.
    """
    if keras.backend.backend() != "jax":
        return compiled(function)

    def stateless(values, *args):
        with keras.StatelessScope(
            state_mapping=list(zip(variables, values, strict=True))
        ):
            return function(*args)

    call = compiled(stateless)
    return lambda *args: call([v.value for v in variables], *args)


def compiled_inference(model: keras.Model) -> Callable:
    """Images -> logits, compiled where single operations are slow alone."""

    def infer(images):
        return model(images, training=False)

    if keras.backend.backend() == "jax":
        return compiled_reading(infer, model.variables)
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(infer)
    # Tracing costs more than a network that is evaluated once.
    return infer


def by_rows(function: Callable, *arrays: np.ndarray) -> Any:
    """What a function of rows gives, as arrays.

    JAX compiles every operation anew for another number of rows: it is given
    powers of two.  No row at all is what TensorFlow's do not take.

    Args:
      function: tensors `[N, ...]` -> tensors `[N, ...]`, row by row.
      *arrays: `[N, ...]`.
    """
    num = len(arrays[0])
    missing = int(num == 0)
    if keras.backend.backend() == "jax":
        missing = (1 << (num - 1).bit_length()) - num
    if missing:
        arrays = [
            np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in arrays
        ]
    outputs = function(*map(keras.ops.convert_to_tensor, arrays))
    return keras.tree.map_structure(
        lambda tensor: keras.ops.convert_to_numpy(tensor)[:num], outputs
    )


def repeated(batch: tuple) -> Any:
    """A batch as data for `keras.Model.fit`, which comes round and round."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors(batch).repeat()
    return (batch for _ in itertools.count())  # Keras takes a generator


def steps_at_once(num: int) -> int:
    """How many of `num` steps `keras.Model.fit` may be told to compile as one.

    That is its `steps_per_execution`, which has to be 1 on PyTorch.
    """
    return 1 if keras.backend.backend() == "torch" else num


def errors() -> tuple[type[Exception], ...]:
    """What the backend raises where it cannot run a network."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return (RuntimeError, MemoryError, tf.errors.OpError)
    return (RuntimeError, MemoryError)  # JAX's and PyTorch's are RuntimeErrors


def gpu_names() -> list[str]:
    """What the GPUs are called that the backend runs on."""
    match keras.backend.backend():
        case "jax":
            import jax

            if jax.default_backend() != "gpu":
                return []
            return [device.device_kind for device in jax.devices()]
        case "torch":
            import torch

            num = torch.cuda.device_count()
            return [torch.cuda.get_device_name(i) for i in range(num)]
        case _:
            import tensorflow as tf

            details = tf.config.experimental.get_device_details
            return [
                details(gpu).get("device_name", gpu.name)
                for gpu in tf.config.list_physical_devices("GPU")
            ]


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


def in_float32(config: Any) -> Any:
    """A layer's config with float32 for every float dtype, inner ones too."""
    if isinstance(config, list | tuple):
        return [*map(in_float32, config)]
    if not isinstance(config, dict):
        return config
    return {
        # The name of a dtype, or a policy as Keras serializes it.
        key: "float32"
        if key == "dtype" and "float" in str(value)
        else in_float32(value)
        for key, value in config.items()
    }
