"""Trains the networks that are kept: the student and what it is held against.

Each is trained from several seeds, side by side where there are several
processes.  A training that is done is found again, one that was killed goes
on, and one that diverged leaves the network as it was before:

    <fingerprint>/<recipe>/seed_<N>.keras    the network, trained from seed N
    <fingerprint>/<recipe>/seed_<N>.json     what came out of that training
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.atomic import replacing
from archcomp_tf.backend import dtype_policy
from archcomp_tf.builder import build
from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.datasets import Dataset
from archcomp_tf.export import save_keras
from archcomp_tf.inference import accuracy
from archcomp_tf.processes import Shared, run_jobs
from archcomp_tf.progress import Progress
from archcomp_tf.training import (
    DivergedError,
    Recipe,
    TrainingResult,
    build_and_train,
)

_LOGGER = logging.getLogger(__name__)

_FOLLOW_SECONDS = 30.0  # between two lines while no training ends


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """One network, trained from several seeds.

    Attributes:
      paths: of the `.keras` files, one a seed.
      results: what came out of each training.
    """

    paths: tuple[pathlib.Path, ...]
    results: tuple[TrainingResult, ...]

    @property
    def mean_accuracy(self) -> float:
        """Of all trainings, on validation data."""
        return float(np.mean([r.validation_accuracy for r in self.results]))

    @property
    def best(self) -> int:
        """The place of the training with the highest validation accuracy."""
        accuracies = [result.validation_accuracy for result in self.results]
        return int(np.argmax(accuracies))


class StudentTrainer:
    """Trains networks on one data set and keeps them.

    Args:
      dataset: trained on its train split, judged on its validation split.
      teacher_logits: `[len(dataset.train), num_classes]`, or None.
      seeds: of the trainings of each network.
      directory: where networks are kept.
      num_workers: 1 trains in this process; more train as many networks at
        once, in processes that share the cores.
    """

    def __init__(
        self,
        dataset: Dataset,
        teacher_logits: np.ndarray | None,
        *,
        seeds: Sequence[int],
        directory: str | os.PathLike,
        num_workers: int = 1,
    ):
        self._dataset = dataset
        self._teacher_logits = teacher_logits
        self._seeds = tuple(seeds)
        self._directory = pathlib.Path(directory)
        self._num_workers = num_workers

    def __call__(
        self, networks: Mapping[str, Architecture], recipe: Recipe
    ) -> dict[str, TrainedNetwork]:
        """Trains networks, those whose training is done excepted.

        Args:
          networks: what to train, by what it is called in the log.
          recipe: how.

        Returns:
          The networks by the same names.

        Raises:
          WorkerError: a training process ended before its work was done.
        """
        jobs = {
            (name, seed): _Job(
                architecture, recipe, seed, self._directory, name
            )
            for name, architecture in networks.items()
            for seed in self._seeds
        }
        # The same network under two names is trained once.
        different = {job.path: job for job in jobs.values()}
        todo = [job for job in different.values() if job.result() is None]
        if todo:
            self._run(todo, min(self._num_workers, len(different)))
        return {
            name: TrainedNetwork(
                tuple(jobs[name, seed].path for seed in self._seeds),
                tuple(jobs[name, seed].result() for seed in self._seeds),
            )
            for name in networks
        }

    def _run(self, jobs: list[_Job], num_workers: int) -> None:
        """Trains networks.

        Args:
          jobs: the trainings that are not done.
          num_workers: how many share the cores; what was done before counts,
            since another number of threads rounds differently.
        """
        if num_workers == 1:
            for job in jobs:
                stage = f"{job.name}, seed {job.seed}, epoch"
                job.run(self._dataset, self._teacher_logits, stage=stage)
            return
        progress = Progress("training", len(jobs))
        # Sent once, not with each job.
        trained_on = Shared((self._dataset.without_test, self._teacher_logits))
        with contextlib.closing(
            run_jobs(_run_job, jobs, trained_on, num_workers)
        ) as news:
            _follow(progress, jobs, news)


@dataclasses.dataclass(frozen=True)
class _Job:
    """One training of one network."""

    architecture: Architecture
    recipe: Recipe
    seed: int
    directory: pathlib.Path
    name: str

    @property
    def path(self) -> pathlib.Path:
        folder = self.directory / self.architecture.fingerprint
        return folder / self.recipe.name / f"seed_{self.seed}.keras"

    def result(self) -> TrainingResult | None:
        """What came out of it; None where it is not done."""
        path = self.path.with_suffix(".json")
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        return TrainingResult(**record | {"losses": tuple(record["losses"])})

    def run(
        self,
        dataset: Dataset,
        teacher_logits: np.ndarray | None,
        **options: Any,
    ) -> TrainingResult:
        """Trains the network and keeps it.

        Args:
          dataset: see `StudentTrainer`.
          teacher_logits: see there.
          **options: of `train`, by which it says how far it is.
        """
        checkpoint = Checkpoint(
            self.path.with_name(f"seed_{self.seed}.npz"), self.recipe.name
        )
        try:
            model, result = build_and_train(
                self.architecture,
                dataset,
                self.recipe,
                seed=self.seed,
                teacher_logits=teacher_logits,
                checkpoint=checkpoint,
                **options,
            )
        except DivergedError as error:
            # Others are better than a network that was never trained.
            _LOGGER.warning("%s", error)
            shape = dataset.input_shape, dataset.num_classes
            with dtype_policy("float32"):
                model = build(self.architecture, *shape)
            result = TrainingResult(accuracy(model, dataset.validation), 0.0)
        with replacing(self.path) as path:
            save_keras(model, path)
        # The record last: what it says is there when it is there.
        record = json.dumps(dataclasses.asdict(result), indent=2)
        with replacing(self.path.with_suffix(".json")) as path:
            path.write_text(record + "\n")
        checkpoint.remove()
        return result


def _follow(
    progress: Progress,
    jobs: Sequence[_Job],
    news: Iterable[tuple[int, bool, Any]],
) -> None:
    """Says how far trainings in other processes are.

    Args:
      progress: of all of them.
      jobs: the trainings.
      news: of `run_jobs`: how many epochs of each are done, and its result.
    """
    done = [0.0] * len(jobs)
    last_line = time.monotonic()
    for place, ended, value in news:
        job = jobs[place]
        done[place] = 1.0 if ended else value / job.recipe.epochs
        now = time.monotonic()
        if ended:
            progress.reach(
                sum(done),
                f"{job.name}, seed {job.seed}, "
                f"validation {value.validation_accuracy:.2%}",
            )
        elif now - last_line >= _FOLLOW_SECONDS:
            progress.reach(sum(done))
        else:
            continue
        last_line = now


def _run_job(
    trained_on: tuple[Dataset, np.ndarray | None],
    job: _Job,
    tell: Callable[[int], None],
) -> TrainingResult:
    return job.run(*trained_on, on_epoch=tell)
