"""Silences what native libraries write to stderr, above all when imported.

TensorFlow writes some lines to stderr before it has read its own settings of
what to write.  Processes that train side by side run this file first, in place
of the program that started them, see `processes.side_by_side`, and leave Ctrl-C
to that program.

Nothing but the standard library is imported before `load_keras` is called.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Drops what native code writes to stderr.

    What went wrong is to be in an exception too.  What other threads write
    meanwhile is lost as well.
    """
    with _lock, open(os.devnull, "wb") as devnull:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(devnull.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def load_keras() -> None:
    """Loads Keras, with its backend, in silence."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A GPU is shared with the processes that train side by side: none is to
    # take the whole of its memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with silent_stderr():
        import keras  # noqa: F401


if __name__ == "__mp_main__":  # of a process that was started
    # A terminal interrupts all of them; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_keras()
    # Each network that it trains is another graph, which TensorFlow warns of.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
