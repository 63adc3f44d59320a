"""Processes that train side by side on one machine."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing.context
import multiprocessing.sharedctypes
import os
import pickle
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import joblib

_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "OMP_NUM_THREADS",  # PyTorch's
)
_ENVIRONMENT = {
    # With more, small networks wait for threads longer than they compute.
    "TF_NUM_INTEROP_THREADS": "1",
    # No process is to take the whole memory of a GPU.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


@contextlib.contextmanager
def side_by_side(
    num_processes: int, **environment: str
) -> Iterator[multiprocessing.context.SpawnContext]:
    """Processes that are started within share cores and GPU with each other.

    A spawned process first imports the program that started it, and a person's
    script would begin there once more: these import `quiet.py` in its place.

    Args:
      num_processes: how many there will be.
      **environment: further variables of the processes.

    Yields:
      The multiprocessing context to start them with.
    """
    main = types.ModuleType("__main__")
    main.__spec__ = importlib.util.find_spec("archcomp_tf.quiet")
    num_threads = max(1, joblib.cpu_count() // num_processes)
    environment |= _ENVIRONMENT
    environment |= dict.fromkeys(_THREADS, str(num_threads))
    before = {name: os.environ.get(name) for name in environment}
    own, sys.modules["__main__"] = sys.modules["__main__"], main
    os.environ.update(environment)
    try:
        yield multiprocessing.get_context("spawn")
    finally:
        sys.modules["__main__"] = own
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Shared:
    """A value for processes that are started, its arrays in shared memory.

    All that a process is started with goes through a pipe, and what that does
    not hold at once is waited for: without end, where the process was killed
    before it had read it.  Here that is next to nothing, and there is one copy
    of the arrays.

    Args:
      value: what can be pickled; its arrays are copied.
    """

    def __init__(self, value: Any):
        buffers: list[pickle.PickleBuffer] = []
        self._rest = pickle.dumps(
            value, protocol=5, buffer_callback=buffers.append
        )
        self._arrays = [_shared(buffer.raw()) for buffer in buffers]

    def get(self) -> Any:
        """The value; its arrays are the shared memory itself."""
        return pickle.loads(self._rest, buffers=self._arrays)


def _shared(content: memoryview) -> Any:
    memory = multiprocessing.sharedctypes.RawArray("B", content.nbytes)
    memoryview(memory).cast("B")[:] = content
    return memory


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it has ended.

    Nobody else would: a program that is killed cannot end what it started.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(
            target=lambda: (parent.join(), os._exit(1)), daemon=True
        ).start()
