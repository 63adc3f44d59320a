"""Tests of the training of the embedding and of its heads."""

import dataclasses
import math

import embeddings
import fresh
import keras
import numpy as np
import pytest
from embeddings import COUNT, SPACE, members, records

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.corpus import FAILED, Record
from archcomp_tf.evaluation import (
    accuracy_errors,
    exact_reconstruction,
    params_error,
)
from archcomp_tf.fitting import (
    MIN_LABELS,
    fit_autoencoder,
    fit_cost_head,
    fit_ensemble_head,
    train_embedding,
    unlabelled_mix,
)
from archcomp_tf.heads import CostHead, EnsembleHead
from archcomp_tf.search_space import SearchSpace

# What a program has to name to read an embedding.
_READS = """
import sys
import archcomp_tf
import keras
import numpy as np

loaded = keras.saving.load_model(
    "embedding.keras",
    custom_objects={
        "ArchitectureAutoencoder": archcomp_tf.ArchitectureAutoencoder
    },
)
members = [archcomp_tf.Architecture.parse(text) for text in sys.argv[1:]]
accuracy, _, log_params = loaded.predict_heads(members)
np.savez("said.npz", accuracy=accuracy, log_params=log_params)
"""


@pytest.fixture(scope="module")
def trained():
    return embeddings.trained()


def _weights(autoencoder):
    models = (autoencoder.encoder, autoencoder.decoder, autoencoder.params_head)
    return [w for model in models for w in model.get_weights()]


def _latency(architecture):
    """Milliseconds: some for every layer, and more for large ones."""
    return 2 * len(architecture.compact.layers) + COUNT(architecture) ** 0.3


def _equal(weights, others):
    pairs = zip(weights, others, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_members_that_were_not_trained_on_come_back_as_they_were(trained):
    assert exact_reconstruction(trained, members(300, seed=1)) > 0.98


def test_the_parameter_head_is_right_about_unseen_members(trained):
    assert params_error(trained, members(300, seed=2), COUNT) < 0.2


def test_an_ensemble_learns_from_a_few_labels_and_nothing_else_changes(trained):
    before = _weights(trained)
    fit_ensemble_head(
        trained, trained.accuracy_head, records(members(60, seed=3)), seed=0
    )
    assert _equal(before, _weights(trained))
    unseen = members(400, seed=4)
    errors = accuracy_errors(
        trained, unseen, [embeddings.accuracy_of(a) for a in unseen]
    )
    assert errors["spearman"] > 0.95
    assert 0.6 < errors["coverage"] < 0.98


def test_a_fit_forgets_the_one_before_it(trained):
    few = records(members(20, seed=5))
    head = trained.accuracy_head
    fit_ensemble_head(trained, head, few, seed=1)
    first = head.get_weights()
    fit_ensemble_head(trained, head, records(members(60, seed=6)), seed=2)
    assert not _equal(first, head.get_weights())
    fit_ensemble_head(trained, head, few, seed=1)
    assert _equal(first, head.get_weights())


def test_the_spread_is_as_wide_as_the_errors_on_noisy_labels(trained):
    # Labels that nothing explains: the spread has to be that of the noise.
    rng = np.random.default_rng(0)
    noisy = [
        Record(a, 0.5 + rng.normal(0, 0.1), COUNT(a))
        for a in members(150, seed=7)
    ]
    fit_ensemble_head(trained, trained.accuracy_head, noisy, seed=0)
    _, spread, _ = trained.predict_heads(members(200, seed=8))
    assert 0.08 < np.median(spread) < 0.2


def test_a_target_is_learnt_alike_in_whatever_unit(trained):
    labelled = records(members(40, seed=13))
    z = trained.encode(members(100, seed=14))
    log_params = keras.ops.convert_to_numpy(trained.params_head(z))
    head = EnsembleHead(len(SPACE), trained.channels, 5)
    predictions = {}
    for unit in (1.0, 1e-4, 1e4):
        measured = [
            dataclasses.replace(r, measured={"cost": unit * r.accuracy})
            for r in labelled
        ]
        fit_ensemble_head(trained, head, measured, seed=0, target="cost")
        mean, _ = head.statistics(head([z, log_params]))
        predictions[unit] = keras.ops.convert_to_numpy(mean) / unit
    for unit, predicted in predictions.items():
        np.testing.assert_allclose(
            predicted, predictions[1.0], rtol=1e-2, err_msg=str(unit)
        )


def test_a_single_member_sees_every_label(trained):
    head = EnsembleHead(len(SPACE), trained.channels, 1)
    labelled = records(members(MIN_LABELS, seed=9))
    fit_ensemble_head(trained, head, labelled, seed=0)
    z = trained.encode([r.architecture for r in labelled])
    log_params = keras.ops.convert_to_numpy(trained.params_head(z))
    fitted = keras.ops.convert_to_numpy(head([z, log_params]))[:, 0]
    true = [r.accuracy for r in labelled]
    assert np.corrcoef(fitted, true)[0, 1] > 0.99


def test_a_further_cost_is_one_more_head(trained):
    def multiply_adds(architecture):
        return cost.num_multiply_adds(architecture, SPACE.input_shape, 10)

    before = _weights(trained)
    head = CostHead(len(SPACE), trained.channels)
    fit_cost_head(
        trained, head, members(2048), multiply_adds, seed=0, epochs=60
    )
    assert _equal(before, _weights(trained))
    unseen = members(300, seed=10)
    true = np.log10([multiply_adds(a) for a in unseen])
    log_cost = head(trained.encode(unseen))[:, 0]
    predicted = keras.ops.convert_to_numpy(log_cost)
    assert np.mean(np.abs(10 ** (predicted - true) - 1)) < 0.25


def test_a_further_measurement_is_one_more_column_and_one_more_head(trained):
    labelled = [
        dataclasses.replace(
            r, measured={"latency_ms": _latency(r.architecture)}
        )
        for r in records(members(80, seed=11))
    ]
    head = EnsembleHead(len(SPACE), trained.channels, 5)
    fit_ensemble_head(trained, head, labelled, seed=0, target="latency_ms")
    unseen = members(200, seed=12)
    z = trained.encode(unseen)
    log_params = keras.ops.convert_to_numpy(trained.params_head(z))
    latency, _ = head.statistics(head([z, log_params]))
    true = [_latency(a) for a in unseen]
    assert np.corrcoef(latency, true)[0, 1] > 0.9
    with pytest.raises(KeyError, match="'memory' .*latency_ms"):
        fit_ensemble_head(trained, head, labelled, seed=0, target="memory")


def test_joint_training_fits_the_labels_too():
    keras.utils.set_random_seed(0)
    autoencoder = ArchitectureAutoencoder(SPACE, channels=6, width=32)
    labelled = records(members(40, seed=5))
    fit_autoencoder(
        autoencoder,
        members(1024),
        COUNT,
        seed=0,
        epochs=30,
        records=labelled,
    )
    accuracy, spread, _ = autoencoder.predict_heads(
        [r.architecture for r in labelled]
    )
    true = np.array([record.accuracy for record in labelled])
    assert np.mean((accuracy - true) ** 2) < 0.1 * true.var()
    assert 0 < np.median(spread) < true.std()


def test_an_embedding_is_learnt_with_all_heads_and_read_again_elsewhere(
    tmp_path,
):
    labelled = records(members(24, seed=5))
    autoencoder = train_embedding(SPACE, records=labelled, seed=0)
    unseen = members(100, seed=6)
    assert exact_reconstruction(autoencoder, unseen) > 0.98
    true = [record.accuracy for record in records(unseen)]
    assert accuracy_errors(autoencoder, unseen, true)["spearman"] > 0.5
    accuracy, _, log_params = autoencoder.predict_heads(unseen)
    autoencoder.save(tmp_path / "embedding.keras")
    fresh.output(_READS, *map(str, unseen), cwd=tmp_path)
    with np.load(tmp_path / "said.npz") as said:
        np.testing.assert_allclose(said["accuracy"], accuracy, atol=1e-5)
        np.testing.assert_allclose(said["log_params"], log_params, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"records": records(members(7))}, "at least 8 .*got 7"),
        ({"mode": "joint"}, "at least 8 .*got 0"),
        ({"around": [Architecture.parse("conv3x3-64")]}, "Expected 3 layers"),
        ({"around": "conv3x3-64"}, "Expected an Architecture as a member"),
        ({"mode": "together"}, "got 'together'"),
    ],
    ids=["few", "none", "another", "text", "mode"],
)
def test_an_embedding_that_cannot_be_learnt_is_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        train_embedding(SPACE, **{"seed": 0} | options)


def test_the_mix_reaches_beyond_the_samples_and_around_what_is_given():
    teacher = Architecture.parse("conv3x3-64 conv3x3-64 conv3x3-64")
    space = SearchSpace.around(teacher, (8, 8, 1))
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


def test_of_a_single_member_the_mix_is_that_member():
    only = Architecture.parse("conv3x3-4 conv1x1-8")
    space = SearchSpace.spanning([only])
    mix = unlabelled_mix(space, [], 5, np.random.default_rng(0))
    assert mix == [only] * 5


def test_too_few_labels_are_refused_with_the_number_needed(trained):
    labelled = records(members(MIN_LABELS))
    failed = Record(members(1)[0], math.nan, 1, status=FAILED)
    with pytest.raises(ValueError, match=f"at least {MIN_LABELS} .*got 7"):
        fit_ensemble_head(
            trained, trained.accuracy_head, [*labelled[1:], failed], seed=0
        )


@pytest.mark.parametrize("latency", [math.nan, math.inf])
def test_a_target_that_is_not_finite_is_named_by_its_record(trained, latency):
    labelled = [
        dataclasses.replace(r, measured={"latency_ms": 1.0})
        for r in records(members(MIN_LABELS))
    ]
    bad = labelled[3] = dataclasses.replace(
        labelled[3], measured={"latency_ms": latency}
    )
    head = EnsembleHead(len(SPACE), trained.channels, 5)
    with pytest.raises(
        ValueError, match=f"finite latency_ms.*{bad.architecture.fingerprint}"
    ):
        fit_ensemble_head(trained, head, labelled, seed=0, target="latency_ms")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="got 'together'"):
        train_embedding(SPACE, seed=0, mode="together")
