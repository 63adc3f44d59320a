"""What `.tflite` files are worth: size, memory, accuracy and latency.

Latency is that of LiteRT's kernels on this machine's processor: one image a
call, one thread, without the way of the image in and of the outputs out.
"""

from __future__ import annotations

import math
import os
import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from etils import epy

from archcomp_tf.datasets import Split
from archcomp_tf.images import unit
from archcomp_tf.litert import convert
from archcomp_tf.quiet import silent_stderr

with epy.lazy_imports():
    import tensorflow as tf
    from tensorflow.lite.tools import flatbuffer_utils

# Files take turns, so that a busy moment of the machine slows all of them; a
# turn begins with runs that are not timed, which bring the weights back into
# the processor's caches.
_TURNS, _UNTIMED_RUNS, _TIMED_RUNS = 20, 3, 10
_MIN_RUNS, _MIN_SECONDS = 11, 0.2


def outputs(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """What a `.tflite` file gives for images.

    Args:
      path: of the file.
      images: `[N, height, width, channels]`, of a `Split`.

    Returns:
      float32 `[N, num_classes]`, scaled back where the file is quantized.
    """
    return _run(_interpreter(path), images)


def measure(
    files: Mapping[str, str | os.PathLike], split: Split
) -> dict[str, dict[str, float]]:
    """Size, accuracy and latency of files, all in one run.

    Args:
      files: name -> path of a `.tflite` file.
      split: what the accuracy is measured on.

    Returns:
      For each name "bytes"; "ram_bytes", see there; "accuracy", in [0, 1], on
      "num_images"; and "latency_ms", the median over 200 runs of one image on
      one thread, the files in turns.
    """
    interpreters = {name: _interpreter(path) for name, path in files.items()}
    accuracies = {}
    for name, interpreter in interpreters.items():
        classes = np.argmax(_run(interpreter, split.images), axis=-1)
        accuracies[name] = float(np.mean(classes == split.labels))
    seconds = {name: [] for name in files}
    for _ in range(_TURNS):
        for name, interpreter in interpreters.items():
            for _ in range(_UNTIMED_RUNS):
                interpreter.invoke()
            seconds[name] += [_seconds(interpreter) for _ in range(_TIMED_RUNS)]
    return {
        name: {
            "bytes": os.path.getsize(path),
            "ram_bytes": ram_bytes(path),
            "accuracy": accuracies[name],
            "num_images": len(split),
            "latency_ms": 1e3 * statistics.median(seconds[name]),
        }
        for name, path in files.items()
    }


def ram_bytes(path: str | os.PathLike) -> int:
    """The most that a file's activations take at once, for one image.

    Each lives from the operation that gives it to the last one that takes it.
    It is the least that the arena of a runtime needs, which also holds what the
    runtime notes of each operation, and gaps where they do not fit seamlessly.

    Args:
      path: of a `.tflite` file.
    """
    # Others than the first are the insides of its loops.
    graphs = flatbuffer_utils.read_model(os.fspath(path)).subgraphs
    outer, *inner = map(_peak_bytes, graphs)
    return outer + max(inner, default=0)


def _peak_bytes(graph: Any) -> int:
    """The most that the activations of a graph take at once."""
    end = len(graph.operators)
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.outputs, end)
    for time_step, operator in enumerate(graph.operators):
        # What weights alone go into is one of them: they come in float16, too.
        if taken := first.keys() & set(operator.inputs):
            first |= dict.fromkeys(operator.outputs, time_step)
            last |= dict.fromkeys(taken, time_step)
    alive = np.zeros(end + 1, np.int64)
    for index, start in first.items():
        tensor = graph.tensors[index]
        dtype = np.dtype(flatbuffer_utils.type_to_name(tensor.type).lower())
        stop = last.get(index, start) + 1
        alive[start:stop] += math.prod(map(int, tensor.shape)) * dtype.itemsize
    return int(alive.max())


def latency_ms(model: keras.Model) -> float:
    """Median time of one image through the float32 file, on one thread.

    It does not depend on the weights: an untrained network will do.
    """
    interpreter = _interpreter(convert(model))
    rng = np.random.default_rng(0)
    _run(interpreter, rng.random((3, *model.input_shape[1:]), np.float32))
    seconds = []
    end = time.perf_counter() + _MIN_SECONDS
    while len(seconds) < _MIN_RUNS or time.perf_counter() < end:
        seconds.append(_seconds(interpreter))
    return 1e3 * statistics.median(seconds)


def _interpreter(file: str | os.PathLike | bytes) -> tf.lite.Interpreter:
    """An interpreter of a file or of its contents, on one thread."""
    source = (
        {"model_content": file}
        if isinstance(file, bytes)
        else {"model_path": os.fspath(file)}
    )
    try:
        return _allocated(**source)
    except RuntimeError:
        # XNNPACK takes no scale as small as that of a layer which gives zeros
        # alone; LiteRT's own kernels do.
        kinds = tf.lite.experimental.OpResolverType
        return _allocated(
            **source,
            experimental_op_resolver_type=(
                kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )


def _allocated(**options) -> tf.lite.Interpreter:
    with warnings.catch_warnings(), silent_stderr():
        # It says that it will leave TensorFlow for a package of its own.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter")
        interpreter = tf.lite.Interpreter(num_threads=1, **options)
        interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: tf.lite.Interpreter, images: np.ndarray) -> np.ndarray:
    """Outputs `[N, num_classes]` for images `[N, ...]`, one at a time."""
    (source,) = interpreter.get_input_details()
    (target,) = interpreter.get_output_details()
    images = unit(images).astype(np.float32, copy=False)
    if np.issubdtype(source["dtype"], np.integer):
        scale, zero_point = source["quantization"]
        limits = np.iinfo(source["dtype"])
        images = np.round(images / scale) + zero_point
        images = np.clip(images, limits.min, limits.max)
        images = images.astype(source["dtype"])
    results = []
    for image in images:
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        results.append(interpreter.get_tensor(target["index"])[0])
    results = np.array(results, np.float32)
    if np.issubdtype(target["dtype"], np.integer):
        scale, zero_point = target["quantization"]
        results = (results - zero_point) * np.float32(scale)
    return results


def _seconds(interpreter: tf.lite.Interpreter) -> float:
    """How long one image takes, without its way in and out."""
    start = time.perf_counter()
    interpreter.invoke()
    return time.perf_counter() - start
