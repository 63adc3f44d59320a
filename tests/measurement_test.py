"""Tests of `archcomp_tf.measurement`."""

import math
import time
import warnings

import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.datasets import Split
from archcomp_tf.images import unit
from archcomp_tf.litert import export_litert
from archcomp_tf.measurement import latency_ms, measure, outputs, ram_bytes

INPUT_SHAPE, NUM_CLASSES = (8, 8, 1), 3
SMALL = Architecture.parse("conv3x3-8 max_pool2x2/2 separable_conv3x3-8")
LARGE = Architecture.parse("conv3x3-64 conv3x3-64 conv3x3-64")


@pytest.fixture(scope="module")
def split():
    """Noise of another brightness in each image, and no labels yet."""
    rng = np.random.default_rng(0)
    brightness = np.linspace(0, 1, 80, dtype=np.float32)
    images = brightness[:, None, None, None] * rng.random(
        (80, *INPUT_SHAPE), np.float32
    )
    return Split(images, np.zeros(80, np.int32))


@pytest.fixture(scope="module")
def small(split):
    """A network that gives every class to some images."""
    keras.utils.set_random_seed(0)
    model = build(SMALL, INPUT_SHAPE, NUM_CLASSES)
    logits = keras.ops.convert_to_numpy(model(split.images))
    bias = model.get_layer("classifier").bias
    bias.assign(-np.median(logits, axis=0))
    return model


@pytest.fixture(scope="module")
def files(small, split, tmp_path_factory):
    return export_litert(small, tmp_path_factory.mktemp("s"), split.images)


def test_outputs_are_those_of_the_keras_model_within_the_precision(
    small, files, split
):
    expected = keras.ops.convert_to_numpy(small(split.images))
    span = expected.max() - expected.min()
    for precision, share in (
        ("float32", 1e-5),
        ("float16", 5e-3),
        ("int8", 5e-2),
    ):
        found = outputs(files[precision], split.images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=share * span)


def test_outputs_of_bytes_are_those_of_the_same_images_in_0_to_1(files, split):
    pixels = np.round(255 * split.images).astype(np.uint8)
    for path in files.values():
        np.testing.assert_array_equal(
            outputs(path, pixels), outputs(path, unit(pixels))
        )


def test_accuracy_is_the_share_of_labels_that_are_met(small, files, split):
    logits = keras.ops.convert_to_numpy(small(split.images))
    labels = logits.argmax(axis=-1)
    assert set(labels) == {0, 1, 2}
    labels[:20] = (labels[:20] + 1) % NUM_CLASSES  # a quarter is wrong
    measured = measure(files, Split(split.images, labels))
    assert measured["float32"]["accuracy"] == 0.75
    assert measured["float32"]["num_images"] == len(labels)
    assert measured["float16"]["accuracy"] == pytest.approx(0.75, abs=0.03)
    assert measured["int8"]["accuracy"] == pytest.approx(0.75, abs=0.1)


def test_each_file_gets_its_own_size_and_a_larger_network_takes_longer(
    files, split, tmp_path
):
    large = export_litert(
        build(LARGE, INPUT_SHAPE, NUM_CLASSES), tmp_path, split.images
    )
    both = {"large": large["int8"], "small": str(files["int8"])}
    measured = measure(both, split)
    assert list(measured) == ["large", "small"]
    for name, path in (("large", large["int8"]), ("small", files["int8"])):
        assert measured[name]["bytes"] == path.stat().st_size
        assert measured[name]["ram_bytes"] == ram_bytes(path)
    latencies = {name: m["latency_ms"] for name, m in measured.items()}
    assert 0 < 2 * latencies["small"] < latencies["large"] < math.inf


def test_latency_of_an_untrained_network_is_known_in_a_moment(capfd):
    small = build(SMALL, INPUT_SHAPE, NUM_CLASSES)
    large = build(LARGE, INPUT_SHAPE, NUM_CLASSES)
    capfd.readouterr()
    start = time.process_time()  # whoever else is busy
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert 0 < 2 * latency_ms(small) < latency_ms(large)
    assert time.process_time() - start < 10
    assert capfd.readouterr() == ("", "")


def test_a_network_with_a_layer_of_zeros_is_measured(tmp_path, split):
    model = build(
        Architecture.parse("conv3x3-1 conv3x3-8"), INPUT_SHAPE, NUM_CLASSES
    )
    (batch_norm, _) = (
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    batch_norm.beta.assign([-10.0])
    files = export_litert(model, tmp_path, split.images)
    assert measure(files, split).keys() == {"float32", "float16", "int8"}


def test_a_recurrent_network_is_measured(tmp_path, split):
    height, width, channels = INPUT_SHAPE
    model = keras.Sequential(
        [
            keras.Input(INPUT_SHAPE),
            keras.layers.Conv2D(channels, 3, padding="same"),
            keras.layers.Reshape((height, width * channels)),
            keras.layers.LSTM(4),
            keras.layers.Dense(NUM_CLASSES),
        ]
    )
    # As a teacher is: the converter takes its loop for no other kind.
    files = export_litert(model, tmp_path, split.images, ("float32",))
    found = measure(files, split)["float32"]
    # An image at least, and what is within the loop.
    assert found["ram_bytes"] > 4 * height * width * channels
