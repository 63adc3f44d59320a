"""The whole compression, stage by stage, resumable; `compress` is its door.

    teacher -> corpus -> autoencoder -> search -> students -> controls -> report

Each stage reads what those before it left in the working directory, and is
skipped where it is done.  A stage that was killed goes on where it stopped:
labels are kept one by one, tuning trial by trial, trainings epoch by epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import time
from typing import Any

import keras
import ml_collections
import numpy as np

from archcomp_tf import baselines, datasets
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import check_tensorflow
from archcomp_tf.compression import search
from archcomp_tf.config import ConfigError, default_config, make_limits
from archcomp_tf.corpus import Record, write_records
from archcomp_tf.dashboards import write_search
from archcomp_tf.embedding import (
    keep_embedding,
    learn_embedding,
    learnt_embedding,
)
from archcomp_tf.environment import environment
from archcomp_tf.evaluation import proposals_spearman
from archcomp_tf.finals import Finals, folder_of
from archcomp_tf.fitting import MIN_LABELS
from archcomp_tf.forecast import forecast, forecast_lines
from archcomp_tf.labeling import LabelError
from archcomp_tf.limits import Limits
from archcomp_tf.objective import Objective, Tolerance
from archcomp_tf.outcome import write_outcome
from archcomp_tf.ranges import check_number
from archcomp_tf.run import Run
from archcomp_tf.samples import initial_samples
from archcomp_tf.teachers import TEACHERS
from archcomp_tf.teaching import forget_training, prepare_teacher
from archcomp_tf.training import Recipe

_LOGGER = logging.getLogger(__name__)

# Stage -> the binary that runs it alone, in the order of the flow.
STAGES = {
    "teacher": "bin/train_teacher.py",
    "corpus": "bin/label.py",
    "autoencoder": "bin/train_autoencoder.py",
    "search": "bin/search.py",
    "students": "bin/train_student.py",
    "controls": "bin/train_controls.py",
    "report": "bin/write_report.py",
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
    """Compresses a trained classifier.

    Args:
      teacher: images -> logits or probabilities, of two classes perhaps only
        that of the second, or the path of its `.keras` file; it is used as it
        is, not trained again.  Layers in front that scale or change images are
        kept, and decide whether it is given values from 0 to 1 or from 0 to
        255.
      dataset: arrays (images, labels) or a `tf.data.Dataset` of them, from
        which `datasets.from_arrays` cuts validation and test splits; or a tuple
        of two of them, training and test, or of three, validation between;
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
    check_number("seed", seed, 0, 2**32 - 1, whole=True)
    # The accuracy head needs some to learn from, and one is to be proposed.
    least = 1 if config.corpus else MIN_LABELS + 1
    check_number("num_labels", num_labels, least, whole=True)
    if not isinstance(objective, Limits | Objective):
        raise TypeError(
            "Expected an objective: LogParams, Tolerance, Budget, N2NReward or "
            "Limits (one of your own is for `search`, a config cannot hold "
            f"it); got {objective!r}."
        )
    if isinstance(teacher, str | os.PathLike):
        teacher = keras.models.load_model(teacher, compile=False)
    name, given = dataset, None
    if isinstance(dataset, os.PathLike):
        name = os.fspath(dataset)
    elif not isinstance(dataset, str):
        given = datasets.of(
            dataset,
            validation_fraction=config.validation_fraction,
            seed=int(seed),
        )
        name = given.name
    with config.unlocked():
        # Plain numbers, as JSON has them, of NumPy's.
        config.seed = int(seed)
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
            config.objective = {
                "name": type(objective).__name__,
                **{
                    field: np.asarray(value).item()
                    for field, value in dataclasses.asdict(objective).items()
                },
            }
    return Pipeline(config, workdir, teacher=teacher, dataset=given).run()


class Pipeline:
    """The stages of one compression in one working directory.

    Args:
      config: see `config.default_config`.
      workdir: the working directory.
      teacher: a trained model in place of the config's.
      dataset: a data set in place of the config's.

    Raises:
      ConfigError: a value of the config cannot be used.
      OtherConfigError: the working directory belongs to another config.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: str | os.PathLike,
        *,
        teacher: keras.Model | None = None,
        dataset: datasets.Dataset | None = None,
    ):
        self._run = Run(
            config, workdir, STAGES, teacher=teacher, dataset=dataset
        )
        self._finals = Finals(self._run)

    def run(self) -> CompressionResult:
        """Runs every stage that is not done; says first what there is to do."""
        with contextlib.closing(self):
            if steps := forecast(self._run):
                for line in forecast_lines(self._run, steps):
                    _LOGGER.info(line)
            for name in STAGES:
                getattr(self, name)()
        return self.result()

    def close(self) -> None:
        """Ends the labelling processes and lets go of the corpus."""
        self._run.close()

    def result(self) -> CompressionResult:
        """What a finished run gave.

        Raises:
          MissingStageError: the run is not finished.
        """
        results = self._run.stage("report")
        student = results["student"]
        folder = self._run.workdir.path / folder_of(student)
        return CompressionResult(
            keras.models.load_model(folder / "model.keras"),
            Architecture.parse(student["architecture"]),
            self._run.found().pareto,
            results,
            folder,
            pathlib.Path(self._run.path("report/report.html")),
        )

    def teacher(self) -> None:
        """Trains the teacher, or takes in one that is trained."""
        if self._is_done("teacher"):
            return
        with self._recorded("teacher") as record:
            record |= prepare_teacher(self._run)
        forget_training(self._run)

    def corpus(self) -> None:
        """Labels the samples that the search and its control start from."""
        self._run.stage("teacher")
        if self._is_done("corpus"):
            return
        with self._recorded("corpus") as record:
            run = self._run
            run.allowance.check()
            num_initial = run.num_initial(len(run.known))
            if num_initial:
                samples = initial_samples(
                    run.space,
                    num_initial,
                    run.seed,
                    run.allowance.excess,
                )
                run.labeler(samples)
            record["num_labels"] = num_initial
            if isinstance(run.final_objective, Tolerance):
                # What may be lost is lost from what the teacher's own layers
                # come to by the brief training of a label.
                (reference,) = run.labeler([run.teacher_architecture])
                if isinstance(reference, LabelError):
                    raise LabelError(
                        "Expected a label of the teacher's own layers, to "
                        f"count what may be lost from; got: {reference}"
                    )
                record["reference_accuracy"] = reference

    def autoencoder(self) -> None:
        """Learns the embedding of the space."""
        self._run.stage("corpus")
        if self._is_done("autoencoder"):
            return
        with self._recorded("autoencoder") as record:
            record |= learn_embedding(self._run)

    def search(self) -> None:
        """Rounds of descent and labelling; chooses the student."""
        self._run.stage("autoencoder")
        num_initial = self._run.stage("corpus")["num_labels"]
        if self._is_done("search"):
            return
        with self._recorded("search") as record:
            settings = self._run.config.labels
            autoencoder = learnt_embedding(self._run)
            result = search(
                self._run.space,
                self._run.labeler,
                num_labels=settings.num_labels,
                objective=self._run.objective,
                seed=self._run.seed,
                teacher=self._run.teacher_architecture,
                known=self._run.known,
                keeps=self._run.allowance.keeps,
                excess=self._run.allowance.excess,
                num_initial=num_initial,
                labels_a_round=settings.labels_a_round,
                **self._run.config.search,
                autoencoder=autoencoder,
            )
            write_search(self._run.path("tensorboard"), result)
            keep_embedding(self._run, autoencoder, result)
            with self._run.workdir.replacing("search/records.jsonl") as path:
                write_records(path, result.history)
            self._finals.check_costs(result)
            best = self._finals.best(result)
            record |= {
                "num_labels": len(result.history) - len(self._run.known),
                "num_known": len(self._run.known),
                "num_rounds": len(result.traces),
                "best": best.architecture.to_dict(),
                "predictions": result.predictions,
                "accuracy_spearman": proposals_spearman(result),
                "pareto": [
                    {
                        "architecture": str(r.architecture.compact),
                        "accuracy": r.accuracy,
                        "num_params": r.num_params,
                    }
                    for r in result.pareto
                ],
            }

    def students(self) -> None:
        """Tunes the student's recipe and trains the student."""
        found = self._run.stage("search")
        if self._is_done("students"):
            return
        best = Architecture.from_dict(found["best"]).compact
        with self._recorded("students") as record:
            recipe, record["trials"] = self._finals.tuned_recipe(best)
            record["recipe"] = dataclasses.asdict(recipe)
            record |= self._finals.student(best, recipe)
            record["predicted_accuracy"] = found["predictions"].get(
                record["fingerprint"]
            )

    def controls(self) -> None:
        """Trains what the student is to be held against, by its recipe."""
        student = self._run.stage("students")
        if self._is_done("controls"):
            return
        run = self._run
        with self._recorded("controls") as record:
            around = run.named_architecture
            teacher, size = run.teacher_architecture, student["num_params"]
            swapped = run.space.swapped(teacher)

            def scaled(network):
                return baselines.scaled_to(
                    network, size, run.space.count_params
                )

            random = baselines.random_search(
                run.space,
                run.labeler,
                num_labels=run.stage("search")["num_labels"],
                objective=run.objective,
                seed=run.seed,
                keeps=run.within_budget,
                excess=run.allowance.excess,
            )
            networks = {
                "around_scaled" if around else "width_scaled": scaled(teacher),
                "random_search": self._finals.best(random).architecture.compact,
                **{
                    name: TEACHERS.get(name)
                    or scaled(swapped.get(name, [teacher])[0])
                    for name in run.config.student.controls
                },
            }
            record["networks"] = self._finals.trained(
                networks, Recipe(**student["recipe"])
            )

    def report(self) -> None:
        """Exports the student, reads the test split, once, and reports."""
        stages = {name: self._run.stage(name) for name in list(STAGES)[:-1]}
        if self._is_done("report"):
            return
        check_tensorflow("The report, with the files that it measures,")
        results = write_outcome(self._run, stages)
        self._run.workdir.finish_stage("report", results)
        _LOGGER.info("report: %s", self._run.path("report/report.html"))

    def _is_done(self, name: str) -> bool:
        done = self._run.workdir.find_stage(name) is not None
        _LOGGER.info("stage %s: %s", name, "done before" if done else "starts")
        return done

    @contextlib.contextmanager
    def _recorded(self, name: str):
        """Collects a stage's record, says what it took, and marks it done."""
        start, record = time.monotonic(), {}
        yield record
        record["seconds"] = round(time.monotonic() - start, 2)
        record["environment"] = environment()
        self._run.workdir.finish_stage(name, record)
