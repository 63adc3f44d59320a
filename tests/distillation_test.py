"""Tests of `archcomp_tf.distillation`."""

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf import datasets, distillation, inference
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.datasets import Dataset
from archcomp_tf.preprocessing import Preprocessing
from archcomp_tf.training import Recipe, build_and_train


def test_a_teachers_logits_are_its_outputs_or_the_logs_of_its_softmax():
    teacher = build(
        Architecture.parse("conv3x3-4 flatten"), tiny.SHAPE, tiny.NUM_CLASSES
    )
    kernel, bias = teacher.get_layer("classifier").get_weights()
    teacher.get_layer("classifier").set_weights([5 * kernel, bias])
    images = tiny.dataset().train.images
    logits = inference.logits(teacher, images)
    np.testing.assert_array_equal(
        distillation.teacher_logits(teacher, images), logits
    )

    softmax = keras.Sequential([teacher, keras.layers.Softmax()])
    # Logits up to a constant, which no softmax sees.
    expected = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(
        distillation.teacher_logits(softmax, images), expected, atol=1e-3
    )
    rounded = keras.Sequential(
        [teacher, keras.layers.Softmax(dtype="bfloat16")]
    )
    np.testing.assert_allclose(
        distillation.teacher_logits(rounded, images), expected, atol=0.1
    )

    sigmoids = keras.Sequential([teacher, keras.layers.Activation("sigmoid")])
    np.testing.assert_allclose(
        distillation.teacher_logits(sigmoids, images), logits, atol=1e-3
    )


def test_probabilities_of_bfloat16_are_known_and_certain_ones_are_finite():
    images = tiny.dataset().train.images[:4]
    teacher = keras.Sequential(
        [keras.Input(tiny.SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    for given, expected in (
        # Each sums to 1 but for the rounding of bfloat16.
        ([0.3, 0.3, 0.402], np.log([0.3, 0.3, 0.402])),
        ([1.0, 1.0, 0.5], [16, 16, 0]),
    ):
        kernel, _ = teacher.get_weights()
        teacher.set_weights([0 * kernel, np.array(given)])
        found = distillation.teacher_logits(teacher, images)
        np.testing.assert_allclose(found, len(images) * [expected], atol=0.1)


@pytest.mark.parametrize("smoothing", [0.05, 0.1, 0.2])
def test_smoothed_labels_show_in_the_logits(smoothing):
    # What minimises the loss on labels smoothed over ten classes.
    labels = np.arange(100) % 10
    targets = (1 - smoothing) * np.eye(10)[labels] + smoothing / 10
    noise = np.random.default_rng(0).normal(0, 0.2, targets.shape)
    seen = distillation.seeming_label_smoothing(np.log(targets) + noise)
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
    assert distillation.seeming_label_smoothing(logits) == 0


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits", validation_fraction=0.2, seed=0)


def _trained(dataset, smoothing) -> keras.Model:
    model, _ = build_and_train(
        Architecture.parse("conv3x3-32 max_pool2x2/2 conv3x3-64"),
        dataset,
        Recipe(epochs=20, label_smoothing=smoothing),
        seed=0,
    )
    return model


def _seeming(model, dataset) -> float:
    return distillation.seeming_label_smoothing(
        distillation.teacher_logits(model, dataset.train.images)
    )


@pytest.fixture(scope="module")
def smoothed(digits) -> keras.Model:
    return _trained(digits, 0.1)


def test_a_network_trained_on_smoothed_labels_is_told_from_one_that_was_not(
    digits, smoothed
):
    assert _seeming(_trained(digits, 0.0), digits) == 0
    assert _seeming(smoothed, digits) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("end", "frozen"),
    [(None, False), ("softmax", False), ("sigmoid", False), (None, True)],
)
def test_some_epochs_without_smoothing_tell_wrong_classes_apart(
    digits, smoothed, end, frozen
):
    teacher = keras.models.clone_model(smoothed)
    teacher.set_weights(smoothed.get_weights())
    if end:
        outputs = keras.layers.Activation(end)(teacher.output)
        teacher = keras.Model(teacher.input, outputs)
    teacher.trainable = not frozen
    before = inference.accuracy(teacher, digits.validation)
    recipe = Recipe(epochs=10, label_smoothing=0.1, max_shift=1)
    distillation.unsmooth(teacher, digits, recipe, seed=0)
    assert _seeming(teacher, digits) == 0
    assert inference.accuracy(teacher, digits.validation) > before - 0.02


def test_images_without_channels_cannot_be_changed(digits):
    inputs = keras.Input((8, 8))
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    teacher = keras.Model(inputs, outputs)
    flat = digits.map_images(Preprocessing(teacher).scaled)
    with pytest.raises(ValueError, match=r"\(8, 8\), without channels"):
        distillation.unsmooth(teacher, flat, Recipe(mirror=True), seed=0)
    before = inference.accuracy(teacher, flat.validation)
    distillation.unsmooth(teacher, flat, Recipe(epochs=2), seed=0)
    assert inference.accuracy(teacher, flat.validation) > before + 0.2
