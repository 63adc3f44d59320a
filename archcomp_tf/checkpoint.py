"""The state of a training on the disk, so that a killed one goes on.

Only NumPy is needed here.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Sequence

import numpy as np

from archcomp_tf.atomic import replacing

_MIN_SECONDS = 20.0  # between two writes: an epoch may be shorter than a write


@dataclasses.dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
      arrays: whatever the training needs to go on, in its own order.
      losses: of the epochs that are done, one each.
    """

    arrays: tuple[np.ndarray, ...]
    losses: tuple[float, ...]


class Checkpoint:
    """One `.npz` file that holds the last state of one training.

    Args:
      path: of the file, whose name ends in `.npz`.
      training: what is trained and how, as text; the state of another
        training is not taken for this one's.
    """

    def __init__(self, path: str | os.PathLike, training: str):
        self._path = pathlib.Path(path)
        self._training = training
        self._last_write = time.monotonic()

    def read(self) -> State | None:
        """The last state; None where there is none of this training."""
        if not self._path.exists():
            return None
        with np.load(self._path) as file:
            if str(file["training"]) != self._training:
                return None
            num = len(file.files) - 2
            arrays = tuple(file[f"array_{i}"] for i in range(num))
            return State(arrays, tuple(file["losses"].tolist()))

    def write(
        self, arrays: Sequence[np.ndarray], losses: Sequence[float]
    ) -> None:
        """Keeps a state, unless the last one was kept a moment ago."""
        now = time.monotonic()
        if now - self._last_write < _MIN_SECONDS:
            return
        with replacing(self._path) as path:
            np.savez(
                path,
                training=self._training,
                losses=np.asarray(losses, np.float64),
                **{f"array_{i}": array for i, array in enumerate(arrays)},
            )
        self._last_write = now

    def remove(self) -> None:
        """Deletes the file, if it is there."""
        self._path.unlink(missing_ok=True)
