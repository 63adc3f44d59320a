"""Tests of what is measured of an embedding."""

import math

import embeddings
import numpy as np
import pytest
from embeddings import COUNT, members, records

from archcomp_tf import evaluation
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Record
from archcomp_tf.descent import Descent
from archcomp_tf.fitting import fit_ensemble_head
from archcomp_tf.ledger import SearchResult
from archcomp_tf.objective import LogParams


@pytest.fixture(scope="module")
def trained():
    autoencoder = embeddings.trained()
    fit_ensemble_head(
        autoencoder, autoencoder.accuracy_head, records(members(60)), seed=0
    )
    return autoencoder


def _accuracies(architectures):
    return [embeddings.accuracy_of(a) for a in architectures]


def test_reconstruction_counts_the_members_that_come_back(trained):
    some = members(100, seed=1)
    decoded = trained.decode(trained.encode(some))
    same = sum(a == b for a, b in zip(decoded, some, strict=True))
    assert evaluation.exact_reconstruction(trained, some) == same / 100


def test_an_error_in_parameters_is_a_share_of_the_truth(trained):
    some = members(50, seed=2)
    predicted = 10 ** trained.predict_heads(some)[2]
    exact = dict(zip(some, predicted, strict=True))
    assert evaluation.params_error(
        trained, some, exact.__getitem__
    ) == pytest.approx(0, abs=1e-6)
    assert evaluation.params_error(
        trained, some, lambda a: exact[a] / 2
    ) == pytest.approx(1)


def test_accuracy_errors_are_none_where_the_head_is_right(trained):
    some = members(50, seed=3)
    mean, spread, _ = trained.predict_heads(some)
    assert evaluation.accuracy_errors(trained, some, mean) == {
        "spearman": pytest.approx(1),
        "coverage": 1,
        "mean_absolute_error": 0,
    }
    off = evaluation.accuracy_errors(trained, some, 1 - mean + 2 * spread.max())
    assert off["spearman"] == pytest.approx(-1)
    assert off["coverage"] < 1


def test_every_decode_is_valid_wherever_the_point_lies(trained):
    z = trained.encode(members(20))
    assert evaluation.decode_validity(
        trained, members(20), z, num=200, seed=0
    ) == {"random": 1, "interpolated": 1, "descent": 1}


def test_end_points_are_counted_once_and_against_the_starts():
    a, b, c = [Architecture.parse(f"conv3x3-{width}") for width in (1, 2, 3)]
    assert evaluation.end_points([a, a, b, b], [a, c, c, c]) == {
        "distinct": 0.5,
        "new": 0.5,
    }


def test_optimism_is_predicted_minus_true(trained):
    z = trained.encode(members(40, seed=4))
    objective = LogParams(0.05)
    truth = evaluation.optimism(
        trained, z, objective, _accuracies, COUNT, num_proposals=4
    )
    # A truth lower by 0.1 makes every prediction look better by 0.1.
    lower = evaluation.optimism(
        trained,
        z,
        objective,
        lambda members: [a - 0.1 for a in _accuracies(members)],
        COUNT,
        num_proposals=4,
    )
    for name in ("mean_end_point", "mean_re_encoded", "chosen_re_encoded"):
        assert lower[name] - truth[name] == pytest.approx(0.1, abs=1e-6)
    assert lower["true_re_encoded"] == pytest.approx(
        truth["true_re_encoded"] - 0.1, abs=1e-6
    )


def test_a_descent_promises_more_than_its_networks_keep(trained):
    objective = LogParams(0.05)
    starts = trained.encode(members(64, seed=5))
    ends, _ = Descent(trained, LogParams)(starts, objective, 60, 0.05)
    found = evaluation.optimism(trained, ends, objective, _accuracies, COUNT)
    assert found["mean_end_point"] > found["mean_re_encoded"]


def test_the_speed_of_a_descent_is_that_of_one_step(trained):
    z = trained.encode(members(16))
    speed = evaluation.descent_speed(
        trained, z, LogParams(), num_steps=20, num_eager_steps=2
    )
    assert 0 < speed["matrix_products"]
    assert 0 < speed["compiled"] < speed["eager"]
    assert speed["tracing"] > 0


def test_proposals_are_ranked_against_what_they_came_to():
    networks = members(6)
    history = [
        Record(a, accuracy, 100, status=FAILED if math.isnan(accuracy) else OK)
        for a, accuracy in zip(
            networks, [0.9, 0.5, 0.6, math.nan, 0.8, 0.7], strict=True
        )
    ]
    # The first was a sample, of which nothing was predicted; the fourth failed.
    predictions = {
        a.fingerprint: value
        for a, value in zip(
            networks[1:], [0.1, 0.2, 0.9, 0.3, 0.4], strict=True
        )
    }
    result = SearchResult(tuple(history), LogParams(0.1), None, predictions)
    # One pair of neighbours out of order: 1 - 6 * 2 / (4 * 15).
    assert evaluation.proposals_spearman(result) == pytest.approx(0.8)


@pytest.mark.parametrize("predicted", [[], [0.5], [0.5, 0.5]])
def test_too_few_proposals_or_all_alike_have_no_rank(predicted):
    networks = members(2)
    history = tuple(
        Record(a, accuracy, 100)
        for a, accuracy in zip(networks, [0.6, 0.7], strict=True)
    )
    predictions = {
        a.fingerprint: value
        for a, value in zip(networks, predicted, strict=False)
    }
    result = SearchResult(history, LogParams(0.1), None, predictions)
    assert evaluation.proposals_spearman(result) is None


def test_regret_is_that_of_the_best_label_and_not_of_the_best_network():
    architectures = members(4)
    labels = [0.5, 0.9, math.nan, 0.7]
    truth = dict(zip(architectures, [0.6, 0.7, 0.9, 0.8], strict=True))
    history = [
        Record(a, label, 100, status=FAILED if math.isnan(label) else OK)
        for a, label in zip(architectures, labels, strict=True)
    ]
    result = SearchResult(tuple(history), LogParams(0.1))
    curve = evaluation.regret_curve(result, truth.get, optimum=0.7)
    np.testing.assert_allclose(curve, [0.3, 0.2, 0.2, 0.2])
    result = SearchResult(tuple(history[2:]), LogParams(0.1))
    np.testing.assert_allclose(
        evaluation.regret_curve(result, truth.get, optimum=0.7), [math.inf, 0.1]
    )


def test_hypervolume_is_the_area_that_the_front_covers():
    reference = (0.5, 6.0)
    assert evaluation.hypervolume([0.9], [4.0], reference) == pytest.approx(0.8)
    # The second beats the first by 0.1 from its size on; the third is beaten.
    assert evaluation.hypervolume(
        [0.9, 1.0, 0.8], [4.0, 5.0, 5.5], reference
    ) == pytest.approx(0.8 + 0.1)
    assert evaluation.hypervolume([0.4, 0.9], [4.0, 6.5], reference) == 0
