"""The configuration of a compression, and its defaults.

Configs are `ml_collections.ConfigDict`s, locked: a field that is not in
`default_config` is an error.  A config of one's own calls `default_config` and
changes a few lines.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import ml_collections

from archcomp_tf.objective import Objective
from archcomp_tf.training import Recipe


class ConfigError(ValueError):
    """A configuration that cannot be run."""


def recipe_config(**fields: Any) -> ml_collections.ConfigDict:
    """A `training.Recipe` as a config; `fields` differ from its defaults."""
    return ml_collections.ConfigDict(dataclasses.asdict(Recipe(**fields)))


def objective_config(name: str, **fields: Any) -> ml_collections.ConfigDict:
    """An objective of `objective.py` as a config, by class name and fields."""
    return ml_collections.ConfigDict({"name": name, **fields})


def default_config() -> ml_collections.ConfigDict:
    """Every field there is, with its default."""
    config = ml_collections.ConfigDict()
    config.seed = 0

    # Where images come from: see `datasets.load`.
    config.dataset = "digits"
    config.data_dir = ""  # "" is TFDS' own default
    config.validation_fraction = 0.2

    # The network to compress: the text form of an architecture, trained by
    # the recipe, or the path of a trained .keras file.
    config.teacher = ml_collections.ConfigDict()
    config.teacher.architecture = ""
    config.teacher.model = ""
    config.teacher.recipe = recipe_config()

    # See `SearchSpace.around`.
    config.space = ml_collections.ConfigDict()
    config.space.num_widths = 16
    config.space.min_width = 1 / 16

    # Replaced as a whole by a config, since each objective has its own fields.
    config.objective = objective_config("LogParams", weight=0.05)

    # How many networks are trained, in how many processes, and how; all
    # students are distilled from the teacher where `distil` is set.
    config.labels = ml_collections.ConfigDict()
    config.labels.num_labels = 48
    config.labels.num_initial = 16
    config.labels.labels_a_round = 4  # the workers share a round
    config.labels.num_workers = 1
    config.labels.max_seconds = 3600.0  # a longer training has failed
    config.labels.distil = True
    config.labels.recipe = recipe_config()

    # See `ArchitectureAutoencoder` and `fit_autoencoder`.
    config.autoencoder = ml_collections.ConfigDict()
    config.autoencoder.channels = 8
    config.autoencoder.width = 64
    config.autoencoder.num_heads = 5
    config.autoencoder.noise = 0.1
    config.autoencoder.mode = "pretrained"
    config.autoencoder.epochs = 30
    config.autoencoder.num_architectures = 16_384

    # The final training, of the student and of the controls alike.  So many of
    # a search's best are trained by this recipe, and the best of them stays;
    # it is then trained `num_restarts` times, of which the best stays.
    config.student = ml_collections.ConfigDict()
    config.student.recipe = recipe_config(epochs=40)
    config.student.num_finalists = 5
    config.student.num_restarts = 3
    config.student.num_tuning_trials = 6
    return config.lock()


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
