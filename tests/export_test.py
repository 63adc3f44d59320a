"""Tests of `archcomp_tf.export`."""

import json
import pathlib
import warnings

import embeddings
import fresh
import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.descent import Descent
from archcomp_tf.export import (
    export_embedding,
    export_onnx,
    export_saved_model,
    save_keras,
)
from archcomp_tf.fitting import fit_ensemble_head
from archcomp_tf.objective import Tolerance

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

# Calls every endpoint of the SavedModel of argv[1] on the arrays of argv[2].
_USE_EMBEDDING = """
import sys

sys.modules["archcomp_tf"] = None  # importing it is an error
import numpy as np
import tensorflow as tf

embedding = tf.saved_model.load(sys.argv[1])
given = {k: tf.constant(v) for k, v in np.load(sys.argv[2]).items()}
encode, decode, predict, compress = (
    embedding.signatures[name]
    for name in ("encode", "decode", "predict", "compress")
)
(z,) = encode(x=given["x"]).values()
(x,) = decode(z=given["z"]).values()
outputs = {"z": z, "x": x, **predict(z=given["z"])}
for name in ("numbers", "other_numbers"):
    steps = {"num_steps": tf.constant(7), "learning_rate": tf.constant(0.05)}
    moved = compress(z=given["z"], numbers=given[name], **steps)
    called = embedding.compress(
        given["z"], given[name], steps["num_steps"], steps["learning_rate"]
    )
    for key, value in moved.items():
        outputs[f"{name}_{key}"] = value
        np.testing.assert_array_equal(value, called[key])
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


def _run_without_us(
    program: str, saved_model: pathlib.Path, **arrays: np.ndarray
):
    """What a new process without this package makes of some arrays."""
    folder = saved_model.parent
    np.savez(folder / "inputs.npz", **arrays)
    paths = [saved_model, folder / "inputs.npz", folder / "outputs.npz"]
    fresh.output(program, *paths, cwd=folder)
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
    outputs = _run_without_us(
        _CLASSIFY, folder / "saved_model", one=_images(1), seven=_images(7)
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


def test_an_onnx_file_gives_the_outputs_of_the_keras_model(tmp_path, capfd):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = _model(seed=0)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        export_onnx(model, tmp_path / "model.onnx")
    assert not [w for w in caught if "np.object" in str(w.message)]
    assert capfd.readouterr().out == ""
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for num in (1, 7):
        images = _images(num).astype(np.float32) / 255
        (outputs,) = session.run(None, {"image": images})
        expected = keras.ops.convert_to_numpy(model(images, training=False))
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    size = (tmp_path / "model.onnx").stat().st_size
    assert size < 4 * model.count_params() + 20_000


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


@pytest.fixture(scope="module")
def exported_embedding(tmp_path_factory):
    """An embedding, what went into its SavedModel and what came out."""
    autoencoder = embeddings.trained()
    labelled = embeddings.records(embeddings.members(40))
    fit_ensemble_head(autoencoder, autoencoder.accuracy_head, labelled, seed=0)
    folder = tmp_path_factory.mktemp("embedding") / "saved_model"
    export_embedding(autoencoder, folder, Tolerance)
    rng = np.random.default_rng(0)
    arrays = {
        "x": autoencoder.encoding.encode(embeddings.members(20)),
        # Points that no architecture is encoded as, too.
        "z": rng.normal(size=(30, autoencoder.latent_dim)).astype("float32"),
        "numbers": np.array([0.02, 0.9], np.float32),
        "other_numbers": np.array([0.3, 0.9], np.float32),
    }
    outputs = _run_without_us(_USE_EMBEDDING, folder, **arrays)
    return autoencoder, folder, arrays, outputs


def test_an_embedding_encodes_and_predicts_as_its_model_does(
    exported_embedding,
):
    autoencoder, _, arrays, outputs = exported_embedding
    np.testing.assert_allclose(
        outputs["z"], autoencoder.encode(embeddings.members(20)), atol=1e-6
    )
    names = ("accuracy", "accuracy_std", "log10_params")
    for name, expected in zip(
        names, autoencoder.heads(arrays["z"]), strict=True
    ):
        np.testing.assert_allclose(outputs[name], expected, atol=1e-5)


def test_an_embedding_decodes_every_point_to_a_member(exported_embedding):
    autoencoder, _, arrays, outputs = exported_embedding
    members = autoencoder.decode(arrays["z"])
    np.testing.assert_array_equal(
        outputs["x"], autoencoder.encoding.encode(members)
    )


@pytest.mark.parametrize(
    ("name", "max_drop"), [("numbers", 0.02), ("other_numbers", 0.3)]
)
def test_an_embedding_descends_as_its_model_does(
    exported_embedding, name, max_drop
):
    autoencoder, _, arrays, outputs = exported_embedding
    z, trace = Descent(autoencoder, Tolerance)(
        arrays["z"], Tolerance(max_drop, 0.9), 7, 0.05
    )
    np.testing.assert_allclose(outputs[f"{name}_z"], z, atol=1e-4)
    np.testing.assert_allclose(
        outputs[f"{name}_objective"], trace["objective"], rtol=1e-3
    )


def test_an_embedding_says_what_its_columns_mean(exported_embedding):
    autoencoder, folder, arrays, _ = exported_embedding
    layout = json.loads((folder / "assets.extra/layout.json").read_text())
    assert layout["objective"] == {
        "name": "Tolerance",
        "fields": ["max_drop", "reference_accuracy"],
    }
    # With it alone, a column can be read back.
    start, stop = layout["groups"]["kind"]
    kinds = arrays["x"][..., start:stop].argmax(axis=-1)
    for row, member in zip(kinds, embeddings.members(20), strict=True):
        assert [layout["kinds"][k] for k in row] == [
            layer.kind for layer in member.layers
        ]
    slots = layout["space"]["slots"]
    assert slots[0]["filters"] == list(autoencoder.space.slots[0].filters)
