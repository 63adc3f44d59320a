"""The whole compression, stage by stage, resumable; `compress` is its door.

    teacher -> corpus -> autoencoder -> search -> students -> controls -> report

Each stage reads what those before it left in the working directory, and is
skipped where it is done.  A stage that was killed goes on where it stopped:
labels are kept one by one, tuning trial by trial.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import os
import shutil
import time
from collections.abc import Mapping
from typing import Any

import keras
import ml_collections
import numpy as np
import scipy.stats

from archcomp_tf import baselines, cost, datasets
from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.compression import search
from archcomp_tf.config import ConfigError, default_config, make_objective
from archcomp_tf.corpus import OK, Corpus, Record
from archcomp_tf.evaluation import exact_reconstruction, params_error
from archcomp_tf.export import export_embedding, export_saved_model, save_keras
from archcomp_tf.fitting import (
    MIN_LABELS,
    check_num_labels,
    fit_autoencoder,
    fit_ensemble_head,
    unlabelled_mix,
)
from archcomp_tf.importer import from_keras
from archcomp_tf.labeling import Labeler, Task, take_chief_address
from archcomp_tf.ledger import SearchResult, initial_samples
from archcomp_tf.objective import Objective
from archcomp_tf.report import assemble_results, results_text, write_scalars
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.students import StudentTrainer
from archcomp_tf.teachers import TEACHERS
from archcomp_tf.training import (
    Recipe,
    TrainingResult,
    accuracy,
    build_and_train,
    check_fit,
    teacher_logits,
)
from archcomp_tf.tuning import RecipeTuner
from archcomp_tf.workdir import WorkingDirectory

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
_SEEDS_APART = 1000  # between two trainings of one network
_NUM_HELD_OUT = 1000  # architectures on which the embedding is judged


@dataclasses.dataclass(frozen=True)
class CompressionResult:
    """What a compression gives.

    Attributes:
      student: the small trained network, float images in [0, 1] -> logits.
      architecture: of the student.
      results: the contents of report/results.json.
    """

    student: keras.Model
    architecture: Architecture
    results: dict[str, Any]


def compress(
    teacher: keras.Model,
    dataset: datasets.Dataset | str,
    *,
    objective: Objective,
    num_labels: int,
    workdir: str | os.PathLike,
    seed: int = 0,
    config: ml_collections.ConfigDict | None = None,
) -> CompressionResult:
    """Compresses a trained classifier.

    Args:
      teacher: float images in [0, 1] -> logits or probabilities; it is used
        as it is, not trained again.
      dataset: a data set, or a name for `datasets.load`.
      objective: what to look for.
      num_labels: how many networks are trained for the search.
      workdir: where everything is left; a run that was killed goes on there.
      seed: of everything random.
      config: for what is not an argument here; see `default_config`.

    Returns:
      The student, its architecture, and the report's results.
    """
    config = (
        config.copy_and_resolve_references() if config else default_config()
    )
    name = dataset if isinstance(dataset, str) else dataset.name
    with config.unlocked():
        config.seed = seed
        config.dataset = name
        config.labels.num_labels = num_labels
        # Half of few labels are for the samples, the others for the rounds.
        config.labels.num_initial = min(
            config.labels.num_initial, max(MIN_LABELS, num_labels // 2)
        )
        config.objective = {
            "name": type(objective).__name__,
            **dataclasses.asdict(objective),
        }
    pipeline = Pipeline(
        config,
        workdir,
        teacher=teacher,
        dataset=None if isinstance(dataset, str) else dataset,
    )
    return pipeline.run()


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
        self._config = config
        self._seed = config.seed
        self._given_teacher = teacher
        self._given_dataset = dataset
        check_num_labels(config.labels.num_initial)
        if config.labels.num_initial > config.labels.num_labels:
            raise ConfigError(
                f"Expected labels.num_labels to be at least labels.num_initial"
                f" = {config.labels.num_initial}; got "
                f"{config.labels.num_labels}."
            )
        make_objective(
            config.objective, reference_accuracy=1, reference_params=1
        )
        self._chief_address = take_chief_address()
        self._workdir = WorkingDirectory(workdir, config.to_dict())

    def run(self) -> CompressionResult:
        """Runs every stage that is not done."""
        with contextlib.closing(self):
            for name in STAGES:
                getattr(self, name)()
        return self.result()

    def close(self) -> None:
        """Ends the labelling processes and lets go of the corpus."""
        if "_labeler" in self.__dict__:
            self._labeler.close()
            del self._labeler
        if "_corpus" in self.__dict__:
            self._corpus.close()

    def result(self) -> CompressionResult:
        """What a finished run gave.

        Raises:
          MissingStageError: the run is not finished.
        """
        results = self._stage("report")
        student = results["student"]
        return CompressionResult(
            keras.models.load_model(
                self._path(f"{_folder(student)}/model.keras")
            ),
            Architecture.parse(student["architecture"]),
            results,
        )

    def teacher(self) -> None:
        """Trains the teacher, or takes in one that is trained."""
        if self._is_done("teacher"):
            return
        with self._timed("teacher") as record:
            model = self._given_teacher or self._trained_teacher()
            check_fit(model, self._dataset)
            architecture = from_keras(model)
            with self._workdir.replacing("teacher/model.keras") as path:
                save_keras(model, path)
            with self._workdir.replacing("teacher/logits.npy") as path:
                images = self._dataset.train.images
                np.save(path, teacher_logits(model, images))
            record |= self._described(architecture)
            record["num_params"] = model.count_params()
            record["validation_accuracy"] = accuracy(
                model, self._dataset.validation
            )
        self._teacher_checkpoint.remove()

    def corpus(self) -> None:
        """Labels the samples that the search and its control start from."""
        self._stage("teacher")
        if self._is_done("corpus"):
            return
        with self._timed("corpus") as record:
            samples = initial_samples(
                self._space, self._config.labels.num_initial, self._seed
            )
            self._labeler(samples)
            record["num_labels"] = len(samples)

    def autoencoder(self) -> None:
        """Learns the embedding of the space."""
        self._stage("corpus")
        if self._is_done("autoencoder"):
            return
        settings = self._config.autoencoder.to_dict()
        mode, epochs = settings.pop("mode"), settings.pop("epochs")
        num_architectures = settings.pop("num_architectures")
        with self._timed("autoencoder") as record:
            keras.utils.set_random_seed(self._seed)
            autoencoder = ArchitectureAutoencoder(self._space, **settings)
            rng = np.random.default_rng(self._seed)
            mix = unlabelled_mix(
                self._space,
                [self._teacher_architecture],
                num_architectures + _NUM_HELD_OUT,
                rng,
            )
            # Shuffled, since samples come before mutations in the mix.
            mix = [mix[i] for i in rng.permutation(len(mix))]
            held_out, seen = mix[:_NUM_HELD_OUT], mix[_NUM_HELD_OUT:]
            history = fit_autoencoder(
                autoencoder,
                seen,
                # Several workers leave records in any order.
                sorted(self._corpus, key=lambda record: record.key),
                self._count_params,
                seed=self._seed,
                epochs=epochs,
                mode=mode,
                callbacks=[
                    keras.callbacks.TensorBoard(
                        self._path("tensorboard/autoencoder"), write_graph=False
                    )
                ],
            )
            with self._workdir.replacing("autoencoder/model.keras") as path:
                autoencoder.save(path)
            record |= {
                "exact_reconstruction": exact_reconstruction(
                    autoencoder, held_out
                ),
                "params_mape": params_error(
                    autoencoder, held_out, self._count_params
                ),
                "reconstruction_loss": history["logits_loss"][-1],
            }

    def search(self) -> None:
        """Rounds of descent and labelling; chooses the student."""
        self._stage("autoencoder")
        if self._is_done("search"):
            return
        with self._timed("search") as record:
            settings = self._config.labels
            autoencoder = keras.models.load_model(
                self._path("autoencoder/model.keras"), compile=False
            )
            result = search(
                self._space,
                self._labeler,
                num_labels=settings.num_labels,
                objective=self._objective,
                seed=self._seed,
                teacher=self._teacher_architecture,
                num_initial=settings.num_initial,
                labels_a_round=settings.labels_a_round,
                autoencoder=autoencoder,
                mode=self._config.autoencoder.mode,
            )
            self._write_search_scalars(result)
            self._export_embedding(autoencoder, result)
            best = self._finalist(result)
            record |= {
                "num_labels": len(result.history),
                "num_rounds": len(result.traces),
                "best": best.architecture.to_dict(),
                "best_accuracy": best.accuracy,
                "predicted_accuracy": result.predictions.get(
                    best.architecture.fingerprint
                ),
                "accuracy_spearman": _spearman(result),
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
        """Tunes the student's recipe, trains the student, exports it."""
        best = Architecture.from_dict(self._stage("search")["best"]).compact
        if self._is_done("students"):
            return
        with self._timed("students") as record:
            settings = self._config.student
            tuner = RecipeTuner(
                best,
                self._dataset,
                Recipe(**settings.recipe),
                self._teacher_logits,
                num_trials=settings.num_tuning_trials,
                seed=self._seed,
                directory=self._path(f"students/{best.fingerprint}"),
            )
            recipe = tuner.best()
            write_scalars(
                self._path("tensorboard/tuning"),
                {"tuning/validation_accuracy": tuner.accuracies},
            )
            record |= self._trained({"student": best}, recipe)["student"]
            record["recipe"] = dataclasses.asdict(recipe)
            record["predicted_accuracy"] = self._stage("search")[
                "predicted_accuracy"
            ]

    def controls(self) -> None:
        """Trains what the student is to be held against, by its recipe."""
        student = self._stage("students")
        if self._is_done("controls"):
            return
        with self._timed("controls") as record:
            recipe = Recipe(**student["recipe"])
            scaled = baselines.scaled_to(
                self._teacher_architecture,
                student["num_params"],
                self._count_params,
            )
            random = baselines.random_search(
                self._space,
                self._labeler,
                num_labels=self._stage("search")["num_labels"],
                objective=self._objective,
                seed=self._seed,
            )
            networks = {
                "width_scaled": scaled,
                "random_search": self._finalist(random).architecture.compact,
                **{n: TEACHERS[n] for n in self._config.student.controls},
            }
            record |= self._trained(networks, recipe)
            for name in networks:
                record[name]["predicted_accuracy"] = None

    def report(self) -> None:
        """Reads the test split, once, and writes the report."""
        stages = {name: self._stage(name) for name in list(STAGES)[:-1]}
        if self._is_done("report"):
            return
        # The one place where the test split is looked at.
        accuracies = {
            name: [self._test_accuracy(path) for path in paths]
            for name, paths in {
                "teacher": ["teacher/model.keras"],
                "student": stages["students"]["trainings"],
                **{
                    name: control["trainings"]
                    for name, control in stages["controls"].items()
                    if name != "seconds"
                },
            }.items()
        }
        results = assemble_results(
            self._config.to_dict(), self._dataset.name, stages, accuracies
        )
        self._workdir.write_json("report/results.json", results)
        with self._workdir.replacing("report/RESULTS.md") as path:
            path.write_text(results_text(results))
        self._workdir.finish_stage("report", results)
        _LOGGER.info("report: %s", self._path("report/RESULTS.md"))

    # What the stages share.

    @functools.cached_property
    def _dataset(self) -> datasets.Dataset:
        return self._given_dataset or datasets.load(
            self._config.dataset,
            validation_fraction=self._config.validation_fraction,
            seed=self._seed,
            data_dir=self._config.data_dir or None,
        )

    @functools.cached_property
    def _teacher_checkpoint(self) -> Checkpoint:
        # Another recipe is another config, which the directory refuses.
        return Checkpoint(self._path("teacher/training.npz"), "teacher")

    @functools.cached_property
    def _teacher_architecture(self) -> Architecture:
        return Architecture.parse(self._stage("teacher")["architecture"])

    @functools.cached_property
    def _teacher_logits(self) -> np.ndarray | None:
        if not self._config.labels.distil:
            return None
        return np.load(self._path("teacher/logits.npy"))

    @functools.cached_property
    def _space(self) -> SearchSpace:
        return SearchSpace.around(
            self._teacher_architecture,
            self._dataset.input_shape,
            self._dataset.num_classes,
            num_widths=self._config.space.num_widths,
            min_width=self._config.space.min_width,
        )

    @functools.cached_property
    def _objective(self) -> Objective:
        teacher = self._stage("teacher")
        return make_objective(
            self._config.objective,
            reference_accuracy=teacher["validation_accuracy"],
            reference_params=teacher["num_params"],
        )

    @functools.cached_property
    def _corpus(self) -> Corpus:
        return Corpus(self._path("corpus/records.jsonl"))

    @functools.cached_property
    def _labeler(self) -> Labeler:
        task = Task(
            self._dataset,
            Recipe(**self._config.labels.recipe),
            self._seed,
            self._teacher_logits,
            self._config.labels.max_seconds,
        )
        return Labeler(
            task,
            self._corpus,
            num_workers=self._config.num_workers,
            address=self._chief_address,
        )

    def _count_params(self, architecture: Architecture) -> int:
        return cost.num_params(
            architecture, self._dataset.input_shape, self._dataset.num_classes
        )

    def _described(self, architecture: Architecture) -> dict[str, Any]:
        shape = self._dataset.input_shape, self._dataset.num_classes
        return {
            "architecture": str(architecture),
            "fingerprint": architecture.fingerprint,
            "num_params": cost.num_params(architecture, *shape),
            "num_flops": cost.num_flops(architecture, *shape),
        }

    def _trained_teacher(self) -> keras.Model:
        settings = self._config.teacher
        if bool(settings.model) == bool(settings.architecture):
            raise ConfigError(
                "Expected one of teacher.architecture and teacher.model; got "
                f"{settings.architecture!r} and {settings.model!r}."
            )
        if settings.model:
            return keras.models.load_model(settings.model)
        model, result = build_and_train(
            Architecture.parse(settings.architecture),
            self._dataset,
            Recipe(**settings.recipe),
            seed=self._seed,
            stage="teacher epoch",
            checkpoint=self._teacher_checkpoint,
        )
        self._write_losses("teacher", result)
        return model

    def _finalist(self, result: SearchResult) -> Record:
        """The best of a search, after its best few are trained for longer.

        The first of many labels after a brief training is, often enough, only
        the luckiest; the mean over both trainings is less so.
        """
        settings = self._config.student
        finalists = result.ranked[: settings.num_finalists]
        accuracies = self._labeler(
            [record.architecture for record in finalists],
            Recipe(**settings.recipe),
        )
        trained = [
            dataclasses.replace(
                record, accuracy=(record.accuracy + accuracy) / 2
            )
            for record, accuracy in zip(finalists, accuracies, strict=True)
            if not math.isnan(accuracy)
        ]
        return max(trained, key=result.score, default=result.best)

    def _trained(
        self, networks: Mapping[str, Architecture], recipe: Recipe
    ) -> dict[str, dict[str, Any]]:
        """Trains networks, exports the best of each, and says what they are.

        Of several trainings the best on validation data is the network that
        is given; the others tell how much of its accuracy was luck.
        """
        trainer = StudentTrainer(
            self._dataset,
            self._teacher_logits,
            seeds=[
                self._seed + _SEEDS_APART * index
                for index in range(self._config.student.num_seeds)
            ],
            directory=self._path("students"),
            num_workers=max(1, self._config.num_workers),
        )
        records = {}
        for name, trained in trainer(networks, recipe).items():
            record = records[name] = self._described(networks[name])
            accuracies = [r.validation_accuracy for r in trained.results]
            best = trained.paths[trained.best]
            record |= {
                "validation_accuracy": max(accuracies),
                "validation_accuracies": accuracies,
                "best": trained.best,
                "trainings": [
                    os.fspath(path.relative_to(self._workdir.path))
                    for path in trained.paths
                ],
            }
            folder = _folder(record)
            with self._workdir.replacing(f"{folder}/model.keras") as path:
                shutil.copy(best, path)
            with self._workdir.replacing(f"{folder}/saved_model") as path:
                export_saved_model(keras.models.load_model(best), path)
            for index, result in enumerate(trained.results):
                self._write_losses(f"{name}_{index}", result)
        return records

    def _test_accuracy(self, name: str) -> float:
        model = keras.models.load_model(self._path(name))
        return accuracy(model, self._dataset.test)

    def _export_embedding(
        self, autoencoder: ArchitectureAutoencoder, result: SearchResult
    ) -> None:
        """Leaves the embedding as a SavedModel, its head knowing all labels."""
        fit_ensemble_head(
            autoencoder,
            autoencoder.accuracy_head,
            result.history,
            seed=self._seed,
        )
        with self._workdir.replacing("search/embedding") as path:
            export_embedding(autoencoder, path, type(self._objective))

    def _write_losses(self, name: str, result: TrainingResult) -> None:
        write_scalars(
            self._path(f"tensorboard/{name}"), {"epoch_loss": result.losses}
        )

    def _write_search_scalars(self, result: SearchResult) -> None:
        labelled = [r for r in result.history if r.status == OK]
        write_scalars(
            self._path("tensorboard/labels"),
            {
                "label/accuracy": [r.accuracy for r in labelled],
                "label/log10_params": [
                    float(np.log10(r.num_params)) for r in labelled
                ],
                "label/objective": [result.score(r) for r in labelled],
            },
        )
        for index, trace in enumerate(result.traces):
            write_scalars(
                self._path(f"tensorboard/descent_{index}"),
                {"descent/objective": trace},
            )

    def _path(self, name: str) -> str:
        return os.fspath(self._workdir.path / name)

    def _stage(self, name: str) -> dict[str, Any]:
        return self._workdir.stage(name, STAGES[name])

    def _is_done(self, name: str) -> bool:
        done = self._workdir.find_stage(name) is not None
        _LOGGER.info("stage %s: %s", name, "done before" if done else "starts")
        return done

    @contextlib.contextmanager
    def _timed(self, name: str):
        """Collects a stage's record, and its seconds, and marks it done."""
        start, record = time.monotonic(), {}
        yield record
        record["seconds"] = round(time.monotonic() - start, 2)
        self._workdir.finish_stage(name, record)


def _folder(network: dict[str, Any]) -> str:
    """Where in the working directory a student or a control lies."""
    return f"students/{network['fingerprint']}"


def _spearman(result: SearchResult) -> float | None:
    """Rank correlation of the accuracies predicted and then labelled.

    None where fewer than two proposals were labelled, or all alike.
    """
    pairs = [
        (result.predictions[r.architecture.fingerprint], r.accuracy)
        for r in result.history
        if r.status == OK and r.architecture.fingerprint in result.predictions
    ]
    if len(pairs) < 2 or any(len(set(v)) < 2 for v in zip(*pairs, strict=True)):
        return None
    return float(scipy.stats.spearmanr(*zip(*pairs, strict=True)).statistic)
