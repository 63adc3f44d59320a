"""Tests of `archcomp_tf.export`."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.export import export_saved_model, save_keras

INPUT_SHAPE, NUM_CLASSES = (6, 5, 3), 4
ARCHITECTURE = Architecture.parse(
    "conv3x3-4 inverted_residual3x3-6x2/2 residual3x3-6 flatten dense-5"
)

# Loads the SavedModel of argv[1] and classifies the arrays of argv[2].
_CLASSIFY = """
import sys

sys.modules["archcomp_tf"] = None  # importing it is an error
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
serve = model.signatures["serving_default"]
outputs = {}
for name, images in np.load(sys.argv[2]).items():
    outputs[name] = model.classify(images).numpy()
    (served,) = serve(images=tf.constant(images)).values()
    outputs["served_" + name] = served.numpy()
np.savez(sys.argv[3], **outputs)
"""


def _model(seed: int) -> keras.Model:
    """A network with random weights, statistics of batch norms included."""
    model = build(ARCHITECTURE, INPUT_SHAPE, NUM_CLASSES)
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        low = 0.5 if "variance" in variable.path else -1
        variable.assign(rng.uniform(low, 1, variable.shape))
    return model


def _images(num: int) -> np.ndarray:
    """Noise around another brightness in each image."""
    rng = np.random.default_rng(num)
    brightness = rng.uniform(size=(num, 1, 1, 1))
    noise = rng.uniform(size=(num, *INPUT_SHAPE))
    return (255 * np.clip(brightness + noise - 0.5, 0, 1)).astype(np.uint8)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _expected(model: keras.Model, images: np.ndarray) -> np.ndarray:
    inputs = images.astype(np.float32) / 255
    return _softmax(keras.ops.convert_to_numpy(model(inputs, training=False)))


def _classify(saved_model: pathlib.Path, **batches: np.ndarray):
    """What a new process without this package gives for some batches."""
    folder = saved_model.parent
    np.savez(folder / "images.npz", **batches)
    paths = [saved_model, folder / "images.npz", folder / "outputs.npz"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", _CLASSIFY, *map(str, paths)],
        cwd=folder,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    return dict(np.load(folder / "outputs.npz"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A .keras model, the folder it is exported to and what comes out there.

    Another SavedModel, with a file more, was in the folder before.
    """
    folder = tmp_path_factory.mktemp("export")
    _model(seed=0).save(folder / "model.keras")
    export_saved_model(_model(seed=1), folder / "saved_model")
    (folder / "saved_model" / "assets" / "old.txt").write_text("")
    model = keras.saving.load_model(folder / "model.keras")
    export_saved_model(model, folder / "saved_model")
    outputs = _classify(
        folder / "saved_model", one=_images(1), seven=_images(7)
    )
    return model, folder / "saved_model", outputs


@pytest.mark.parametrize(("name", "num"), [("one", 1), ("seven", 7)])
@pytest.mark.parametrize("endpoint", ["", "served_"])
def test_a_saved_model_gives_the_probabilities_of_the_keras_model(
    exported, endpoint, name, num
):
    model, _, outputs = exported
    probabilities = outputs[endpoint + name]
    assert probabilities.shape == (num, NUM_CLASSES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(
        probabilities, _expected(model, _images(num)), atol=1e-6
    )


def test_the_probabilities_tell_the_images_and_the_models_apart(exported):
    # Or else any constant would do in the test above.
    _, _, outputs = exported
    assert len(np.unique(outputs["seven"].round(4), axis=0)) == 7
    others = _expected(_model(seed=1), _images(7))
    assert np.abs(outputs["seven"] - others).max() > 0.01


def test_a_saved_model_that_was_there_is_replaced_as_a_whole(exported):
    _, saved_model, _ = exported
    assert (saved_model / "saved_model.pb").is_file()
    assert not list(saved_model.rglob("old.txt"))


def test_a_keras_file_holds_the_weights_and_little_else(tmp_path):
    network = Architecture.parse("conv3x3-64 conv3x3-64")
    model = build(network, (6, 6, 3), 4)
    model.compile("adam", "mse")
    images = np.random.default_rng(0).random((8, 6, 6, 3), np.float32)
    model.fit(images, np.zeros((8, 4)), verbose=0)
    save_keras(model, tmp_path / "model.keras")
    model.save(tmp_path / "keras_own.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    size = (tmp_path / "model.keras").stat().st_size
    assert size < 4 * model.count_params() + 10_000
    # Adam keeps two numbers a weight.
    assert size < (tmp_path / "keras_own.keras").stat().st_size / 2.5
