"""Tests of `keras_graph`: what is found between input and output."""

import keras
import numpy as np
import pytest
from keras import layers

from archcomp_tf import cost
from archcomp_tf.builder import build
from archcomp_tf.keras_graph import calls, flat, front, num_flops
from archcomp_tf.teachers import TEACHERS

SHAPE = (6, 6, 3)


def names(row):
    return [call.name for call in row]


def test_calls_come_in_the_order_of_the_graph():
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(2), layers.ReLU()]
    )
    row = calls(model)
    assert names(row) == ["flatten", "dense", "relu"]
    assert [call.input_shape for call in row] == [SHAPE, (108,), (2,)]
    assert [call.output_shape for call in row] == [(108,), (2,), (2,)]


def test_nested_models_are_unfolded():
    inner = keras.Sequential([keras.Input(SHAPE), layers.ReLU()])
    middle = keras.Sequential([inner, layers.Flatten()])
    model = keras.Sequential([keras.Input(SHAPE), middle, layers.Dense(2)])
    assert names(calls(model)) == ["relu", "flatten", "dense"]


def test_a_model_for_any_size_has_the_shapes_of_where_it_stands():
    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(1)(image)
    x = layers.Conv2D(4, 3, 2)(x)
    y = layers.Conv2D(4, 3, padding="same")(x)
    inner = keras.Model(image, layers.Add()([x, y]) * 2.0)
    outer = keras.Input(SHAPE)
    row = calls(keras.Model(outer, inner(outer)))
    shapes = [call.output_shape for call in row]
    assert shapes == [(8, 8, 3), (3, 3, 4), (3, 3, 4), (3, 3, 4)]


def test_a_sum_has_the_paths_from_where_they_part():
    image = keras.Input(SHAPE)
    x = layers.ReLU()(image)
    y = layers.Dropout(0.5)(layers.Conv2D(3, 1)(x))
    model = keras.Model(image, x + y)
    relu, total = calls(model)
    assert (relu.name, total.name) == ("relu", "add")
    assert [names(path) for path in total.paths] == [[], ["conv2d", "dropout"]]
    everything = ["relu", "conv2d", "dropout", "add"]
    assert names(flat([relu, total])) == everything


@pytest.mark.parametrize("turned", [False, True])
def test_a_gate_has_the_path_from_what_it_scales(turned):
    image = keras.Input(SHAPE)
    x = layers.ReLU()(image)
    y = layers.Dense(3)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    inputs = [y, x] if turned else [x, y]
    x = layers.Multiply()(inputs)
    model = keras.Model(image, layers.Add()([image, layers.ReLU()(x)]))
    (total,) = calls(model)
    relu, gate, _ = total.paths[1]
    assert gate.is_gate and not relu.is_gate and not total.is_gate
    paths = [names(path) for path in gate.paths]
    assert sorted(paths) == [[], ["globalaveragepooling2d", "dense"]]
    assert gate.input_shape == gate.output_shape == SHAPE


def test_a_product_of_two_paths_is_no_gate():
    image = keras.Input(SHAPE)
    paths = [layers.Conv2D(3, 1)(image), layers.Conv2D(3, 1)(image)]
    model = keras.Model(image, layers.Multiply(name="product")(paths))
    (call,) = calls(model)
    assert "'product' (Multiply): expected one input, or Add" in str(call.error)


def test_what_cannot_be_read_is_one_call_and_the_rest_is_read():
    image = keras.Input(SHAPE)
    x = first = layers.ReLU(name="first")(layers.Rescaling(2.0)(image))
    for index in range(3):  # none of it straight, nor from one to the next
        y = layers.Conv2D(3, 1)(x)
        x = layers.Concatenate(name=f"join{index}")([first, x, y])
    x = layers.Add()([x, layers.ReLU()(x)])
    x = layers.Flatten()(x)
    row = calls(keras.Model(image, layers.Dense(2)(x)))
    assert names(row) == [
        *("rescaling", "relu", "concatenate", "add", "flatten", "dense")
    ]
    assert [call.layer.name for call in row if call.error] == ["join2"]
    assert names(front(row)) == ["rescaling"]
    assert row[1].output_shape == SHAPE


def test_a_nested_model_without_a_graph_is_one_call():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    image = keras.Input(SHAPE)
    x = Subclassed(name="inside")(layers.Rescaling(2.0)(image))
    scaled, inside, relu = calls(keras.Model(image, layers.ReLU()(x)))
    assert "'inside'" in str(inside.error)
    assert not scaled.error and not relu.error


def test_what_cannot_be_read_is_never_in_front():
    image = keras.Input(SHAPE)
    x = layers.Concatenate()([image, layers.Conv2D(3, 1)(image)])
    assert not front(calls(keras.Model(image, x)))


def test_the_front_ends_before_the_first_layer_that_counts():
    image = keras.Input(SHAPE)
    x = layers.RandomFlip()(image) / 255.0 - 0.5
    x = layers.ReLU()(x)
    model = keras.Model(image, layers.Rescaling(2.0)(x))
    assert names(front(calls(model))) == [
        "randomflip",
        "truedivide",
        "subtract",
    ]


def test_a_reshape_is_in_front_where_it_gives_an_image():
    image = keras.Input((6, 6))
    x = layers.Reshape((6, 6, 1))(image)
    assert names(front(calls(keras.Model(image, x)))) == ["reshape"]
    x = layers.Reshape((36,))(image)
    assert not front(calls(keras.Model(image, x)))


def test_a_sum_of_two_is_never_in_front():
    image = keras.Input(SHAPE)
    model = keras.Model(image, layers.Add()([image, image * 2.0]))
    assert not front(calls(model))


def test_a_call_does_the_same_to_another_tensor():
    image = keras.Input(SHAPE)
    x = keras.applications.resnet.preprocess_input(image)
    x = layers.Concatenate()([x, x])
    row = calls(keras.Model(image, x))
    again = other = keras.Input(SHAPE)
    for call in row:
        again = call(again)
    images = np.random.default_rng(0).uniform(size=(2, *SHAPE))
    expected = keras.Model(image, x)(images)
    np.testing.assert_allclose(keras.Model(other, again)(images), expected)


def test_a_call_can_be_made_of_another_layer():
    image = keras.Input(SHAPE)
    model = keras.Model(image, layers.Rescaling(2.0)(image))
    (call,) = calls(model)
    ones = np.ones((1, *SHAPE))
    x = keras.Input(SHAPE)
    y = call(x, lambda layer: layers.Rescaling(5.0))
    np.testing.assert_allclose(keras.Model(x, y)(ones), 5 * ones)


def test_what_forbids_a_straight_path_is_named():
    image = keras.Input(SHAPE)
    both = layers.Concatenate(name="both")([image, layers.Dense(3)(image)])
    sums = layers.Add(name="sum")([image, layers.Conv2D(3, 1)(both)])
    (call,) = calls(keras.Model(image, sums))
    assert "'both' (Concatenate): expected one input, or Add" in str(call.error)


def test_a_layer_without_weights_may_be_used_twice():
    relu = layers.ReLU()
    model = keras.Sequential([keras.Input(SHAPE), relu])
    model = keras.Model(model.inputs, relu(model.outputs[0]))
    assert names(calls(model)) == ["relu", "relu"]


def test_operations_are_those_of_the_model_as_it_is():
    image = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(6, 5, activation="relu")(x)  # 4x4 pixels
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * layers.Conv2D(6, 1, activation="sigmoid")(gate)
    x = layers.SeparableConv2D(10, 3, 2, padding="same")(x)  # 2x2
    x = layers.BatchNormalization()(x)
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    multiply_adds = [
        *(5 * 5 * 3 * 6 * 4 * 4, 6 * 6),
        *(3 * 3 * 6 * 2 * 2, 6 * 10 * 2 * 2),
        2 * 2 * 10 * 2,
    ]
    assert num_flops(calls(model)) == 2 * sum(multiply_adds)


@pytest.mark.parametrize("name", ["vgg7", "resnet20", "mobilenet_v2"])
def test_operations_of_what_is_built_are_those_of_its_layers(name):
    network = TEACHERS[name], (32, 32, 3), 10
    assert num_flops(calls(build(*network))) == cost.num_flops(*network)
