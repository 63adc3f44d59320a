"""What a run is about to do, and how long that may take on this machine.

A guess: how fast this machine convolves and passes over memory is measured for
a moment, and networks that will be proposed are taken to cost what the costlier
samples of the space do that are as small as is wanted.  Our own throughout.
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
from archcomp_tf.cost import num_activations, num_flops, num_params
from archcomp_tf.layer import Shape
from archcomp_tf.limits import MEASURED
from archcomp_tf.preprocessing import Preprocessing
from archcomp_tf.progress import duration
from archcomp_tf.results import wanted
from archcomp_tf.run import Run
from archcomp_tf.samples import initial_samples
from archcomp_tf.teachers import TEACHERS, named
from archcomp_tf.training import Recipe

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
class Step:
    """A stage to come.

    Attributes:
      stage: its name.
      what: what it does, in words.
      seconds: how long it may take.
    """

    stage: str
    what: str
    seconds: float


def forecast(run: Run) -> list[Step]:
    """The stages that are not done yet, in their order.

    Args:
      run: the compression; data and teacher are read, nothing is trained.

    Raises:
      ValueError: teacher and data do not fit, or one of them cannot be used.
    """
    config = run.config
    labels, student = config.labels, config.student
    teacher, shape, size, training = _teacher(run)
    clock = _Clock(run, *_speeds())

    around = run.named_architecture or teacher
    space = run.space_around(around.compact, shape)
    samples = initial_samples(
        space, _NUM_SAMPLES, run.seed, lambda a: _excess(run, a, shape)
    )
    small = [a for a in samples if _is_small(run, a, shape)]
    costs = [clock.image(a, shape) for a in samples]
    costly = float(
        np.quantile(
            [clock.image(a, shape) for a in small or samples], _COSTLY_QUANTILE
        )
    )
    label_recipe = Recipe(**labels.recipe)
    recipe = Recipe(**student.recipe)
    sample = clock.training(label_recipe, float(np.mean(costs)))
    # Each proposal's costs are measured, and those of some that break a limit.
    measured = [name for name in MEASURED if config.limits[name]]
    measuring = _MEASURING_SECONDS * len(measured)
    thinking = _THINKING_SECONDS + 2 * measuring
    proposal = clock.training(label_recipe, costly) + thinking
    final = clock.training(recipe, costly)
    num_initial = 0 if config.corpus else labels.num_initial
    num_proposed = labels.num_labels - num_initial
    # A single finalist is not trained before it is the student.
    chosen = student.num_finalists > 1
    finalists = student.num_finalists * student.num_seeds * chosen
    tuned = student.num_tuning_trials > 1
    others = [
        clock.training(recipe, clock.image(TEACHERS[n], shape))
        for n in student.controls
    ]
    elsewhere = f" around {config.space.around}" * bool(config.space.around)
    each = f"{label_recipe.epochs} epochs of {clock.images(label_recipe):,}"
    long = f"{recipe.epochs} epochs of {clock.images(recipe):,} images"
    steps = [
        _teacher_step(run, clock, size, training, clock.image(teacher, shape)),
        Step(
            "corpus",
            f"{NUM_MEASURED} networks measured, for {' and '.join(measured)}; "
            * bool(measured)
            + (
                f"{num_initial} samples trained for {each} images"
                if num_initial
                else f"no samples, with the labels of {config.corpus}"
            ),
            NUM_MEASURED * measuring + num_initial * sample,
        ),
        Step(
            "autoencoder",
            f"an embedding of {config.autoencoder.num_architectures:,} "
            f"networks{elsewhere}, none of them trained",
            _EMBEDDING_SECONDS,
        ),
        Step(
            "search",
            f"{num_proposed} proposals trained for {each} images"
            + (
                f", the best {student.num_finalists} {student.num_seeds} "
                f"times for {long}"
                if chosen
                else ""
            ),
            num_proposed * proposal + finalists * final,
        ),
        Step(
            "students",
            f"{student.num_tuning_trials} recipes tried on the best, "
            f"{student.num_seeds} trainings by the best recipe"
            if tuned
            else "the best of these trainings"
            if chosen
            else f"the best trained {student.num_seeds} times for {long}",
            # The base recipe's trial is a finalist's training, the best one's
            # is the first of the student's.
            (student.num_tuning_trials - chosen) * tuned * final
            + (student.num_seeds - tuned) * (tuned or not chosen) * final,
        ),
        Step(
            "controls",
            "the teacher made narrower"
            + "".join(f", {name}" for name in student.controls)
            + f", the best of {labels.num_labels} random networks: trained "
            "alike",
            num_proposed * sample
            + (finalists + student.num_seeds * (2 - chosen)) * final
            + student.num_seeds * sum(others),
        ),
        Step(
            "report",
            "all of them on the test split, once; LiteRT files; report.html",
            _REPORT_SECONDS,
        ),
    ]
    return [s for s in steps if run.workdir.find_stage(s.stage) is None]


def forecast_lines(run: Run, steps: list[Step]) -> list[str]:
    """A forecast as the header of a run, for people.

    Args:
      run: the compression.
      steps: what `forecast` gives.
    """
    data, config = run.dataset, run.config
    sizes = [len(s.labels) for s in (data.train, data.validation, data.test)]
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


def _teacher(run: Run) -> tuple[Architecture, Shape, int, Recipe | None]:
    """The teacher, what its layers take, its size, and how it is trained."""
    if known := run.workdir.find_stage("teacher"):
        shape = run.features.input_shape
        return run.teacher_architecture, shape, known["num_params"], None
    shape = run.dataset.input_shape
    if (model := run.ready_teacher()) is not None:
        front = Preprocessing(model).output_shape
        shape = shape if None in front else front
        # Not all of it may be as its layers are read, see `explain`.
        teacher = run.architecture_of(model).compact
        return teacher, shape, model.count_params(), None
    settings = run.config.teacher
    teacher = named(settings.architecture).compact
    size = num_params(teacher, shape, run.dataset.num_classes)
    return teacher, shape, size, Recipe(**settings.recipe)


def _teacher_step(
    run: Run, clock: _Clock, size: int, training: Recipe | None, image: float
) -> Step:
    """What the teacher's stage does; an image takes it `image` seconds."""
    what = f"{size:,} parameters, "
    if training:
        images = clock.images(training)
        what += f"{training.epochs} epochs of {images:,} images"
        seconds = clock.training(training, image)
    else:
        what += "used as it is"
        seconds = clock.pass_over_data(image)
    if epochs := run.config.teacher.unsmooth_epochs:
        what += f", a copy trained on for {epochs} without label smoothing"
        recipe = Recipe(**run.config.teacher.recipe)
        seconds += clock.training(
            dataclasses.replace(recipe, epochs=epochs), image
        )
    return Step("teacher", what, seconds)


def _is_small(run: Run, architecture: Architecture, shape: Shape) -> bool:
    """Whether it has as few parameters as are asked for."""
    allowed = (
        run.config.limits.max_params
        or run.config.objective.get("max_params")
        or math.inf
    )
    return num_params(architecture, shape, run.dataset.num_classes) <= allowed


def _excess(run: Run, architecture: Architecture, shape: Shape) -> float:
    """As `Allowance.excess`, of what is counted: nothing is measured here."""
    limits = run.limits and run.limits.beside_objective
    if limits is None:
        return 0.0
    return limits.excess(architecture, shape, run.dataset.num_classes, {})


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
        self._num_images = len(run.dataset.train.labels)
        self._num_classes = run.dataset.num_classes
        self._num_workers = run.config.num_workers
        self._flops_a_second = flops_a_second
        self._values_a_second = values_a_second

    def images(self, recipe: Recipe) -> int:
        """How many images an epoch has."""
        return min(recipe.num_images or self._num_images, self._num_images)

    def image(self, architecture: Architecture, shape: Shape) -> float:
        """One image of this shape through a network."""
        network = (architecture, shape, self._num_classes)
        return (
            num_flops(*network) / self._flops_a_second
            + num_activations(*network) / self._values_a_second
        )

    def training(self, recipe: Recipe, image: float) -> float:
        """One training's share of the time; an image takes `image` seconds."""
        num_seen = recipe.epochs * self.images(recipe)
        num_steps = math.ceil(num_seen / recipe.batch_size)
        besides = _START_SECONDS + num_steps * _STEP_SECONDS
        return besides / self._num_workers + _PASSES * num_seen * image

    def pass_over_data(self, image: float) -> float:
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
