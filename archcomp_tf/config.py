"""The configuration of a compression, and its defaults.

Configs are `ml_collections.ConfigDict`s, locked: a field that is not in
`default_config` is an error.  A config of one's own calls `default_config` and
changes a few lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import joblib
import ml_collections

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import MIN_CHANNELS
from archcomp_tf.compression import num_samples
from archcomp_tf.descent import LEARNING_RATE, NUM_STEPS
from archcomp_tf.fitting import check_mode
from archcomp_tf.limits import Limits
from archcomp_tf.objective import Objective
from archcomp_tf.ranges import check_number, plain_seed
from archcomp_tf.search_space import SWAPS, SearchSpace
from archcomp_tf.teachers import TEACHERS, named
from archcomp_tf.training import Recipe

# How students are taught: mostly from the teacher.
DISTILLATION = {"temperature": 4.0, "label_weight": 0.2}
# A round keeps no more processes busy, and each of them holds the images.
_LABELS_A_ROUND = 4


class ConfigError(ValueError):
    """A configuration that cannot be run."""


def recipe_config(**fields: Any) -> ml_collections.ConfigDict:
    """A `training.Recipe` as a config; `fields` differ from its defaults."""
    return ml_collections.ConfigDict(dataclasses.asdict(Recipe(**fields)))


def objective_config(name: str, **fields: Any) -> ml_collections.ConfigDict:
    """An objective of `objective.py` as a config, by class name and fields."""
    return ml_collections.ConfigDict({"name": name, **fields})


def default_config() -> ml_collections.ConfigDict:
    """Every field there is, with its default.

    What a run by them will take is said before it starts, see `forecast.py`.
    """
    config = ml_collections.ConfigDict()
    config.seed = 0
    # Processes that train networks side by side and share the cores.
    config.num_workers = min(joblib.cpu_count(), _LABELS_A_ROUND)

    # Where images come from: see `datasets.load`.
    config.dataset = "digits"
    config.data_dir = ""  # "" is TFDS' own default
    config.validation_fraction = 0.2

    # The network to compress: an architecture, by a name of `teachers.py` or in
    # text form, trained by the recipe; or the path of a trained .keras file.
    # Students learn from a copy that is trained on for `unsmooth_epochs` by the
    # recipe without its label smoothing, see `distillation.unsmooth`.
    config.teacher = ml_collections.ConfigDict()
    config.teacher.architecture = ""
    config.teacher.model = ""
    config.teacher.recipe = recipe_config()
    config.teacher.unsmooth_epochs = 0

    # The records.jsonl of another run, to begin with what is known.
    config.corpus = ""

    # See `SearchSpace.around`.  Where `around` is an architecture, students are
    # looked for around it and not around the teacher's own layers, which then
    # may be any.
    config.space = ml_collections.ConfigDict()
    config.space.around = ""
    config.space.num_widths = 16
    config.space.min_width = 1 / 16
    config.space.divisor = 1
    config.space.swaps = SWAPS

    # Replaced as a whole by a config, since each objective has its own fields.
    config.objective = objective_config("LogParams", weight=0.05)

    # What the student must keep to, see `Limits`; 0 is no limit.  Where there
    # is one, the objective follows from the limits.
    config.limits = ml_collections.ConfigDict(
        {
            "max_params": 0,
            "max_flops": 0,
            "max_ram_bytes": 0,
            "max_file_bytes": 0,
            "max_latency_ms": 0.0,
            "max_accuracy_drop": 0.0,
        }
    )

    # How many networks are trained, and how; all students are distilled from
    # the teacher where `distil` is set.  The first `num_initial` are samples; 0
    # is for the default, and fewer than the accuracy head needs are raised to
    # these, see `compression.num_samples`.
    config.labels = ml_collections.ConfigDict()
    config.labels.num_labels = 48
    config.labels.num_initial = 0
    config.labels.labels_a_round = _LABELS_A_ROUND
    config.labels.max_seconds = 3600.0  # a longer training has failed
    config.labels.distil = True
    config.labels.recipe = recipe_config(
        num_images=10_000, epochs=10, **DISTILLATION
    )

    # See `ArchitectureAutoencoder` and `fit_autoencoder`.
    config.autoencoder = ml_collections.ConfigDict()
    config.autoencoder.channels = 8
    config.autoencoder.width = 64
    config.autoencoder.num_heads = 5
    config.autoencoder.noise = 0.1
    config.autoencoder.mode = "pretrained"
    config.autoencoder.epochs = 30
    config.autoencoder.num_architectures = 16_384

    # What is scored in a round of the search, see `search`.
    config.search = ml_collections.ConfigDict()
    config.search.num_starts = 64
    config.search.num_steps = NUM_STEPS
    config.search.learning_rate = LEARNING_RATE
    config.search.num_neighbours = 2048
    config.search.doubts = True
    config.search.narrowed = True

    # The final training, of the student and of the controls alike.  So many of
    # a search's best are trained by this recipe, the better half of them from a
    # second seed, the better half of these from a third, and so on.  The best
    # in the mean is the student, of which the best of `num_seeds` is given.
    # Where several recipes are tried, the first is this one.
    # `controls` names what else is trained: networks of `teachers.py`, or kinds
    # of layers that the teacher's are swapped for, at the student's size.
    config.student = ml_collections.ConfigDict()
    config.student.recipe = recipe_config(epochs=30, **DISTILLATION)
    config.student.num_finalists = 4
    config.student.num_seeds = 3
    config.student.controls = ()
    config.student.num_tuning_trials = 3
    return config.lock()


def check_config(config: ml_collections.ConfigDict) -> None:
    """Refuses what would fail, or make no sense, once labels are paid for.

    Raises:
      ConfigError: a field cannot be used as it is.
      ValueError: a limit, a field of the objective or a network that is named
        cannot.
    """
    labels, student = config.labels, config.student
    if not config.corpus:  # else there is something to learn from already
        num_initial(config, 0)
    plain_seed(config.seed)
    # With none networks are trained on other machines alone.
    check_number("num_workers", config.num_workers, 0, whole=True)
    make_limits(config.limits)
    make_objective(config.objective, reference_accuracy=1, reference_params=1)
    for name in ("teacher", "labels", "student"):
        with _error_names(f"{name}.recipe"):
            Recipe(**config[name].recipe)
    counts = {
        "teacher": {"unsmooth_epochs": 0},
        "labels": {"num_labels": 1, "num_initial": 0, "labels_a_round": 1},
        "autoencoder": {
            "channels": MIN_CHANNELS,
            "width": 1,
            "num_heads": 1,
            "epochs": 1,
            "num_architectures": 1,
        },
        "search": {"num_starts": 0, "num_steps": 1, "num_neighbours": 0},
        "student": {
            "num_finalists": 1,
            "num_seeds": 1,
            "num_tuning_trials": 0,
        },
    }
    for part, fields in counts.items():
        for name, least in fields.items():
            with _error_names(part):
                check_number(name, config[part][name], least, whole=True)
    with _error_names("labels"):
        check_number("max_seconds", labels.max_seconds, 0, above=True)
    with _error_names("search"):
        rate = config.search.learning_rate
        check_number("learning_rate", rate, 0, above=True)
    with _error_names("autoencoder"):
        check_number("noise", config.autoencoder.noise, 0, 1)
        check_mode(config.autoencoder.mode)
    for text in (config.teacher.architecture, config.space.around):
        if text:
            named(text)
    with _error_names("space"):  # around any network at all
        make_space(config.space, TEACHERS["vgg11"])
    controls = [*TEACHERS, *config.space.swaps]
    if unknown := [n for n in student.controls if n not in controls]:
        raise ConfigError(
            f"Expected student.controls among {', '.join(controls)}; got "
            f"{', '.join(map(repr, unknown))}."
        )


def num_initial(config: ml_collections.ConfigDict, num_known: int) -> int:
    """How many samples are labelled before the first round.

    Args:
      config: of the run.
      num_known: labels of another run that are of this one's space.

    Raises:
      ConfigError: no label is left for the search.
    """
    labels = config.labels
    num = num_samples(labels.num_labels, num_known, labels.num_initial)
    if num >= labels.num_labels:
        known = (
            f"Only {num_known} networks of {config.corpus} are in the space "
            "around this teacher. "
        )
        raise ConfigError(
            f"{known * bool(config.corpus)}Expected labels.num_labels to be "
            f"more than the {num} samples that are labelled first; got "
            f"{labels.num_labels}."
        )
    return num


@contextlib.contextmanager
def _error_names(part: str) -> Iterator[None]:
    """Puts the name of a part of the config in front of an error's text."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"config.{part}: {error}") from error


def make_space(
    config: ml_collections.ConfigDict, teacher: Architecture, *images: Any
) -> SearchSpace:
    """The space that `config.space` describes around a network."""
    fields = config.to_dict()
    del fields["around"]
    return SearchSpace.around(teacher, *images, **fields)


def make_limits(config: ml_collections.ConfigDict) -> Limits | None:
    """The limits that `config.limits` describes; None where all are 0.

    Raises:
      ValueError: a limit is negative, or not a share where it has to be.
    """
    given = {name: value for name, value in config.items() if value}
    return Limits(**given) if given else None


def make_objective(
    config: ml_collections.ConfigDict, **references: float
) -> Objective:
    """The objective that `config.objective` describes.

    Args:
      config: its class name and fields.
      **references: values for fields that the objective has and the config
        leaves out, such as the teacher's `reference_accuracy`.

    Raises:
      ConfigError: no such objective, or not its fields.
    """
    fields = config.to_dict()
    name = fields.pop("name", None)
    classes = {cls.__name__: cls for cls in typing.get_args(Objective)}
    if name not in classes:
        raise ConfigError(
            f"Unknown objective {name!r}; expected one of {', '.join(classes)}."
        )
    expected = [field.name for field in dataclasses.fields(classes[name])]
    values = {k: v for k, v in references.items() if k in expected} | fields
    try:
        return classes[name](**values)
    except TypeError as error:
        raise ConfigError(
            f"The objective {name} has the fields {', '.join(expected)}; got "
            f"{', '.join(fields) or 'none'}."
        ) from error
