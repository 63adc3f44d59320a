"""Tests of the architecture autoencoder."""

import embeddings
import keras
import numpy as np
import pytest
from embeddings import SPACE, members

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.backend import dtype_policy


@pytest.fixture(scope="module")
def trained():
    return embeddings.trained()


def test_every_point_of_the_embedding_decodes_to_a_member(trained):
    z = np.random.default_rng(0).normal(size=(200, trained.latent_dim)) * 10
    assert all(SPACE.contains(a) for a in trained.decode(z))


def test_the_code_of_each_slot_has_mean_zero_and_variance_one(trained):
    z = trained.encode(members(50))
    assert z.shape == (50, len(SPACE) * trained.channels)
    codes = z.reshape(50, len(SPACE), trained.channels)
    np.testing.assert_allclose(codes.mean(axis=-1), 0, atol=1e-4)
    np.testing.assert_allclose(codes.var(axis=-1), 1, atol=1e-3)


def test_projecting_leaves_encodings_alone_and_brings_the_rest_back(trained):
    z = trained.encode(members(50))
    np.testing.assert_allclose(trained.project(z), z, atol=1e-3)
    away = 3 * z + np.random.default_rng(0).normal(size=z.shape) + 1
    back = keras.ops.convert_to_numpy(trained.project(away.astype("float32")))
    np.testing.assert_allclose(
        back.reshape(50, len(SPACE), -1).var(axis=-1), 1, atol=1e-3
    )


def test_a_slot_of_the_embedding_speaks_of_its_layer_and_its_neighbours():
    # One convolution of window 3 stands on each side of z.
    space = embeddings.SearchSpace.uniform(
        num_slots=6, kinds=("conv",), filters=(4, 8, 16)
    )
    autoencoder = ArchitectureAutoencoder(space, channels=4, width=8)
    first, last = (
        Architecture.parse(f"{width} " + "conv3x3-4 " * 5)
        for width in ("conv3x3-8", "conv3x3-16")
    )
    z = autoencoder.encode([first, last]).reshape(2, 6, 4)
    differs = np.abs(z[0] - z[1]).max(axis=-1) > 1e-6
    assert differs.tolist() == [True, True, False, False, False, False]


def test_the_heads_say_what_the_outputs_of_the_model_say(trained):
    x = trained.encoding.encode(members(20))
    outputs = trained(x, training=False)
    accuracy, spread, log_params = trained.predict_heads(members(20))
    expected = trained.accuracy_head.statistics(outputs["accuracy"])
    np.testing.assert_allclose(accuracy, expected[0], atol=1e-5)
    np.testing.assert_allclose(spread, expected[1], atol=1e-5)
    assert np.all((accuracy > 0) & (accuracy < 1))
    np.testing.assert_allclose(
        log_params, outputs["log_params"][:, 0], atol=1e-5
    )


def test_a_saved_model_comes_back_with_its_space_and_its_numbers(
    trained, tmp_path
):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.space == SPACE
    np.testing.assert_allclose(
        loaded.encode(members(20)), trained.encode(members(20)), atol=1e-6
    )
    np.testing.assert_allclose(
        loaded.predict_heads(members(20)),
        trained.predict_heads(members(20)),
        atol=1e-6,
    )


def test_the_reconstruction_loss_is_zero_for_certain_and_right_logits():
    autoencoder = ArchitectureAutoencoder(SPACE, channels=4, width=8)
    x = autoencoder.encoding.encode(members(10))
    loss = autoencoder.reconstruction_loss(x, 1e3 * x)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), 0, atol=1e-4)
    # Uniform logits: the logarithm of the number of choices, group by group.
    member = Architecture.parse("conv3x3-4 identity identity")
    x = autoencoder.encoding.encode([member])
    loss = autoencoder.reconstruction_loss(x, np.zeros_like(x))
    expected = (3 * np.log(3) + np.log(4) + np.log(2) + np.log(1)) / 3
    np.testing.assert_allclose(float(loss[0]), expected, rtol=1e-5)


def test_a_dtype_policy_of_the_session_is_none_of_the_embeddings(tmp_path):
    with dtype_policy("mixed_float16"):
        built = ArchitectureAutoencoder(SPACE, channels=4, width=8)
        built.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        x = built.encoding.encode(members(10))
        loss = built.reconstruction_loss(x, built(x)["logits"])
    assert np.isfinite(keras.ops.convert_to_numpy(loss)).all()
    for model in (built, loaded):
        found = {layer.compute_dtype for layer in model._flatten_layers()}
        assert found == {"float32"}


def test_a_network_outside_the_space_is_refused_by_slot_and_field():
    autoencoder = ArchitectureAutoencoder(SPACE, channels=4, width=8)
    stranger = Architecture.parse("conv3x3-4 conv3x3-5 identity")
    with pytest.raises(ValueError, match=r"Slot 1 .*filters 5 is not one of"):
        autoencoder.encode([stranger])


def test_of_no_network_there_is_no_point_and_of_none_no_network(trained):
    z = trained.encode([])
    assert z.shape == (0, trained.latent_dim)
    assert trained.decode(z) == []


@pytest.mark.parametrize(
    ("name", "value"), [("width", "64"), ("num_heads", 1.5), ("noise", None)]
)
def test_sizes_of_an_autoencoder_are_numbers(name, value):
    with pytest.raises(ValueError, match=f"{name}.*; got {value!r}"):
        ArchitectureAutoencoder(SPACE, **{name: value})


def test_too_few_numbers_a_slot_to_be_normalised_are_refused():
    with pytest.raises(
        ValueError, match="channels, a whole number, of at least 3; got 2"
    ):
        ArchitectureAutoencoder(SPACE, channels=2)
