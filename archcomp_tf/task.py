"""What it takes to train a network for a label.

A label is meant to rank networks, not to be what they come to: the training is
brief, and distilled where there is a teacher.  Our own throughout.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zlib

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.training import Recipe, trained_accuracy


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What it takes to train a network for a label.

    Attributes:
      dataset: trained on its train split, judged on its validation split.
      recipe: the training.
      seed: of the first weights and of the order of the images.
      teacher_logits: `[len(dataset.train), num_classes]` to distil from, or
        None.
      max_seconds: how long one training may take.
    """

    dataset: Dataset
    recipe: Recipe
    seed: int
    teacher_logits: np.ndarray | None = None
    max_seconds: float = math.inf

    def run(self, architecture: Architecture) -> float:
        """Trains the network; its validation accuracy in [0, 1].

        Raises:
          DivergedError: the training diverged.
          TimeLimitError: it took too long.
          Exception: whatever else the backend raises.
        """
        # A longer training is to be another draw, not the same one continued.
        name = f"{architecture.fingerprint} {self.recipe.name} {self.seed}"
        seed = zlib.crc32(name.encode()) % 2**31
        return trained_accuracy(
            architecture,
            self.dataset,
            self.recipe,
            seed=seed,
            teacher_logits=self.teacher_logits,
            max_seconds=self.max_seconds,
        )

    def to_bytes(self) -> bytes:
        """What a worker on another machine needs; no test images."""
        arrays = {
            "train_images": self.dataset.train.images,
            "train_labels": self.dataset.train.labels,
            "validation_images": self.dataset.validation.images,
            "validation_labels": self.dataset.validation.labels,
        }
        if self.teacher_logits is not None:
            arrays["teacher_logits"] = self.teacher_logits
        rest = {
            "name": self.dataset.name,
            "num_classes": self.dataset.num_classes,
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "max_seconds": self.max_seconds,
        }
        file = io.BytesIO()
        np.savez_compressed(file, rest=json.dumps(rest), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Task:
        """The inverse of `to_bytes`; the test split is empty."""
        with np.load(io.BytesIO(content)) as arrays:
            rest = json.loads(str(arrays["rest"]))
            train, validation = (
                Split(arrays[f"{name}_images"], arrays[f"{name}_labels"])
                for name in ("train", "validation")
            )
            logits = arrays.get("teacher_logits")
        return cls(
            Dataset(
                rest["name"],
                rest["num_classes"],
                train,
                validation,
                validation[:0],
            ),
            Recipe(**rest["recipe"]),
            rest["seed"],
            logits,
            rest["max_seconds"],
        )
