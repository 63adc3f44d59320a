"""Tests of the well-known teachers."""

import pytest

from archcomp_tf import cost
from archcomp_tf.builder import build
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.teachers import TEACHERS

# Trainable parameters for 32x32 colour images and 10 classes, as published, and
# the biases that our `conv` has and the first or last convolution there has
# not.
PARAMETERS = {
    "vgg11": 9_231_114,
    "vgg13": 9_416_010,
    "vgg16": 14_728_266,
    "vgg19": 20_040_522,
    "resnet18": 11_173_962 + 64,
    "resnet34": 21_282_122 + 64,
    "mobilenet_v1": 3_217_226 + 32,
    "mobilenet_v2": 2_236_682 + 32 + 1280,
}


def test_every_teacher_is_counted():
    assert set(TEACHERS) == set(PARAMETERS)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_has_the_parameters_of_its_family(name):
    model = build(TEACHERS[name], (32, 32, 3), 10)
    trainable = sum(weight.numpy().size for weight in model.trainable_weights)
    assert trainable == PARAMETERS[name]
    assert model.count_params() == cost.num_params(
        TEACHERS[name], (32, 32, 3), 10
    )


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_is_in_the_space_around_it(name):
    assert SearchSpace.around(TEACHERS[name]).contains(TEACHERS[name])
