"""Tests of `reading`: the rows and the table of an explanation."""

import keras
import pytest
from keras import layers

from archcomp_tf import cost, reading
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.keras_graph import calls
from archcomp_tf.layer import Layer, Op
from archcomp_tf.steps import steps

SHAPE = (6, 6, 3)


def row(text, *hidden, remarks=()):
    """The row of some Keras layers that are read as `text`."""
    model = keras.Sequential([keras.Input(SHAPE), *hidden])
    block = Layer.parse(text).expand(SHAPE[-1])
    found = steps(calls(model), SHAPE)
    return reading.row(text, found, remarks, block, SHAPE)


@pytest.mark.parametrize(
    "text",
    [
        "conv3x3-4",
        "separable_conv3x3-4",
        "residual3x3-4",
        "residual3x3-3",
        "bottleneck3x3-8",
        "inverted_residual3x3-4x2",
        "max_pool2x2/2",
        "flatten",
    ],
)
def test_what_is_built_is_counted_as_cost_counts_it(text):
    architecture = Architecture.parse(text)
    whole = cost.num_params(architecture, SHAPE, 2)
    classifier = build(architecture, SHAPE, 2).layers[-1].count_params()
    found = row(text, layers.Identity())
    assert found.built_params == whole - classifier


def test_weights_differ_by_what_they_are():
    found = row(
        "conv3x3-4",
        layers.Conv2D(5, 3, use_bias=False, padding="same"),
        layers.BatchNormalization(scale=False),
        layers.PReLU(shared_axes=[1, 2]),
    )
    assert found.causes == {
        "kernel": 9 * 3 * (4 - 5),
        "bias": 4,
        "batch norm": 4 * 4 - 3 * 5,
        "activation": -5,
    }
    assert sum(found.causes.values()) == found.built_params - found.num_params


def test_a_row_without_differences_says_nothing():
    found = row(
        "conv3x3-4",
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
    )
    assert (found.causes, found.remarks, found.why) == ({}, (), "")
    assert found.num_params == found.built_params == 9 * 3 * 4 + 4 + 4 * 4


def test_remarks_are_said_once_and_the_other_shape_last():
    found = row(
        "conv3x3-4",
        layers.Conv2D(4, 3, activation="tanh"),
        layers.Activation("tanh"),
        remarks=("an activation left out",),
    )
    assert found.remarks == (
        "tanh built as relu",
        "padding 'valid' built as 'same'",
        "an activation left out",
        "gives 4x4x4, built 6x6x4",
    )
    assert found.why == "; ".join(["batch norm +16", *found.remarks])


def test_the_table_ends_with_the_sums():
    rows = [
        reading.Row(("a", "b"), "conv3x3-4", 1000, 1016, {"bias": 16}, ()),
        reading.Row(tuple("cdefg"), "pool", 0, 0, {}, ("as a mean",)),
    ]
    table = str(
        reading.Reading(Architecture.parse("conv3x3-4"), SHAPE, 2, tuple(rows))
    )
    assert table.splitlines() == [
        "Keras layers  read as    in the model  built  why",
        "a b           conv3x3-4         1,000  1,016  bias +16",
        "c ... g (5)   pool                  0      0  as a mean",
        "sum                             1,000  1,016",
    ]


def test_the_front_is_built_by_nobody():
    image = keras.Input(SHAPE)
    x = layers.Normalization(name="norm")(image) * 2.0
    found = reading.front_row(calls(keras.Model(image, x)))
    assert found.layers[0] == "norm"
    assert (found.num_params, found.built_params) == (7, 0)
    assert found.causes == {"front": -7}
    assert (
        reading.front_row(calls(keras.Model(image, image * 2.0))).causes == {}
    )


def test_a_convolution_of_the_whole_map_counts_as_dense():
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 6)])
    flatten, dense = steps(calls(model), SHAPE)
    (vector,) = flatten.output_shape
    block = Layer("dense", 4).expand(vector)
    assert block.branch[0] == Op("dense", 4, use_bias=True)
    found = reading.row("dense-4", [dense], (), block, (vector,))
    assert found.causes == {}
    assert found.num_params == 6 * 6 * 3 * 4 + 4
