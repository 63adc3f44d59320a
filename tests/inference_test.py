"""Tests of `archcomp_tf.inference`."""

import keras
import numpy as np
import pytest
import sklearn.datasets
import tiny

from archcomp_tf import inference
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.training import Recipe, build_and_train


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        ((4, 4, 3), 2, "takes colour images of 3 channels; .* are grey images"),
        ((8, 4, 1), 2, r"inputs of shape \(8, 4, 1\); .* shape \(4, 4, 1\)"),
        ((16,), 2, r"inputs of shape \(16,\)"),
        ((4, 4, 1), 10, "has 10 outputs; sides has 2 classes"),
    ],
)
def test_a_classifier_that_does_not_fit_the_data_is_told_why(
    shape, outputs, message
):
    inputs = keras.Input(shape)
    x = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(outputs)(x))
    with pytest.raises(ValueError, match=message):
        inference.check_fit(model, tiny.dataset())


def test_a_classifier_of_images_of_any_size_fits():
    inputs = keras.Input((None, None, 1))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    inference.check_fit(
        keras.Model(inputs, keras.layers.Dense(2)(x)), tiny.dataset()
    )


def test_accuracy_is_the_share_counted_by_hand():
    # The logits are the means of three channels.
    model = build(Architecture(()), (2, 2, 3), 3)
    model.get_layer("classifier").set_weights([np.eye(3), np.zeros(3)])
    brightest = np.array([0, 1, 2, 2, 1])
    images = np.zeros((5, 2, 2, 3), np.float32)
    for image, channel in zip(images, brightest, strict=True):
        image[..., channel] = 1
    labels = np.array([0, 1, 2, 0, 0], np.int32)
    assert inference.accuracy(model, Split(images, labels)) == 3 / 5


def test_logits_are_the_models_outputs_in_order_over_several_batches():
    model = build(Architecture(()), (1, 1, 1), 2)
    model.get_layer("classifier").set_weights(
        [np.array([[1, -2]]), np.zeros(2)]
    )
    values = np.linspace(0, 1, 1300, dtype=np.float32)
    logits = inference.logits(model, values.reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(
        logits, np.stack([values, -2 * values], axis=-1), rtol=1e-6
    )


def test_a_teachers_logits_are_its_outputs_or_the_logs_of_its_softmax():
    teacher = build(
        Architecture.parse("conv3x3-4 flatten"), tiny.SHAPE, tiny.NUM_CLASSES
    )
    kernel, bias = teacher.get_layer("classifier").get_weights()
    teacher.get_layer("classifier").set_weights([5 * kernel, bias])
    images = tiny.dataset().train.images
    logits = inference.logits(teacher, images)
    np.testing.assert_array_equal(
        inference.teacher_logits(teacher, images), logits
    )

    softmax = keras.Sequential([teacher, keras.layers.Softmax()])
    # Logits up to a constant, which no softmax sees.
    expected = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(
        inference.teacher_logits(softmax, images), expected, atol=1e-3
    )


@pytest.mark.parametrize("smoothing", [0.05, 0.1, 0.2])
def test_smoothed_labels_show_in_the_logits(smoothing):
    # What minimises the loss on labels smoothed over ten classes.
    labels = np.arange(100) % 10
    targets = (1 - smoothing) * np.eye(10)[labels] + smoothing / 10
    noise = np.random.default_rng(0).normal(0, 0.2, targets.shape)
    seen = inference.seeming_label_smoothing(np.log(targets) + noise)
    assert seen == pytest.approx(smoothing, rel=0.3)


@pytest.mark.parametrize(
    ("ahead", "spread", "num_classes"),
    [
        (10.0, 0.2, 10),  # too sure of itself for smoothed labels
        (5.0, 2.0, 10),  # it tells wrong classes apart
        (0.5, 0.0, 2),  # there is one wrong class
    ],
)
def test_labels_that_were_not_smoothed_do_not_seem_to_be(
    ahead, spread, num_classes
):
    shape = (100, num_classes)
    logits = np.random.default_rng(0).normal(0, spread, shape)
    logits[:, 0] = ahead
    assert inference.seeming_label_smoothing(logits) == 0


def test_a_network_trained_on_smoothed_labels_is_told_from_one_that_was_not():
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    split = Split((images / 16).reshape(-1, 8, 8, 1).astype("float32"), labels)
    dataset = Dataset("digits", 10, split, split, split)
    seeming = []
    for smoothing in (0.0, 0.1):
        model, _ = build_and_train(
            Architecture.parse("conv3x3-32 max_pool2x2/2 conv3x3-64"),
            dataset,
            Recipe(epochs=10, label_smoothing=smoothing),
            seed=0,
        )
        logits = inference.teacher_logits(model, split.images)
        seeming.append(inference.seeming_label_smoothing(logits))
    assert seeming[0] == 0
    assert seeming[1] == pytest.approx(0.1, abs=0.05)
