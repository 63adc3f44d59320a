"""Tests of the well-known teachers."""

import itertools

import pytest

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.teachers import TEACHERS, named


def _vgg_params(*widths: int) -> int:
    """Of 3x3 convolutions from width to width, and ten classes."""
    return 10 * (widths[-1] + 1) + sum(
        9 * inputs * outputs + 3 * outputs  # weights, bias, scale and offset
        for inputs, outputs in itertools.pairwise(widths)
    )


# Trainable parameters for 32x32 colour images and 10 classes, as published, and
# the biases that our `conv` has and the first or last convolution there has
# not.
PARAMETERS = {
    "vgg7": _vgg_params(3, 32, 64, 64, 128, 128, 256),
    "vgg11_half": _vgg_params(3, 32, 64, 128, 128, 256, 256, 256, 256),
    "vgg11": 9_231_114,
    "vgg13": 9_416_010,
    "vgg16": 14_728_266,
    "vgg19": 20_040_522,
    # The shortcuts are projected: 1x1 convolutions to 32 and 64 channels with
    # their batch norms.
    "resnet20": 269_722 + 16 + (16 * 32 + 64) + (32 * 64 + 128),
    "resnet32": 464_154 + 16 + (16 * 32 + 64) + (32 * 64 + 128),
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


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mobilenet_v1", (2, 2, 1024)), ("mobilenet_v2", (4, 4, 1280))],
)
def test_a_mobilenet_ends_in_maps_of_its_documented_size(name, shape):
    *_, pool, _ = TEACHERS[name].blocks((32, 32, 3), 10)
    assert pool[2] == shape


def test_a_network_is_named_or_written_out():
    assert named("vgg16") is TEACHERS["vgg16"]
    assert named("conv3x3-8") == Architecture.parse("conv3x3-8")
    with pytest.raises(ValueError, match="vgg16, .*got 'vgg15': "):
        named("vgg15")
