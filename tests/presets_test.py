"""Tests of `archcomp_tf.presets`."""

import pytest

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.config import ConfigError, make_objective
from archcomp_tf.presets import classifier_config
from archcomp_tf.search_space import SWAPS
from archcomp_tf.teachers import TEACHERS


@pytest.mark.parametrize("teacher", TEACHERS)
def test_a_data_set_can_be_compressed_from_every_teacher(teacher):
    config = classifier_config("data.npz", teacher, (32, 32, 3), 10)
    assert Architecture.parse(config.teacher.architecture) == TEACHERS[teacher]
    size = cost.num_params(TEACHERS[teacher], (32, 32, 3), 10)
    budget = make_objective(config.objective)
    assert size / 20 - 1 < budget.max_params <= size / 20
    assert set(config.student.controls) <= {*TEACHERS, *SWAPS}


def test_a_teacher_that_nobody_knows_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match="vgg19, .*; got 'alexnet'"):
        classifier_config("cifar10", "alexnet", (32, 32, 3), 10)


def test_a_config_of_a_data_set_changes_the_light_recipe_alone():
    def recipe_of(teacher, **kwargs):
        return classifier_config(
            "data.npz", teacher, (32, 32, 3), 10, **kwargs
        ).student.recipe.to_dict()

    changes = {"epochs": 3, "weight_decay": 1e-3}
    assert (
        recipe_of("vgg7", light_student=changes) == recipe_of("vgg7") | changes
    )
    assert recipe_of("vgg11", light_student=changes) == recipe_of("vgg11")
    with pytest.raises(TypeError, match="steps"):
        recipe_of("vgg7", light_student={"steps": 3})
