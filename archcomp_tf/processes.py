"""Processes that train side by side on one machine."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.pool
import multiprocessing.sharedctypes
import os
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib
import keras_tuner

_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "OMP_NUM_THREADS",  # PyTorch's
)
_ENVIRONMENT = {
    # With more, small networks wait for threads longer than they compute.
    "TF_NUM_INTEROP_THREADS": "1",
}


class WorkerError(keras_tuner.errors.FatalError):
    """A process that trains ended before its work was done."""


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


def run_jobs(
    run: Callable[[Any, Any, Callable[[Any], None]], Any],
    jobs: Sequence[Any],
    shared: Shared,
    num_processes: int,
) -> Iterator[tuple[int, bool, Any]]:
    """Runs jobs side by side, each process one after the other.

    No process shares a lock or a queue with another, as those of a
    `concurrent.futures.ProcessPoolExecutor` do: one that is killed, even as it
    starts, leaves nobody waiting.

    Args:
      run: of a module; called in a process with the value that is shared, a
        job and a function that tells something while the job goes on.
      jobs: one each.
      shared: the value.
      num_processes: how many share the cores, whether or not there are as many
        jobs.

    Yields:
      For all that is told, and at the end for what `run` returned: the place
      of its job, whether that is the end, and what it is.  All processes are
      ended with the iterator, whatever they do.

    Raises:
      WorkerError: a process was killed.
      Exception: whatever `run` raised.
    """
    started = {}
    try:
        with side_by_side(num_processes) as context:
            for _ in jobs[:num_processes]:
                connection, theirs = context.Pipe()
                process = context.Process(
                    target=_run_jobs, args=(run, shared, theirs), daemon=True
                )
                process.start()
                theirs.close()
                started[connection] = process
        todo = enumerate(jobs)
        # At most as many as there are jobs; the other jobs are left in `todo`.
        for connection, job in zip(started, todo, strict=False):
            with _alive(started[connection]):
                connection.send(job)
        busy = set(started)
        while busy:
            for connection in multiprocessing.connection.wait(busy):
                with _alive(started[connection]):
                    place, ended, value = connection.recv()
                    if ended and (job := next(todo, None)):
                        connection.send(job)
                    elif ended:
                        busy.remove(connection)
                if isinstance(value, Exception):
                    raise value
                yield place, ended, value
    finally:
        for process in started.values():
            process.terminate()
            process.join()


@contextlib.contextmanager
def _alive(process: multiprocessing.Process) -> Iterator[None]:
    """Says so where nobody is at the other end: the process has ended."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        process.join()
        code = process.exitcode
        end = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise WorkerError(
            f"A training process ended by {end}. What was trained is kept: the "
            "same command goes on from there."
        ) from error


def _run_jobs(
    run: Callable[[Any, Any, Callable[[Any], None]], Any],
    shared: Shared,
    connection: multiprocessing.connection.Connection,
) -> None:
    """The life of a process: runs the jobs that it is sent."""
    end_with_parent()
    value = shared.get()

    def tell(place: int, told: Any) -> None:
        connection.send((place, False, told))

    while True:
        place, job = connection.recv()
        try:
            result = run(value, job, functools.partial(tell, place))
        except Exception as error:
            result = multiprocessing.pool.ExceptionWithTraceback(
                error, error.__traceback__
            )
        connection.send((place, True, result))
