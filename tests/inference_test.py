"""Tests of `archcomp_tf.inference`."""

import keras
import numpy as np
import pytest

from archcomp_tf import inference
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.datasets import Split


def test_accuracy_is_the_share_counted_by_hand():
    # The logits are the means of three channels.
    model = build(Architecture(()), (2, 2, 3), 3)
    model.get_layer("classifier").set_weights([np.eye(3), np.zeros(3)])
    brightest = np.array([0, 1, 2, 2, 1])
    images = np.zeros((5, 2, 2, 3), np.float32)
    for image, channel in zip(images, brightest, strict=True):
        image[..., channel] = 1
    labels = np.array([0, 1, 2, 0, 0], np.int32)
    split = Split(images, labels)
    assert inference.correct(model, split).tolist() == [1, 1, 1, 0, 0]
    assert inference.accuracy(model, split) == 3 / 5


def test_a_batch_of_large_images_holds_fewer_of_them(monkeypatch):
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((None, None, 1)), *layers])
    seen = []

    def record(model):
        return lambda images: seen.append(images.shape) or model(images)

    monkeypatch.setattr(inference, "compiled_inference", record)
    for num, side in ((600, 64), (30, 512)):
        inference.logits(model, np.zeros((num, side, side, 1), np.uint8))
    assert seen == 2 * [(300, 64, 64, 1)] + 4 * [(8, 512, 512, 1)]


def test_images_are_scaled_a_batch_at_a_time():
    model = build(Architecture(()), (1, 1, 1), 2)
    values = np.linspace(0, 1, 1300, dtype=np.float32).reshape(-1, 1, 1, 1)
    seen = []

    def scaled(images):
        seen.append(len(images))
        return 255 * images

    found = inference.logits(model, values, scaled)
    np.testing.assert_allclose(found, inference.logits(model, 255 * values))
    assert seen == 3 * [434]


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


@pytest.mark.parametrize(
    ("share", "seems"), [(0.0, True), (0.82, True), (0.89, False)]
)
def test_chance_is_to_say_the_commonest_class(share, seems):
    # 0.75, and twice its standard error of 0.043.
    labels = np.array([0] * 75 + [1] * 25)
    assert inference.seems_chance(share, labels) == seems
