"""Tests of the architecture autoencoder and its training."""

import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import (
    MIN_LABELS,
    ArchitectureAutoencoder,
    exact_reconstruction,
    fit_accuracy_head,
    fit_autoencoder,
    unlabelled_mix,
)
from archcomp_tf.compression import default_count_params
from archcomp_tf.corpus import FAILED, Record
from archcomp_tf.search_space import SearchSpace

SPACE = SearchSpace.uniform(
    num_slots=3,
    kinds=("conv", "separable_conv", "identity"),
    kernel_sizes=(1, 3),
    filters=(4, 8, 16, 32),
    input_shape=(8, 8, 1),
)
COUNT = default_count_params(SPACE)


def _members(num, seed=0):
    return unlabelled_mix(SPACE, [], num, np.random.default_rng(seed))


def _records(architectures):
    """Labels that grow with the size of the network, between 0.5 and 1."""
    return [
        Record(a, float(1 - 0.5 / np.log10(COUNT(a) + 10)), COUNT(a))
        for a in architectures
    ]


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    autoencoder = ArchitectureAutoencoder(SPACE, latent_dim=16, width=32)
    fit_autoencoder(
        autoencoder,
        _members(2048),
        [],
        COUNT,
        seed=0,
        epochs=15,
        learning_rate=4e-3,
    )
    return autoencoder


def test_members_that_were_not_trained_on_come_back_as_they_were(trained):
    assert exact_reconstruction(trained, _members(300, seed=1)) > 0.9


def test_the_parameter_head_ranks_and_sizes_unseen_members(trained):
    members = _members(300, seed=2)
    true = np.log10([COUNT(a) for a in members])
    _, _, predicted = trained.predict_heads(members)
    assert np.corrcoef(true, predicted)[0, 1] > 0.95
    assert np.mean(np.abs(true - predicted)) < 0.15


def test_every_point_of_the_embedding_decodes_to_a_member(trained):
    z = np.random.default_rng(0).normal(size=(200, 16)) * 10
    assert all(SPACE.contains(a) for a in trained.decode(z))


def test_encodings_have_mean_zero_and_variance_one(trained):
    z = trained.encode(_members(50))
    np.testing.assert_allclose(z.mean(axis=-1), 0, atol=1e-4)
    np.testing.assert_allclose(z.var(axis=-1), 1, atol=1e-3)


def test_the_accuracy_head_learns_labels_it_can_see_and_some_it_cannot(trained):
    weights = trained.encoder.get_weights() + trained.params_head.get_weights()
    fit_accuracy_head(trained, _records(_members(60, seed=3)), seed=0)
    unseen = _members(200, seed=4)
    mean, spread, _ = trained.predict_heads(unseen)
    true = [record.accuracy for record in _records(unseen)]
    assert np.corrcoef(mean, true)[0, 1] > 0.8
    assert np.all(spread > 0)
    after = trained.encoder.get_weights() + trained.params_head.get_weights()
    assert all(
        np.array_equal(a, b) for a, b in zip(weights, after, strict=True)
    )


def test_joint_training_fits_the_labels_too():
    keras.utils.set_random_seed(0)
    autoencoder = ArchitectureAutoencoder(SPACE, latent_dim=16, width=32)
    records = _records(_members(40, seed=5))
    before, _, _ = autoencoder.predict_heads([r.architecture for r in records])
    fit_autoencoder(
        autoencoder,
        _members(1024),
        records,
        COUNT,
        seed=0,
        epochs=8,
        mode="joint",
    )
    after, _, _ = autoencoder.predict_heads([r.architecture for r in records])
    true = np.array([record.accuracy for record in records])
    assert np.mean((after - true) ** 2) < 0.1 * np.mean((before - true) ** 2)


def test_a_saved_model_comes_back_with_its_space_and_its_numbers(
    trained, tmp_path
):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    members = _members(20)
    assert loaded.space == SPACE
    np.testing.assert_allclose(
        loaded.encode(members), trained.encode(members), atol=1e-6
    )
    np.testing.assert_allclose(
        loaded.predict_heads(members), trained.predict_heads(members), atol=1e-6
    )


def test_the_reconstruction_loss_is_zero_for_certain_and_right_logits():
    autoencoder = ArchitectureAutoencoder(SPACE, latent_dim=4, width=8)
    x = autoencoder.encoding.encode(_members(10))
    loss = autoencoder.reconstruction_loss(x, 1e3 * x)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), 0, atol=1e-4)
    # Uniform logits: the logarithm of the number of choices, group by group.
    member = Architecture.parse("conv3x3-4 identity identity")
    x = autoencoder.encoding.encode([member])
    loss = autoencoder.reconstruction_loss(x, np.zeros_like(x))
    expected = (3 * np.log(3) + np.log(4) + np.log(2) + np.log(1)) / 3
    np.testing.assert_allclose(float(loss[0]), expected, rtol=1e-5)


def test_the_mix_reaches_beyond_the_samples_and_around_what_is_given():
    space = SearchSpace.around(
        Architecture.parse("conv3x3-64 conv3x3-64 conv3x3-64"), (8, 8, 1)
    )
    teacher = Architecture.parse("conv3x3-64 conv3x3-64 conv3x3-64")
    mix = unlabelled_mix(
        space, [teacher], 400, np.random.default_rng(0), max_mutations=1
    )
    assert len(mix) == 400
    assert all(space.contains(a) for a in mix)
    near = [
        a
        for a in mix[200:]
        if sum(x != y for x, y in zip(a.layers, teacher.layers, strict=True))
        == 1
    ]
    assert len(near) >= 100  # every other mutant starts from the teacher


def test_too_few_labels_are_refused_with_the_number_needed():
    autoencoder = ArchitectureAutoencoder(SPACE, latent_dim=4, width=8)
    records = _records(_members(MIN_LABELS))
    failed = [
        Record(r.architecture, float("nan"), r.num_params, status=FAILED)
        for r in records
    ]
    with pytest.raises(ValueError, match=f"at least {MIN_LABELS} .*got 7"):
        fit_accuracy_head(autoencoder, records[1:] + failed[:1], seed=0)


def test_an_unknown_mode_is_refused():
    autoencoder = ArchitectureAutoencoder(SPACE, latent_dim=4, width=8)
    with pytest.raises(ValueError, match="got 'together'"):
        fit_autoencoder(
            autoencoder, [], [], COUNT, seed=0, epochs=1, mode="together"
        )
