"""Progress of a long step, as lines a person can follow.

Every long step reports through `Progress`: which stage, how many of how many,
what came out last, how long to go.

Lines go to the standard logger "archcomp_tf".  Only the standard library is
needed here.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

_LOGGER = logging.getLogger(__name__)
_PACKAGE = logging.getLogger("archcomp_tf")

_MINUTE, _HOUR = 60, 3600  # seconds


def duration(seconds: float) -> str:
    """For example "40 s", "12 min", "2.5 h"."""
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def lines_to_stderr() -> logging.Handler:
    """Writes log records as lines: when, and what."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    return handler


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Shows progress meanwhile where nobody has said what is to be logged.

    By the handlers of the program, on stderr where there are none; not where
    the logger "archcomp_tf" was given a level.
    """
    if _PACKAGE.level != logging.NOTSET:
        yield
        return
    handler, propagates = None, _PACKAGE.propagate
    if not _PACKAGE.hasHandlers():
        handler = lines_to_stderr()
        _PACKAGE.addHandler(handler)
        # Others may give the root logger a handler meanwhile; Keras' export
        # does.
        _PACKAGE.propagate = False
    _PACKAGE.setLevel(logging.INFO)
    try:
        yield
    finally:
        _PACKAGE.setLevel(logging.NOTSET)
        if handler is not None:
            _PACKAGE.removeHandler(handler)
            _PACKAGE.propagate = propagates


class Progress:
    """Logs "stage 12/32: last result, 12 min to go" as a step advances.

    Args:
      stage: what is being done, for example "labelling".
      total: how many steps there are.
      min_seconds: shortest time between two lines; the last step always
        gives one.
      done: how many were done before.
    """

    def __init__(
        self, stage: str, total: int, min_seconds: float = 2.0, done: int = 0
    ):
        self.stage = stage
        self.total = total
        self.min_seconds = min_seconds
        self.done = done
        self._done_before = done
        self._start = time.monotonic()
        self._last_line = -float("inf")

    def advance(self, result: str = "") -> None:
        """Counts a step as done; `result` says what came out of it."""
        self.reach(self.done + 1, result)

    def reach(self, done: float, result: str = "") -> None:
        """So many steps are done, the last of them perhaps in part."""
        self.done = done
        now = time.monotonic()
        finished = self.done >= self.total
        if not finished and now - self._last_line < self.min_seconds:
            return
        self._last_line = now
        elapsed = now - self._start
        if finished:
            time_text = f"took {duration(elapsed)}"
        else:
            to_go = elapsed / (done - self._done_before) * (self.total - done)
            time_text = f"{duration(to_go)} to go"
        parts = [part for part in (result, time_text) if part]
        _LOGGER.info(
            "%s %s/%d: %s",
            self.stage,
            f"{done:.1f}" if done % 1 else f"{done:.0f}",
            self.total,
            ", ".join(parts),
        )
