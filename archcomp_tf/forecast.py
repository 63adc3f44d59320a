"""What a run is about to do, and how long that may take on this machine.

A guess: the speed of convolutions and of memory is measured for a moment, and a
proposal is assumed to cost what the costlier samples within the budget cost.
Our own throughout.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import keras
import numpy as np

from archcomp_tf.allowance import NUM_MEASURED
from archcomp_tf.architecture import Architecture
from archcomp_tf.config import num_initial
from archcomp_tf.cost import num_activations, num_flops, num_params
from archcomp_tf.layer import Shape
from archcomp_tf.limits import MEASURED, excess
from archcomp_tf.objective import Budget, Tolerance
from archcomp_tf.preprocessing import Preprocessing
from archcomp_tf.progress import duration
from archcomp_tf.results import wanted
from archcomp_tf.run import Run
from archcomp_tf.samples import initial_samples
from archcomp_tf.teachers import TEACHERS, named
from archcomp_tf.training import Recipe
from archcomp_tf.workdir import STAGES

_NUM_SAMPLES = 64
# Proposals are among the costlier: accuracy has its price.
_COSTLY_QUANTILE = 0.9
# A step of a training is a forward pass and twice as much backwards.
_PASSES = 3
# What a training takes besides: to be built and traced, and for each step.
_START_SECONDS = 1.2
_STEP_SECONDS = 1e-3
# On two cores; the embedding takes 15 s around the demonstration's teacher and
# up to 80 s around large ones, see results/.
_EMBEDDING_SECONDS = 30.0
_THINKING_SECONDS = 1.0
# To write a network's LiteRT file, and to look how long it takes.
_MEASURING_SECONDS = 2.0
_REPORT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class StageForecast:
    """A stage to come.

    Attributes:
      stage: its name.
      what: what it does, in words.
      seconds: how long it may take.
    """

    stage: str
    what: str
    seconds: float


def forecast(run: Run) -> list[StageForecast]:
    """The stages that are not done yet, in their order.

    Args:
      run: the compression; data and teacher are read, nothing is trained.

    Raises:
      ValueError: teacher and data do not fit, or one of them cannot be used.
    """
    plan = _Plan(run)
    return [
        StageForecast(stage, *getattr(plan, stage)())
        for stage in STAGES
        if run.workdir.find_stage(stage) is None
    ]


def forecast_lines(run: Run, steps: list[StageForecast]) -> list[str]:
    """A forecast as the header of a run, for people.

    Args:
      run: the compression.
      steps: what `forecast` gives.
    """
    data, config = run.dataset, run.config
    sizes = map(len, data.splits.values())
    total = duration(sum(step.seconds for step in steps))
    return [
        "{}: {:,} images to learn from, {:,} to choose by, {:,} to test "
        "with".format(data.name, *sizes),
        f"wanted: {wanted(config)}",
        *(
            f"{step.stage}: {step.what}; about {duration(step.seconds)}"
            for step in steps
        ),
        f"in all about {total}, {config.num_workers} trainings at a time; "
        f"stopped and started again, it goes on in {run.workdir.path}",
    ]


class _Plan:
    """What each stage of a run will do, from its config and its teacher.

    By the stages' names: in words, and how many seconds it may take.

    Args:
      run: the compression.
    """

    def __init__(self, run: Run):
        self._run = run
        config = run.config
        self._labels, self._student = config.labels, config.student
        self._recipe = Recipe(**config.student.recipe)
        self._clock = clock = _Clock(run, *_speeds())
        self._teacher = _teacher(run)
        self._shape = shape = self._teacher.input_shape

        around = run.named_architecture or self._teacher.architecture
        space = run.space_around(around.compact, shape)
        self._num_known = len(run.known_in(space)[0])
        self._num_initial = num_initial(config, self._num_known)
        samples = initial_samples(
            space,
            _NUM_SAMPLES,
            run.seed,
            lambda a: _excess(run, a, shape),
        )
        objective = run.objective_for(1.0, self._teacher.num_params)
        most = objective.max_params if isinstance(objective, Budget) else np.inf
        small = [a for a in samples if space.count_params(a) <= most]
        costs = [clock.image_seconds(a, shape) for a in small or samples]
        costly = float(np.quantile(costs, _COSTLY_QUANTILE))
        mean = float(np.mean([clock.image_seconds(a, shape) for a in samples]))
        # Each proposal's costs are measured, and those of some that break a
        # limit.
        self._measured = [name for name in MEASURED if config.limits[name]]
        self._measuring_seconds = _MEASURING_SECONDS * len(self._measured)
        # In words, and in seconds: a sample's label, that of a random network
        # that may be a student, a proposal's, and a long training.
        brief = run.label_recipe
        self._brief, self._long = self._each(brief), self._each(self._recipe)
        self._sample_seconds = clock.training_seconds(brief, mean)
        self._random_seconds = clock.training_seconds(
            brief, float(np.mean(costs))
        )
        self._proposal_seconds = (
            clock.training_seconds(brief, costly)
            + _THINKING_SECONDS
            + 2 * self._measuring_seconds
        )
        self._final_seconds = clock.training_seconds(self._recipe, costly)
        # What may be lost is lost from a label of the teacher's own layers;
        # nothing is trained beside it.
        self._reference_seconds = (
            clock.training_seconds(
                brief, clock.image_seconds(around.compact, shape)
            )
            * max(1, config.num_workers)
            if isinstance(objective, Tolerance)
            else 0.0
        )

    def teacher(self) -> tuple[str, float]:
        teacher, clock = self._teacher, self._clock
        image = clock.image_seconds(teacher.architecture, teacher.input_shape)
        what = f"{teacher.num_params:,} parameters, "
        if recipe := teacher.recipe:
            what += self._each(recipe)
            seconds = clock.training_seconds(recipe, image)
        else:
            what += "used as it is"
            seconds = clock.pass_seconds(image)
        settings = self._run.config.teacher
        if epochs := settings.unsmooth_epochs:
            what += f", a copy trained on for {epochs} without label smoothing"
            recipe = Recipe(**settings.recipe)
            seconds += clock.training_seconds(
                dataclasses.replace(recipe, epochs=epochs), image
            )
        return what, seconds

    def corpus(self) -> tuple[str, float]:
        what = (
            f"{self._num_initial} samples trained for {self._brief}"
            if self._num_initial
            else "no samples"
        )
        if self._num_known:
            corpus = self._run.config.corpus
            what += f", beside {self._num_known} labels of {corpus}"
        if self._measured:
            names = " and ".join(self._measured)
            what = f"{NUM_MEASURED} networks measured, for {names}; {what}"
        if self._reference_seconds:
            what += f"; the teacher's own layers trained for {self._brief}"
        return (
            what,
            NUM_MEASURED * self._measuring_seconds
            + self._num_initial * self._sample_seconds
            + self._reference_seconds,
        )

    def autoencoder(self) -> tuple[str, float]:
        config = self._run.config
        elsewhere = f" around {config.space.around}" * bool(config.space.around)
        return (
            f"an embedding of {config.autoencoder.num_architectures:,} "
            f"networks{elsewhere}, none of them trained",
            _EMBEDDING_SECONDS,
        )

    def search(self) -> tuple[str, float]:
        what = f"{self._num_proposed} proposals trained for {self._brief}"
        if self._num_finalists:
            what += f", the best {self._num_finalists} for {self._long}"
            if self._student.num_seeds > 1:
                what += ", the better half of these from another seed, and on"
        return (
            what,
            self._num_proposed * self._proposal_seconds
            + self._choosing_seconds,
        )

    def students(self) -> tuple[str, float]:
        num_seeds, num_trials = (
            self._student.num_seeds,
            self._student.num_tuning_trials,
        )
        chosen, tuned = self._num_finalists > 0, num_trials > 1
        if tuned:
            what = (
                f"{num_trials} recipes tried on the best, {num_seeds} "
                "trainings by the best recipe"
            )
        elif chosen:
            what = "the best of these trainings"
        else:
            what = f"the best trained {num_seeds} times for {self._long}"
        # The base recipe's trial is a finalist's training, the best one's is
        # the first of the student's.
        num_tried = (num_trials - chosen) * tuned
        num_trained = (num_seeds - tuned) * (tuned or not chosen)
        return what, (num_tried + num_trained) * self._final_seconds

    def controls(self) -> tuple[str, float]:
        num_seeds, names = self._student.num_seeds, self._student.controls
        others = sum(
            self._clock.training_seconds(
                self._recipe,
                self._clock.image_seconds(TEACHERS[name], self._shape),
            )
            if name in TEACHERS
            else self._final_seconds
            for name in names
        )
        words = (n if n in TEACHERS else f"the same of {n}" for n in names)
        # The narrowed teacher, and a random network that is no finalist.
        num_trained = num_seeds * (1 if self._num_finalists else 2)
        return (
            "the teacher made narrower"
            + "".join(f", {word}" for word in words)
            + f", the best of {self._labels.num_labels} random networks: "
            "trained alike",
            self._num_proposed * self._random_seconds
            + self._choosing_seconds
            + num_trained * self._final_seconds
            + num_seeds * others,
        )

    def report(self) -> tuple[str, float]:
        return (
            "all of them on the test split, once; LiteRT files; report.html",
            _REPORT_SECONDS,
        )

    @property
    def _num_proposed(self) -> int:
        return self._labels.num_labels - self._num_initial

    @property
    def _num_finalists(self) -> int:
        """A single one is not trained before it is the student."""
        num = self._student.num_finalists
        return num if num > 1 else 0

    @property
    def _choosing_seconds(self) -> float:
        """Seconds of the trainings of the finalists of one search."""
        if not self._num_finalists:
            return 0.0
        return sum(self._run.finalists_by_seed) * self._final_seconds

    def _each(self, recipe: Recipe) -> str:
        """A training by the recipe, in words."""
        num_images = self._clock.num_images(recipe)
        return f"{recipe.epochs} epochs of {num_images:,} images"


@dataclasses.dataclass(frozen=True)
class _Teacher:
    """What is known of the teacher before anything is trained.

    Attributes:
      architecture: its layers as they are read.
      input_shape: what these take, behind what is in front.
      num_params: of all of it.
      recipe: how it is trained; None where it is already.
    """

    architecture: Architecture
    input_shape: Shape
    num_params: int
    recipe: Recipe | None = None


def _teacher(run: Run) -> _Teacher:
    if known := run.workdir.find_stage("teacher"):
        shape = run.features.input_shape
        return _Teacher(run.teacher_architecture, shape, known["num_params"])
    shape = run.dataset.input_shape
    if (model := run.ready_teacher()) is not None:
        front = Preprocessing(model).output_shape
        shape = shape if None in front else front
        # Not all of it may be as its layers are read, see `explain`.
        teacher = run.architecture_of(model).compact
        return _Teacher(teacher, shape, model.count_params())
    settings = run.config.teacher
    teacher = named(settings.architecture).compact
    size = num_params(teacher, shape, run.dataset.num_classes)
    return _Teacher(teacher, shape, size, Recipe(**settings.recipe))


def _excess(run: Run, architecture: Architecture, shape: Shape) -> float:
    """As `Allowance.excess`, of what is counted: nothing is measured here."""
    beside = run.limits.beside_objective if run.limits else {}
    return excess(beside, architecture, shape, run.dataset.num_classes, {})


class _Clock:
    """Seconds of trainings on this machine, side by side as the run has them.

    What is passed over in memory counts beside the convolutions: of networks
    with few operations it takes most of the time.

    Args:
      run: its data, and how many trainings go side by side.
      flops_a_second: of convolutions, on all cores together.
      values_a_second: that operations on single values give, as fast.
    """

    def __init__(self, run: Run, flops_a_second: float, values_a_second: float):
        self._num_images = len(run.dataset.train)
        self._num_classes = run.dataset.num_classes
        self._num_workers = max(1, run.config.num_workers)
        self._flops_a_second = flops_a_second
        self._values_a_second = values_a_second

    def num_images(self, recipe: Recipe) -> int:
        """How many images an epoch has."""
        return min(recipe.num_images or self._num_images, self._num_images)

    def image_seconds(self, architecture: Architecture, shape: Shape) -> float:
        """One image of this shape through a network."""
        network = (architecture, shape, self._num_classes)
        return (
            num_flops(*network) / self._flops_a_second
            + num_activations(*network) / self._values_a_second
        )

    def training_seconds(self, recipe: Recipe, image: float) -> float:
        """One training's share of the time; an image takes `image` seconds."""
        num_seen = recipe.epochs * self.num_images(recipe)
        num_steps = math.ceil(num_seen / recipe.batch_size)
        besides = _START_SECONDS + num_steps * _STEP_SECONDS
        return besides / self._num_workers + _PASSES * num_seen * image

    def pass_seconds(self, image: float) -> float:
        """All training images through a network once."""
        return _START_SECONDS + self._num_images * image


def _speeds() -> tuple[float, float]:
    """Operations and values a second, measured for a fraction of a second."""
    size, channels, num_images = 16, 32, 64
    x = keras.ops.ones((num_images, size, size, channels))
    kernel = keras.ops.ones((3, 3, channels, channels))
    convolving = _seconds(
        lambda: keras.ops.conv(x, kernel, padding="same")[0, 0, 0]
    )
    values = keras.ops.ones((num_images * 2**15,))
    passing = _seconds(lambda: (values * 1.5 + 2.0)[0])
    return (
        2 * num_images * (size * channels * 3) ** 2 / convolving,
        num_images * 2**15 / passing,
    )


def _seconds(function: Callable) -> float:
    """What computing a tensor takes, at best."""
    best = math.inf
    for _ in range(20):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(function())
        best = min(best, time.perf_counter() - start)
    return best
