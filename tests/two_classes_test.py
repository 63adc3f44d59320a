"""Tests of `archcomp_tf.two_classes`."""

import keras
import numpy as np
import pytest
import tiny
from keras import layers

from archcomp_tf.importer import from_keras
from archcomp_tf.two_classes import as_two_classes


def _model(*end, nested=False):
    """A classifier of images that ends so, with random weights."""
    keras.utils.set_random_seed(0)
    body = [
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
    ]
    if nested:
        body = [keras.Sequential([keras.Input(tiny.SHAPE), *body])]
    model = keras.Sequential([keras.Input(tiny.SHAPE), *body, *end])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def _outputs(model):
    images = tiny.dataset().test.images
    return keras.ops.convert_to_numpy(model(images, training=False))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "end",
    [
        [layers.Dense(1, activation="sigmoid")],
        [layers.Dense(1, activation="sigmoid", use_bias=False)],
        [layers.Dense(1), layers.Activation("sigmoid")],
    ],
)
def test_a_probability_becomes_those_of_both_classes(end, nested):
    layers_of_end = [type(x).from_config(x.get_config()) for x in end]
    model = _model(*layers_of_end, nested=nested)
    found = as_two_classes(model)
    probability = _outputs(model)
    assert 0.01 < probability.min() and probability.max() < 0.99
    np.testing.assert_allclose(
        _outputs(found),
        np.concatenate([1 - probability, probability], axis=1),
        atol=1e-6,
    )
    assert str(from_keras(found)) == "conv3x3-4"


@pytest.mark.parametrize("behind", [[], [layers.Activation("sigmoid")]])
def test_the_last_layer_may_be_that_of_a_nested_model(behind):
    inner = _model(layers.Dropout(0.5), layers.Dense(1))
    image = keras.Input(tiny.SHAPE)
    nested = inner(layers.Rescaling(2.0)(image), training=False)
    for layer in behind:
        nested = layer(nested)
    model = keras.Model(image, nested)
    for outer in (model, keras.Sequential([layers.Rescaling(1.0), model])):
        outer.build((None, *tiny.SHAPE))
        found = _outputs(as_two_classes(outer))
        if behind:
            expected = _outputs(outer)
            np.testing.assert_allclose(found[:, 1:], expected, atol=1e-6)
            np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        else:
            logit = _outputs(outer)
            expected = np.concatenate([np.zeros_like(logit), logit], axis=1)
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_logit_becomes_two():
    model = _model(layers.Dense(1))
    logit = _outputs(model)
    np.testing.assert_allclose(
        _outputs(as_two_classes(model)),
        np.concatenate([np.zeros_like(logit), logit], axis=1),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "end",
    [
        [layers.Dense(2)],
        [layers.Dense(1, activation="tanh")],
        [layers.Dense(1, activation="sigmoid"), layers.Activation("sigmoid")],
        [layers.Dense(1), layers.Rescaling(2.0)],
        [keras.Sequential([keras.Input((4,)), layers.Dense(2)])],
    ],
)
def test_whatever_else_there_is_stays_as_it_is(end):
    model = _model(*end)
    assert as_two_classes(model) is model
