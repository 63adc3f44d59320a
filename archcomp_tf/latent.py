"""Where labelled networks lie in the embedding, and paths of descents in it.

What is drawn of an embedding: the report's map, TensorBoard's projector.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.descent import LEARNING_RATE, NUM_STEPS, Descent
from archcomp_tf.objective import Objective

_STRIDE = 4  # steps of a descent between two that are drawn


@dataclasses.dataclass(frozen=True)
class LatentMap:
    """Points of an embedding of D numbers.

    Attributes:
      z: float `[N, D]`, networks.
      paths: float `[S, B, D]`, where B descents are step by step; the first
        starts from the teacher.
      accuracy: float `[S, B]`, what the heads expect there.
      log_params: float `[S, B]`, the same of log10 parameters.
      decoded: text `[S, B]`, the networks there.
    """

    z: np.ndarray
    paths: np.ndarray
    accuracy: np.ndarray
    log_params: np.ndarray
    decoded: np.ndarray

    def save(self, path: str | os.PathLike) -> None:
        """Writes an `.npz` file."""
        with open(path, "wb") as file:  # NumPy would add a suffix to a name
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> LatentMap:
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**arrays)


def shown_steps(num_steps: int) -> list[int]:
    """Of the steps of a descent those that are drawn: some, and the last."""
    return [*range(0, num_steps - 1, _STRIDE), num_steps - 1]


def on_plane(z: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane of the two main directions of points.

    Args:
      z: `[N, D]`, the points.
      paths: `[S, B, D]`, paths among them.

    Returns:
      The points `[N, 2]` and the paths `[S, B, 2]` on the first two principal
      components of the points.
    """
    centre = z.mean(axis=0)
    _, _, directions = np.linalg.svd(z - centre, full_matrices=False)
    # A single point, or a space of one dimension, has no second.
    plane = np.zeros((2, z.shape[1]))
    plane[: len(directions)] = directions[:2]
    return (z - centre) @ plane.T, (paths - centre) @ plane.T


def map_embedding(
    autoencoder: ArchitectureAutoencoder,
    architectures: Sequence[Architecture],
    teacher: Architecture,
    objective: Objective,
    num_descents: int = 8,
    num_steps: int = NUM_STEPS,
    learning_rate: float = LEARNING_RATE,
) -> LatentMap:
    """Encodes networks and descends from the teacher and from some of them.

    Args:
      autoencoder: the embedding; its heads guide the descents.
      architectures: N members of its space.
      teacher: another.
      objective: of the descents.
      num_descents: B; beside the teacher they start from networks that stand
        evenly apart in `architectures`.
      num_steps: S - 1, of each descent.
      learning_rate: of each.
    """
    z = autoencoder.encode(architectures)
    places = np.linspace(0, len(z) - 1, num_descents - 1).round().astype(int)
    starts = np.concatenate([autoencoder.encode([teacher]), z[places]])
    _, trace = Descent(autoencoder, type(objective))(
        starts, objective, num_steps + 1, learning_rate
    )
    networks = autoencoder.decode(trace["z"].reshape(-1, z.shape[1]))
    return LatentMap(
        z,
        trace["z"],
        trace["accuracy"],
        trace["log_params"],
        np.reshape([str(a.compact) for a in networks], trace["z"].shape[:2]),
    )
