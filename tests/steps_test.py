"""Tests of `steps`: what each Keras layer counts as."""

import keras
import pytest
from keras import layers

from archcomp_tf.keras_graph import UnsupportedModelError, calls
from archcomp_tf.layer import Op
from archcomp_tf.steps import (
    POOL,
    RELU,
    activation_name,
    item_text,
    steps,
    without,
)

SHAPE = (6, 6, 3)


def read(*hidden, shape=SHAPE):
    """The steps of some layers on an image."""
    model = keras.Sequential([keras.Input(shape), *hidden])
    return steps(calls(model), shape)


def items(*hidden):
    return [step.item for step in read(*hidden)]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(4, 3), [Op("conv", 4, 3, 1, True)]),
        (
            layers.Conv2D(4, 3, 2, activation="relu", use_bias=False),
            [Op("conv", 4, 3, 2), RELU],
        ),
        (
            layers.DepthwiseConv2D(3, use_bias=False),
            [Op("depthwise_conv", 0, 3)],
        ),
        (
            layers.SeparableConv2D(4, 5),
            [Op("depthwise_conv", 0, 5), RELU, Op("conv", 4, 1, 1, True)],
        ),
        (layers.MaxPooling2D(), [Op("max_pool", 0, 2, 2)]),
        (layers.AveragePooling2D(3, 1), [Op("avg_pool", 0, 3, 1)]),
        (layers.AveragePooling2D(6), [POOL]),
        (layers.AveragePooling2D(6, padding="same"), [Op("avg_pool", 0, 6, 6)]),
        (layers.GlobalMaxPooling2D(), [POOL]),
        (layers.Flatten(), [Op("flatten")]),
        (layers.Reshape((-1,)), [Op("flatten")]),
        (layers.BatchNormalization(), [Op("batch_norm")]),
        (layers.Softmax(), [Op("softmax")]),
        (layers.Dropout(0.1), [None]),
        (layers.ZeroPadding2D(), [None]),
        (layers.Rescaling(2.0), [None]),
        (layers.ActivityRegularization(0.1), [None]),
        (layers.Conv2D(4, 6), [Op("flatten"), Op("dense", 4, use_bias=True)]),
    ],
)
def test_a_layer_counts_as_its_operations(layer, expected):
    assert items(layer) == expected


def test_shapes_are_those_of_the_model():
    conv, relu, pool = read(
        layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(3)
    )
    assert (conv.input_shape, conv.output_shape) == (SHAPE, (4, 4, 4))
    assert (relu.input_shape, relu.output_shape) == ((4, 4, 4), (4, 4, 4))
    assert pool.output_shape == (1, 1, 4)


def test_zero_padding_leaves_the_shape_to_what_follows():
    pad, conv = read(layers.ZeroPadding2D(1), layers.Conv2D(4, 3))
    assert pad.output_shape == SHAPE
    assert conv.output_shape == (6, 6, 4)
    assert not conv.remarks


def test_a_vector_may_have_the_form_of_a_map_of_one_pixel():
    row = read(
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Conv2D(4, 1),
        layers.GlobalAveragePooling2D(),
        layers.Reshape((1, 1, 4)),
        layers.Flatten(),
    )
    kept = [step.item for step in row if step.item]
    assert kept == [POOL, Op("dense", 4, use_bias=True)]
    assert row[-1].output_shape == (4,)


def test_every_layer_is_counted_once():
    hidden = [
        layers.SeparableConv2D(4, 3, activation="relu", padding="same"),
        layers.Conv2D(4, 6, activation="relu"),
        layers.Dropout(0.1),
    ]
    counted = [layer for step in read(*hidden) for layer in step.layers]
    assert counted == hidden


def test_a_sum_counts_the_layers_of_its_paths():
    image = keras.Input(SHAPE)
    conv, norm = layers.Conv2D(3, 1), layers.BatchNormalization()
    add = layers.Add()
    model = keras.Model(
        image, add([image, layers.Dropout(0.1)(norm(conv(image)))])
    )
    (step,) = steps(calls(model), SHAPE)
    conv_op = Op("conv", 3, 1, 1, True)
    assert step.item == frozenset({(), (conv_op, Op("batch_norm"))})
    assert {conv, norm, add} < set(step.layers)
    assert step.output_shape == SHAPE


def test_a_gate_is_left_out_and_its_layers_counted():
    image = keras.Input(SHAPE)
    pool, dense = layers.GlobalAveragePooling2D(), layers.Dense(3)
    multiply = layers.Multiply()
    model = keras.Model(image, multiply([image, dense(pool(image))]))
    (step,) = steps(calls(model), SHAPE)
    assert (step.item, step.output_shape) == (None, SHAPE)
    assert step.layers == (pool, dense, multiply)
    assert step.remarks == ("a gate left out",)


def test_a_product_with_what_has_no_weights_is_an_activation():
    image = keras.Input(SHAPE)
    sigmoid = layers.Activation("sigmoid")
    model = keras.Model(image, layers.Multiply()([image, sigmoid(image)]))
    (step,) = steps(calls(model), SHAPE)
    assert (step.item, step.remarks) == (RELU, ("x * sigmoid built as relu",))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.ReLU(), "ReLU"),
        (layers.ReLU(6.0), "ReLU(6)"),
        (
            layers.ReLU(6.0, negative_slope=0.3, threshold=1.0),
            "ReLU(6, negative_slope=0.3, threshold=1)",
        ),
        (layers.Conv2D(2, 1, activation=layers.ReLU(6.0)), "ReLU(6)"),
        (layers.PReLU(), "PReLU"),
        (layers.Activation("tanh"), "tanh"),
        (layers.Dense(2), "linear"),
        (layers.Dense(2, activation=layers.LeakyReLU()), "LeakyReLU"),
        (layers.Flatten(), "linear"),
    ],
)
def test_the_activation_of_a_layer_has_its_name(layer, name):
    assert activation_name(layer) == name


def test_an_activation_other_than_relu_is_said():
    assert [s.remarks for s in read(layers.ReLU(), layers.ReLU(6.0))] == [
        (),
        ("ReLU(6) built as relu",),
    ]


def test_weights_left_out_are_counted_by_the_step_before_or_else_behind():
    row = read(
        layers.Dropout(0.1),
        layers.Conv2D(4, 3),
        layers.BatchNormalization(),
        layers.ZeroPadding2D(),
        layers.MaxPooling2D(),
    )
    kinds = [
        [type(layer).__name__ for layer in step.layers]
        for step in without(without(row, None), Op("batch_norm"))
    ]
    assert kinds == [
        ["Dropout", "Conv2D", "BatchNormalization"],
        ["ZeroPadding2D", "MaxPooling2D"],
    ]


def test_steps_at_the_end_are_not_lost():
    row = without(read(layers.ReLU(), layers.ZeroPadding2D()), None)
    assert [len(step.layers) for step in row] == [2]


def test_an_item_has_a_short_text():
    conv = Op("conv", 4, 3, 2)
    assert item_text(conv) == "conv3x3-4/2"
    assert item_text(Op("dense", 5)) == "dense-5"
    assert item_text(None) == "nothing"
    text = "the sum of (conv3x3-4/2 relu) and (nothing)"
    assert item_text(frozenset({(), (conv, RELU)})) == text


def test_an_image_is_neither_cut_nor_resized_behind_the_front():
    with pytest.raises(UnsupportedModelError, match="in front of all layers"):
        read(layers.ReLU(), layers.CenterCrop(4, 4))


def test_padding_same_behind_zeros_that_are_left_out_gives_other_maps():
    (_, step) = read(
        layers.ZeroPadding2D(1), layers.Conv2D(4, 3, padding="same")
    )
    assert step.remarks == ("maps of (8, 8, 4) built as (6, 6, 4)",)
