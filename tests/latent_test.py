"""Tests of `archcomp_tf.latent`."""

import embeddings
import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.latent import LatentMap, map_embedding, on_plane
from archcomp_tf.objective import LogParams


def _map(z, paths):
    shape = paths.shape[:2]
    zeros = np.zeros(shape)
    return LatentMap(z, paths, zeros, zeros, np.full(shape, "conv3x3-4"))


def test_a_map_is_read_back_as_it_was_saved(tmp_path):
    rng = np.random.default_rng(0)
    saved = _map(rng.normal(size=(5, 4)), rng.normal(size=(3, 2, 4)))
    saved.save(tmp_path / "map.npz")
    read = LatentMap.load(tmp_path / "map.npz")
    for name, values in vars(saved).items():
        np.testing.assert_array_equal(getattr(read, name), values)


def test_points_in_a_plane_keep_their_distances_on_it():
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(7, 2)))
    flat = rng.normal(size=(20, 2)) * [5, 1]
    z = flat @ directions.T + rng.normal(size=7)
    found, paths = on_plane(z, z[None, :3])
    np.testing.assert_allclose(paths, found[None, :3], atol=1e-9)

    def distances(points):
        return np.linalg.norm(points[:, None] - points, axis=-1)

    np.testing.assert_allclose(distances(found), distances(z), atol=1e-9)
    # The first direction is the one in which they differ most.
    assert found[:, 0].std() > 2 * found[:, 1].std()


@pytest.mark.parametrize("shape", [(1, 4), (2, 1)])
def test_what_has_no_two_directions_lies_on_one_line(shape):
    z = np.arange(float(np.prod(shape))).reshape(shape)
    found, paths = on_plane(z, z[None])
    assert found.shape == (shape[0], 2)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(paths[0], found)


@pytest.fixture(scope="module")
def drawn():
    keras.utils.set_random_seed(0)
    teacher, *networks = embeddings.members(13)
    autoencoder = ArchitectureAutoencoder(embeddings.SPACE, 4, 16)
    return (
        map_embedding(autoencoder, networks, teacher, LogParams(0.3), 4),
        autoencoder,
        networks,
        teacher,
    )


def test_descents_start_from_the_teacher_and_from_networks_apart(drawn):
    latent, autoencoder, networks, teacher = drawn
    np.testing.assert_allclose(
        latent.z, autoencoder.encode(networks), atol=1e-5
    )
    starts = autoencoder.encode(
        [teacher, networks[0], networks[6], networks[-1]]
    )
    np.testing.assert_allclose(latent.paths[0], starts, atol=1e-5)


def test_along_the_paths_stands_what_the_heads_expect_and_decode(drawn):
    latent, autoencoder, _, _ = drawn
    num_steps, num_descents, _ = latent.paths.shape
    assert latent.decoded.shape == (num_steps, num_descents)
    accuracy, _, log_params = autoencoder.heads(latent.paths[-1])
    np.testing.assert_allclose(latent.accuracy[-1], accuracy, atol=1e-4)
    np.testing.assert_allclose(latent.log_params[-1], log_params, atol=1e-4)
    for text, network in zip(
        latent.decoded[-1], autoencoder.decode(latent.paths[-1]), strict=True
    ):
        assert Architecture.parse(text) == network.compact
    values = latent.accuracy - 0.3 * latent.log_params
    assert values[-1].mean() > values[0].mean()
