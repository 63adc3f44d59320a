"""What the stages of one compression share: data, teacher, space, labels.

Nothing here is read, built or started before a stage asks for it.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from typing import Any

import keras
import ml_collections
import numpy as np

from archcomp_tf import cost, datasets
from archcomp_tf.allowance import Allowance
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import check_tensorflow
from archcomp_tf.config import (
    ConfigError,
    check_config,
    make_limits,
    make_objective,
    make_space,
)
from archcomp_tf.corpus import OK, Corpus, Record, check_sizes, write_records
from archcomp_tf.datasets import Dataset
from archcomp_tf.given_teacher import (
    checked,
    file_digest,
    load_teacher,
    model_digest,
)
from archcomp_tf.importer import from_keras
from archcomp_tf.keras_graph import UnsupportedModelError
from archcomp_tf.labeling import Labeler
from archcomp_tf.layer import Shape
from archcomp_tf.ledger import SearchResult
from archcomp_tf.limits import MEASURED, Limits
from archcomp_tf.objective import Budget, Objective, Tolerance
from archcomp_tf.preprocessing import Preprocessing
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.task import Task
from archcomp_tf.teachers import TEACHERS, named
from archcomp_tf.training import Recipe
from archcomp_tf.workdir import OtherConfigError, WorkingDirectory
from archcomp_tf.workers import take_chief_address

_LOGGER = logging.getLogger(__name__)

# Copied, for the other run may go on and its folder move.
_KNOWN = "corpus/known.jsonl"


TEACHER_MODEL = "teacher/model.keras"  # in the working directory


class Run:
    """One compression in one working directory.

    Args:
      config: see `config.default_config`.
      workdir: the working directory.
      teacher: a trained model in place of the config's.
      dataset: a data set in place of the config's.

    Raises:
      ConfigError: a value of the config cannot be used.
      BackendError: a limit needs another backend.
      OtherConfigError: the working directory belongs to another config, or
        another teacher.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: str | os.PathLike,
        *,
        teacher: keras.Model | None = None,
        dataset: Dataset | None = None,
    ):
        self.config = config
        self.seed: int = config.seed
        self._given_teacher = teacher
        self._given_dataset = dataset
        check_config(config)
        known = os.path.join(workdir, _KNOWN)
        if config.corpus and not any(
            map(os.path.isfile, (known, config.corpus))
        ):
            raise ConfigError(
                f"There is no file {config.corpus} to begin with."
            )
        if any(config.limits[name] for name in MEASURED):
            check_tensorflow("A limit of bytes or of latency")
        self._chief_address = take_chief_address()
        self.workdir = WorkingDirectory(workdir, config.to_dict())
        if self._teacher_digest:
            self._check_input("teacher", self._teacher_digest)

    def check_workers(self) -> None:
        """Raises ConfigError where there will be nobody who labels."""
        if not (self.config.num_workers or self._chief_address):
            raise ConfigError(
                "Expected num_workers of at least 1, or KERASTUNER_TUNER_ID="
                "chief, to whose address workers on other machines come; got "
                "0, and no such address."
            )

    def close(self) -> None:
        """Ends the labelling processes and lets go of the corpus."""
        if "labeler" in self.__dict__:
            self.labeler.close()
            del self.labeler
        if "corpus" in self.__dict__:
            self.corpus.close()

    def path(self, name: str) -> str:
        """Where in the working directory something lies."""
        return os.fspath(self.workdir.path / name)

    def model(self, name: str) -> keras.Model:
        """The network that lies at `name` in the working directory."""
        return keras.models.load_model(self.path(name), compile=False)

    def stage(self, name: str) -> dict[str, Any]:
        """What a stage recorded; MissingStageError where it is not done."""
        return self.workdir.stage(name)

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The images as they are.

        Raises:
          OtherConfigError: the run was started with others.
        """
        dataset = self._given_dataset or datasets.load(
            self.config.dataset,
            validation_fraction=self.config.validation_fraction,
            seed=self.seed,
            data_dir=self.config.data_dir or None,
        )
        self._check_input("data set", dataset.digest)
        return dataset

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of what the run is given, beside its config."""
        inputs = {"data set": self.dataset.digest}
        if self._teacher_digest:
            inputs["teacher"] = self._teacher_digest
        return inputs

    @functools.cached_property
    def _teacher_digest(self) -> str | None:
        """Of a teacher that is given; None where there is none, any more."""
        if self._given_teacher is not None:
            return model_digest(self._given_teacher)
        path = self.config.teacher.model
        return file_digest(path) if path and os.path.isfile(path) else None

    def _check_input(self, name: str, digest: str) -> None:
        """Raises OtherConfigError where the run was started with another."""
        known = self.workdir.find_stage("teacher") or {}
        if known.get("inputs", {}).get(name, digest) != digest:
            raise OtherConfigError(
                f"{self.workdir.path} holds a run with another {name} than it "
                "is given now. Give another workdir, or the "
                f"{name} that the run was started with."
            )

    def ready_teacher(self) -> keras.Model | None:
        """The trained network that is given; None where it is to be trained.

        Raises:
          ConfigError: the config says neither or both.
          ValueError: it cannot be used, see `given_teacher.checked`.
        """
        model, settings = self._given_teacher, self.config.teacher
        if model is None:
            if bool(settings.model) == bool(settings.architecture):
                raise ConfigError(
                    "Expected one of teacher.architecture and teacher.model; "
                    f"got {settings.architecture!r} and {settings.model!r}."
                )
            if not settings.model:
                return None
            model = load_teacher(settings.model)
        return checked(model, self.dataset, self.config.num_workers)

    @functools.cached_property
    def named_architecture(self) -> Architecture | None:
        """What is searched around in place of the teacher, if anything."""
        text = self.config.space.around
        return named(text) if text else None

    def architecture_of(self, teacher: keras.Model) -> Architecture:
        """What is searched around: what the config names, or the teacher.

        Raises:
          UnsupportedModelError: the config names nothing, and the teacher has
            a layer that cannot be read.
        """
        if self.named_architecture:
            return self.named_architecture
        try:
            return from_keras(teacher)
        except UnsupportedModelError as error:
            error.args = (
                f"{error} Students can learn from it all the same where "
                "space.around names another network to search around: one of "
                f"{', '.join(TEACHERS)}, or the text form of an architecture.",
            )
            raise

    @functools.cached_property
    def preprocessing(self) -> Preprocessing:
        """What the teacher does to an image first; students do it too."""
        return Preprocessing(self.model(TEACHER_MODEL))

    @functools.cached_property
    def features(self) -> Dataset:
        """What networks are trained on: images behind the preprocessing."""
        return self.dataset.map_images(self.preprocessing.apply)

    @functools.cached_property
    def teacher_architecture(self) -> Architecture:
        """The network to compress, or what is searched around in its place."""
        text = self.stage("teacher")["architecture"]
        return Architecture.parse(text).compact

    @functools.cached_property
    def teacher_logits(self) -> np.ndarray | None:
        """`[len(train), num_classes]` to distil from, or None."""
        if not self.config.labels.distil:
            return None
        return np.load(self.path("teacher/logits.npy"))

    @functools.cached_property
    def space(self) -> SearchSpace:
        """Where the student is looked for."""
        return self.space_around(
            self.teacher_architecture, self.features.input_shape
        )

    def space_around(
        self, teacher: Architecture, input_shape: Shape
    ) -> SearchSpace:
        """The config's space around a network."""
        images = input_shape, self.dataset.num_classes
        return make_space(self.config.space, teacher, *images)

    @functools.cached_property
    def limits(self) -> Limits | None:
        """What the student must keep to, if there is anything."""
        return make_limits(self.config.limits)

    @functools.cached_property
    def objective(self) -> Objective:
        """What labels are judged by.

        The drop of a `Tolerance` is counted from a label of the teacher's own
        layers: a brief training, as all labels are.
        """
        objective = self.final_objective
        if not isinstance(objective, Tolerance):
            return objective
        lag = (
            self.stage("teacher")["validation_accuracy"]
            - self.stage("corpus")["reference_accuracy"]
        )
        reference = min(max(objective.reference_accuracy - lag, 0.0), 1.0)
        return dataclasses.replace(objective, reference_accuracy=reference)

    @functools.cached_property
    def final_objective(self) -> Objective:
        """What long trainings are judged by."""
        teacher = self.stage("teacher")
        return self.objective_for(
            teacher["validation_accuracy"], teacher["num_params"]
        )

    def objective_for(
        self, reference_accuracy: float, reference_params: int
    ) -> Objective:
        """What is looked for beside a teacher: the limits', or the config's.

        Args:
          reference_accuracy: the teacher's, in [0, 1].
          reference_params: the teacher's number of weights.
        """
        references = {
            "reference_accuracy": reference_accuracy,
            "reference_params": reference_params,
        }
        if self.limits:
            return self.limits.objective(**references)
        return make_objective(self.config.objective, **references)

    @functools.cached_property
    def allowance(self) -> Allowance:
        """What the limits allow of the networks of the space."""
        return Allowance(self.limits, self.space, self.workdir, self.seed)

    @functools.cached_property
    def corpus(self) -> Corpus:
        """Every label of this run."""
        return Corpus(self.path("corpus/records.jsonl"))

    @functools.cached_property
    def label_recipe(self) -> Recipe:
        """How a network is trained for its label."""
        return Recipe(**self.config.labels.recipe)

    def known_in(self, space: SearchSpace) -> tuple[list[Record], int]:
        """Labels of another run that are of a space, and how many it has.

        One for each network; by this run's recipe for labels, if there is one.

        Raises:
          ConfigError: there are labels, and none is of it.
        """
        path = self.config.corpus
        if not path:
            return [], 0
        if os.path.exists(copied := self.path(_KNOWN)):
            path = copied
        records = [record for record in Corpus(path) if record.status == OK]
        own = self.label_recipe.name
        known: dict[str, Record] = {}
        for record in sorted(records, key=lambda r: r.recipe != own):
            if space.contains(record.architecture):
                known.setdefault(record.architecture.fingerprint, record)
        if not known:
            raise ConfigError(
                f"None of the {len(records)} networks of {path} is in the "
                "space around this teacher."
            )
        return list(known.values()), len(records)

    @functools.cached_property
    def known(self) -> list[Record]:
        """Labels of another run, of networks that are in this one's space."""
        known, num_records = self.known_in(self.space)
        if not known:
            return []
        path = self.config.corpus
        _LOGGER.info(
            "%d of %d labels of %s are of this space",
            len(known),
            num_records,
            path,
        )
        own = self.label_recipe.name
        if others := sum(record.recipe != own for record in known):
            _LOGGER.warning(
                "%d of these were trained by another recipe than the labels of "
                "this run will be; they are taken to mean the same",
                others,
            )
        try:
            check_sizes(known, self.space.count_params)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
        return known

    def keep_known(self) -> None:
        """Copies the labels of another run; from then on they are the copy."""
        if self.config.corpus:
            known = self.known
            with self.workdir.replacing(_KNOWN) as path:
                write_records(path, known)

    @property
    def finalists_by_seed(self) -> list[int]:
        """How many of a search's best are trained from each seed.

        All from the first, and from each further one the better half of those
        before: successive halving (Jamieson & Talwalkar, arXiv 1502.07943),
        with seeds for its resource.
        """
        settings = self.config.student
        nums = [settings.num_finalists]
        while len(nums) < settings.num_seeds:
            nums.append(-(-nums[-1] // 2))
        return nums

    @functools.cached_property
    def labeler(self) -> Labeler:
        """Trains networks for labels."""
        recipe = self.label_recipe
        # Each worker is sent what it needs, not all images.
        used = slice(recipe.num_images or None)
        logits = self.teacher_logits
        task = Task(
            dataclasses.replace(
                self.features.without_test, train=self.features.train[used]
            ),
            recipe,
            self.seed,
            None if logits is None else logits[used],
            self.config.labels.max_seconds,
        )
        return Labeler(
            task,
            self.corpus,
            num_workers=self.config.num_workers,
            address=self._chief_address,
        )

    def within_budget(self, architecture: Architecture) -> bool:
        """Whether a network has no more parameters than are asked for, if any.

        Nobody who looks for a network by hand would train one that has.
        """
        if not isinstance(self.objective, Budget):
            return True
        size = self.space.count_params(architecture)
        return size <= self.objective.max_params

    def found(self) -> SearchResult:
        """What the finished search found."""
        records = tuple(Corpus(self.path("search/records.jsonl")))
        return SearchResult(records, self.objective, self.allowance.keeps)

    def described(self, architecture: Architecture) -> dict[str, Any]:
        """What a record says of a network, trained or not."""
        shape = self.features.input_shape, self.features.num_classes
        return {
            "architecture": str(architecture),
            "fingerprint": architecture.fingerprint,
            "num_params": cost.num_params(architecture, *shape),
            "num_flops": cost.num_flops(architecture, *shape),
        }
