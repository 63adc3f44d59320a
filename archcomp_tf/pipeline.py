"""The whole compression, stage by stage, resumable; `compress` is its door.

    teacher -> corpus -> autoencoder -> search -> students -> controls -> report

Each stage reads what those before it left in the working directory, and is
skipped where it is done.  A stage that was killed goes on where it stopped:
labels are kept one by one, tuning trial by trial, trainings epoch by epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import ml_collections
import numpy as np

from archcomp_tf import datasets
from archcomp_tf.architecture import Architecture
from archcomp_tf.config import (
    ConfigError,
    default_config,
    make_limits,
    objective_config,
)
from archcomp_tf.controls import train_controls
from archcomp_tf.corpus import Record
from archcomp_tf.embedding import learn_embedding
from archcomp_tf.environment import environment
from archcomp_tf.finals import folder_of, train_student
from archcomp_tf.forecast import forecast, forecast_lines
from archcomp_tf.given_teacher import load_teacher
from archcomp_tf.keras_graph import ends
from archcomp_tf.limits import Limits
from archcomp_tf.objective import Objective
from archcomp_tf.outcome import PAGE, RESULTS, write_outcome
from archcomp_tf.progress import shown
from archcomp_tf.ranges import check_number, plain_seed
from archcomp_tf.run import Run
from archcomp_tf.searching import label_samples, run_search
from archcomp_tf.teaching import prepare_teacher
from archcomp_tf.workdir import STAGES

_LOGGER = logging.getLogger(__name__)

# Stage -> what it does: takes the run, and gives what its record says.
_WORK: dict[str, Callable[[Run], dict[str, Any]]] = {
    "teacher": prepare_teacher,
    "corpus": label_samples,
    "autoencoder": learn_embedding,
    "search": run_search,
    "students": train_student,
    "controls": train_controls,
    "report": write_outcome,
}


@dataclasses.dataclass(frozen=True)
class CompressionResult:
    """What a compression gives.

    Attributes:
      student: the small trained network; it takes what the teacher takes, and
        gives logits.
      architecture: of the student.
      pareto: labelled networks that keep to the limits and that no other of
        these beats in accuracy and parameters, the smallest first; accuracies
        are those of a label's brief training.
      results: the contents of report/results.json.
      folder: where the student's files lie: model.keras, saved_model, litert.
      report: path of report.html.
    """

    student: keras.Model
    architecture: Architecture
    # A run's records and results are pages long.
    pareto: tuple[Record, ...] = dataclasses.field(repr=False)
    results: dict[str, Any] = dataclasses.field(repr=False)
    folder: pathlib.Path
    report: pathlib.Path


def compress(
    teacher: keras.Model | str | os.PathLike,
    dataset: datasets.Dataset | str | os.PathLike | tuple | Any,
    *,
    objective: Objective | Limits,
    num_labels: int,
    workdir: str | os.PathLike,
    seed: int = 0,
    config: ml_collections.ConfigDict | None = None,
) -> CompressionResult:
    """Compresses a trained classifier, and says how far it is.

    On stderr, by the logger "archcomp_tf", unless that has a level of its own.

    Args:
      teacher: images -> logits or probabilities, of two classes perhaps only
        that of the second, or the path of its `.keras` file; it is used as it
        is, not trained again.  Layers in front that scale or change images are
        kept, and decide whether it is given values from 0 to 1 or from 0 to
        255.
      dataset: arrays (images, labels) or a `tf.data.Dataset` of them, from
        which validation and test splits are cut; or a tuple of two of them,
        training and test, or of three, validation between, see `datasets.of`;
        or a name or an `.npz` file for `datasets.load`; or a `Dataset`.
      objective: what to look for, or `Limits` that the student must keep to.
      num_labels: how many networks are trained for the search.
      workdir: where everything is left; a run that was killed goes on there.
      seed: of everything random.
      config: for what is not an argument here; see `default_config`.

    Returns:
      The student, its architecture, and the report's results.

    Raises:
      TypeError: the objective is none of these.
      ValueError: the seed or the number of labels makes no sense.
      ConfigError: a value of the config cannot be used, or it has limits of its
        own beside the objective.
      OtherConfigError: the working directory belongs to a run with another
        config, other images or another teacher.
      BlockingIOError: another process is running in it.
      BackendError: a limit or the report needs TensorFlow.
      DataError: the data cannot be used.
      UnsupportedModelError: names the layer of the teacher that cannot be
        read, where `config.space.around` names no other network.
      LabelError: a drop of accuracy is limited, and the teacher's own layers,
        from which it would be counted, cannot be labelled.
      EvaluationError: most labels failed; it holds those that did not.
      LimitError: no network that was found keeps to the limits, before any is
        trained where that can be known; says which is the nearest.
    """
    config = (
        config.copy_and_resolve_references() if config else default_config()
    )
    seed = plain_seed(seed)
    check_number("num_labels", num_labels, 1, whole=True)
    if not isinstance(objective, Limits | Objective):
        raise TypeError(
            "Expected an objective: LogParams, Tolerance, Budget, N2NReward or "
            "Limits (one of your own is for `search`, a config cannot hold "
            f"it); got {objective!r}."
        )
    if isinstance(teacher, str | os.PathLike):
        teacher = load_teacher(teacher)
    ends(teacher)  # refuses what is no model, or has no graph
    name, given = dataset, None
    if isinstance(dataset, os.PathLike):
        name = os.fspath(dataset)
    elif not isinstance(dataset, str):
        given = datasets.of(
            dataset,
            validation_fraction=config.validation_fraction,
            seed=seed,
        )
        name = given.name
    with config.unlocked():
        # Plain numbers, as JSON has them, of NumPy's.
        config.seed = seed
        config.dataset = name
        config.labels.num_labels = int(num_labels)
        if limits := make_limits(config.limits):
            raise ConfigError(
                "Expected limits as the objective alone; got "
                f"config.limits = {limits.given} beside {objective}."
            )
        if isinstance(objective, Limits):
            config.limits.update(objective.given)
        else:
            fields = dataclasses.asdict(objective)
            config.objective = objective_config(
                type(objective).__name__,
                **{name: np.asarray(v).item() for name, v in fields.items()},
            )
    with shown():
        return run_stages(Run(config, workdir, teacher=teacher, dataset=given))


def run_stages(run: Run) -> CompressionResult:
    """Runs every stage that is not done, and says first what there is to do.

    The run is closed at the end.
    """
    with contextlib.closing(run):
        run.check_workers()
        if steps := forecast(run):
            for line in forecast_lines(run, steps):
                _LOGGER.info(line)
        for name in STAGES:
            run_stage(run, name)
    return _result(run)


def run_stage(run: Run, name: str) -> None:
    """Runs a stage of `STAGES`, unless it is done.

    Raises:
      MissingStageError: one before it is not done.
      BlockingIOError: another process is running one.
    """
    for before in itertools.takewhile(lambda other: other != name, STAGES):
        run.stage(before)
    with run.workdir.locked():
        if run.workdir.find_stage(name) is not None:
            _LOGGER.info("stage %s: done before", name)
            return
        _LOGGER.info("stage %s: starts", name)
        start = time.monotonic()
        record = _WORK[name](run)
        record["seconds"] = round(time.monotonic() - start, 2)
        record["environment"] = environment()
        run.workdir.finish_stage(name, record)


def _result(run: Run) -> CompressionResult:
    """What a finished run gave."""
    results = run.workdir.read_json(RESULTS)
    student = results["student"]
    folder = run.workdir.path / folder_of(student)
    return CompressionResult(
        keras.models.load_model(folder / "model.keras"),
        Architecture.parse(student["architecture"]),
        run.found().pareto,
        results,
        folder,
        run.workdir.path / PAGE,
    )
