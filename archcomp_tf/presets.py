"""Configs of the compression of known networks, on data sets of small images.

What is trained, and how, is for one GPU, or for two cores around the teachers
that these can train.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_collections

from archcomp_tf.config import (
    DISTILLATION,
    ConfigError,
    default_config,
    objective_config,
    recipe_config,
)
from archcomp_tf.cost import num_params
from archcomp_tf.layer import Shape
from archcomp_tf.teachers import TEACHERS

# For how many epochs a teacher is trained, and those that two cores can train.
_TEACHER_EPOCHS = 60
_LIGHT = {"vgg7": 12, "vgg11_half": 40}
# A teacher that was trained for long is surer of what it learnt, and softened
# more, see results/README.md.
_LONG_EPOCHS, _LONG_TEMPERATURE = 40, 8.0


def classifier_config(
    dataset: str,
    teacher: str,
    input_shape: Shape,
    num_classes: int,
    *,
    mirror: bool = False,
    cutout: int = 0,
    light_student: Mapping[str, Any] | None = None,
) -> ml_collections.ConfigDict:
    """The compression of a known network on a data set of small images.

    The student is to have a twentieth of the teacher's weights, and widths that
    are multiples of 8.  The recipes are for a GPU; around "vgg7" and
    "vgg11_half" they are light ones, for two cores.

    Args:
      dataset: see `datasets.load`.
      teacher: a name in `teachers.py`.
      input_shape: (height, width, channels) of an image.
      num_classes: number of classes.
      mirror: whether an image mirrored left to right is one of its class.
      cutout: see `Augmentation`.
      light_student: fields in which the students' light recipe differs here.

    Raises:
      ConfigError: there is no such teacher.
    """
    if teacher not in TEACHERS:
        raise ConfigError(
            f"Expected a teacher among {', '.join(TEACHERS)}; got {teacher!r}."
        )
    architecture = TEACHERS[teacher]
    size = num_params(architecture, input_shape, num_classes)
    epochs = _LIGHT.get(teacher, _TEACHER_EPOCHS)
    distillation = dict(DISTILLATION)
    if epochs >= _LONG_EPOCHS:
        distillation["temperature"] = _LONG_TEMPERATURE
    config = default_config()
    with config.unlocked():
        config.dataset = dataset
        config.validation_fraction = 0.1
        config.teacher.architecture = str(architecture)
        config.space.divisor = 8
        config.objective = objective_config("Budget", max_params=size // 20)
        config.student.num_tuning_trials = 1
        config.student.controls = ("separable_conv",)
        if teacher in _LIGHT:
            _fill_for_cpu(
                config, epochs, distillation, mirror, light_student or {}
            )
        else:
            _fill_for_gpu(config, epochs, distillation, mirror, cutout)
    return config


def _fill_for_cpu(
    config: ml_collections.ConfigDict,
    teacher_epochs: int,
    distillation: Mapping[str, float],
    mirror: bool,
    student: Mapping[str, Any],
) -> None:
    """Sets what is trained, and how, to what two cores can do."""
    augmentation = {"mirror": mirror, "max_shift": 2}
    config.teacher.recipe = recipe_config(
        epochs=teacher_epochs,
        batch_size=128,
        weight_decay=2e-3,
        **augmentation,
    )
    config.labels.num_labels = 64
    config.labels.recipe = recipe_config(
        num_images=10_000, epochs=12, **distillation
    )
    recipe = {"epochs": 20, "batch_size": 128, **augmentation, **distillation}
    config.student.recipe = recipe_config(**recipe | student)
    # Labels that are alike say little of which network is the best in the end.
    config.student.num_finalists = 3


def _fill_for_gpu(
    config: ml_collections.ConfigDict,
    teacher_epochs: int,
    distillation: Mapping[str, float],
    mirror: bool,
    cutout: int,
) -> None:
    """Sets what is trained, and how, to what one GPU can do."""
    augmentation = {"mirror": mirror, "max_shift": 4}
    config.teacher.recipe = recipe_config(
        epochs=teacher_epochs,
        batch_size=128,
        # Decoupled: ten times the usual 5e-4, which momentum multiplies.
        weight_decay=5e-3,
        # No label smoothing, from which students would learn little, see
        # `distillation.py`.
        cutout=cutout,
        **augmentation,
    )
    config.labels.num_labels = 300
    config.labels.recipe = recipe_config(
        num_images=20_000, epochs=10, batch_size=128, **distillation
    )
    config.student.recipe = recipe_config(
        epochs=200,
        batch_size=128,
        weight_decay=2e-3,
        **augmentation,
        **distillation,
    )
    config.student.controls += ("resnet20", "resnet32")
