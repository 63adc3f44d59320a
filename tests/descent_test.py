"""Tests of the descent and of what it proposes."""

import embeddings
import numpy as np
import pytest
from embeddings import COUNT, SPACE

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, Record
from archcomp_tf.descent import (
    Descent,
    descent_starts,
    doubt,
    neighbours,
    passed_through,
    predicted_front,
    propose,
)
from archcomp_tf.fitting import fit_ensemble_head
from archcomp_tf.objective import LogParams
from archcomp_tf.samples import new_samples

LARGEST = Architecture.parse("conv3x3-32 conv3x3-32 conv3x3-32")


@pytest.fixture(scope="module")
def autoencoder():
    model = embeddings.trained()
    labelled = embeddings.records(embeddings.members(60, seed=1))
    fit_ensemble_head(model, model.accuracy_head, labelled, seed=0)
    return model


def test_the_descent_raises_the_objective_and_stays_normalised(autoencoder):
    rng = np.random.default_rng(2)
    starts = autoencoder.encode([SPACE.sample(rng) for _ in range(16)])
    objective = LogParams(0.1)
    z, trace = Descent(autoencoder, LogParams)(starts, objective, 40, 0.05)
    assert trace["z"].shape == (40, 16, autoencoder.latent_dim)
    assert trace["objective"].shape == (40, 16)
    np.testing.assert_allclose(trace["z"][0], starts, atol=1e-6)
    codes = z.reshape(16, len(SPACE), -1)
    np.testing.assert_allclose(codes.var(axis=-1), 1, atol=1e-3)
    gains = trace["objective"][-1] - trace["objective"][0]
    assert np.mean(gains > 0) > 0.9
    np.testing.assert_allclose(
        trace["objective"],
        trace["accuracy"] - 0.1 * trace["log_params"],
        atol=1e-5,
    )


def test_a_descent_is_traced_once_for_all_weights_steps_and_rates(autoencoder):
    class Counting(LogParams):
        traced = 0

        @staticmethod
        def relaxed(accuracy, log_params, weight):
            Counting.traced += 1
            return LogParams.relaxed(accuracy, log_params, weight)

    starts = autoencoder.encode([LARGEST] * 4)
    descent = Descent(autoencoder, Counting)
    for weight, num_steps, rate in ((0.1, 3, 0.1), (0.2, 5, 0.1), (0, 3, 0.2)):
        descent(starts, Counting(weight), num_steps, rate)
    assert Counting.traced == 1


def test_the_start_of_a_descent_is_where_it_stays_with_no_steps(autoencoder):
    starts = autoencoder.encode([LARGEST] * 4)
    z, trace = Descent(autoencoder, LogParams)(starts, LogParams(), 0, 0.1)
    np.testing.assert_array_equal(z, starts)
    assert trace["z"].shape == (0, *starts.shape)


def test_a_descent_follows_the_objective_of_each_start(autoencoder):
    starts = autoencoder.encode([LARGEST] * 3)
    weights = (0.0, 0.1, 1.0)
    descent = Descent(autoencoder, LogParams)
    together, trace = descent(starts, [LogParams(w) for w in weights], 30, 0.05)
    for index, weight in enumerate(weights):
        alone, _ = descent(starts[:1], LogParams(weight), 30, 0.05)
        np.testing.assert_allclose(together[index], alone[0], atol=1e-3)
    # The more parameters cost, the fewer the descent promises.
    sizes = trace["log_params"][-1]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_descent_with_too_few_objectives_is_refused(autoencoder):
    starts = autoencoder.encode([LARGEST] * 3)
    with pytest.raises(ValueError, match="each of 3 starts; got 2"):
        Descent(autoencoder, LogParams)(starts, [LogParams()] * 2, 5, 0.1)


def test_the_first_step_of_a_descent_is_one_learning_rate_long(autoencoder):
    # Adam's first step has the sign of the gradient in each coordinate.
    starts = autoencoder.encode([LARGEST])
    z, _ = Descent(autoencoder, LogParams)(starts, LogParams(0.1), 1, 0.01)
    stepped = np.abs(z - starts)
    assert 0.002 < stepped.mean() < 0.012


def test_a_front_is_members_that_no_other_beats(autoencoder):
    objectives = [LogParams(w) for w in (0.01, 0.05, 0.2)]
    starts = [LARGEST, SPACE.sample(np.random.default_rng(0))]
    front = predicted_front(
        Descent(autoencoder, LogParams), starts, objectives, COUNT
    )
    assert len(front) > 2
    members, accuracies, sizes = zip(
        *((r.architecture, r.accuracy, r.num_params) for r in front),
        strict=True,
    )
    assert all(SPACE.contains(a) for a in members)
    assert list(sizes) == [COUNT(a) for a in members] == sorted(set(sizes))
    assert list(accuracies) == sorted(set(accuracies))
    np.testing.assert_allclose(
        accuracies, autoencoder.predict_heads(members)[0], atol=1e-5
    )


def test_starts_are_the_teacher_the_best_those_near_them_and_samples():
    rng = np.random.default_rng(0)
    ranked = new_samples(SPACE, 10, rng, set())
    starts = descent_starts(SPACE, ranked, LARGEST, 16, rng)
    assert len(starts) == 16
    assert starts[:5] == [LARGEST, *ranked[:4]]
    assert all(SPACE.contains(a) for a in starts)
    assert len(descent_starts(SPACE, [], None, 16, rng)) == 16
    assert descent_starts(SPACE, ranked, LARGEST, 0, rng) == []


def _records(members, **fields):
    """Records, of which nothing but the member counts."""
    return [Record(member, 0.5, COUNT(member), **fields) for member in members]


def _labelled():
    return embeddings.members(20, seed=5)


def _unlabelled():
    known = {member.fingerprint for member in _labelled()}
    return new_samples(SPACE, 60, np.random.default_rng(1), known)


def test_proposals_are_new_members_in_the_order_of_their_promise(autoencoder):
    objective = LogParams(0.1)
    found, trace = passed_through(
        Descent(autoencoder, LogParams), [LARGEST] * 8, objective
    )
    assert trace.shape == (60,)
    assert found[0] == LARGEST and len(set(found)) == len(found)
    proposals, predicted = propose(
        autoencoder,
        found,
        _records([LARGEST]),
        objective,
        6,
        count_params=COUNT,
        doubts=False,
    )
    fingerprints = [a.fingerprint for a in proposals]
    assert 2 <= len(set(fingerprints)) == len(proposals) <= 6
    assert LARGEST.fingerprint not in fingerprints
    assert all(SPACE.contains(a) for a in proposals)
    assert set(predicted) == set(fingerprints)
    promise = [objective(predicted[a.fingerprint], COUNT(a)) for a in proposals]
    assert promise == sorted(promise, reverse=True)


def test_of_no_starts_a_descent_finds_nothing(autoencoder):
    descent = Descent(autoencoder, LogParams)
    found, trace = passed_through(descent, [], LogParams())
    assert found == [] and len(trace) == 0


def test_neighbours_are_members_near_the_best():
    rng = np.random.default_rng(0)
    best = new_samples(SPACE, 4, rng, set())
    found = neighbours(SPACE, best, 200, rng)
    assert 100 < len(found) == len(set(found)) <= 200
    assert all(SPACE.contains(a) for a in found)
    assert neighbours(SPACE, [], 200, rng) == []


def test_a_point_is_in_doubt_as_far_as_no_label_is_like_it():
    z = 2 * np.eye(4)  # of length sqrt(4), and nothing in common
    np.testing.assert_allclose(doubt(z, z[:0]), 1)
    # One label of variance 1.05, of which 1 is the point's.
    left = np.sqrt(1 - 1 / 1.05)
    np.testing.assert_allclose(doubt(z, z[:1]), [left, 1, 1, 1])
    halfway = (z[:1] + z[1:2]) / np.sqrt(2)
    np.testing.assert_allclose(doubt(halfway, z[:1]), np.sqrt(1 - 0.5 / 1.05))


def test_a_label_more_puts_nothing_in_more_doubt(autoencoder):
    z = autoencoder.encode(embeddings.members(40, seed=3))
    doubts = [doubt(z, z[:num]) for num in (1, 2, 5, 10, 40)]
    assert np.all(np.diff(doubts, axis=0) < 1e-6)
    assert doubts[-1].min() > 0


def test_a_choice_that_no_labelled_network_has_is_in_doubt(autoencoder):
    labelled = [
        a for a in embeddings.members(200, seed=4) if a.layers[1].kind == "conv"
    ]
    tried, untried = (
        Architecture.parse(f"conv3x3-8 {layer} conv3x3-8")
        for layer in ("conv3x3-16", "separable_conv3x3-16")
    )
    few, many = doubt(
        autoencoder.encode([tried, untried]), autoencoder.encode(labelled)
    )
    assert many > 1.5 * few


def test_proposals_are_what_is_expected_to_be_best_and_what_may_be_in_turn(
    autoencoder,
):
    others = _unlabelled()
    labelled = _labelled()
    objective = LogParams(0.1)
    proposals, predicted = propose(
        autoencoder,
        others,
        _records(labelled),
        objective,
        5,
        count_params=COUNT,
    )
    accuracies, _, _ = autoencoder.predict_heads(others)
    off = doubt(autoencoder.encode(others), autoencoder.encode(labelled))
    odds = accuracies / (1 - accuracies)
    odds *= np.exp(off * float(autoencoder.accuracy_head.units.scale))
    expected, hoped = (
        {
            a: objective(float(accuracy), COUNT(a))
            for a, accuracy in zip(others, values, strict=True)
        }
        for values in (accuracies, odds / (1 + odds))
    )
    assert proposals[0] == max(expected, key=expected.get)
    del hoped[proposals[0]]
    assert proposals[1] == max(hoped, key=hoped.get)
    for member, accuracy in zip(others, accuracies, strict=True):
        if member in proposals:
            said = predicted.pop(member.fingerprint)
            np.testing.assert_allclose(said, accuracy, rtol=1e-5)
    assert not predicted
    assert len(set(proposals)) == 5 and set(proposals) <= set(others)


def _undoubted(autoencoder, others, num, known=(), **options):
    """What `propose` gives without doubts."""
    return propose(
        autoencoder,
        others,
        _records(_labelled()) + _records(known, status=FAILED),
        LogParams(0.1),
        num,
        count_params=COUNT,
        doubts=False,
        **options,
    )


def _by_promise(autoencoder, members):
    """Members, those first of whose objective the heads say most."""
    accuracies, _, _ = autoencoder.predict_heads(members)
    promise = [
        LogParams(0.1)(float(accuracy), COUNT(a))
        for a, accuracy in zip(members, accuracies, strict=True)
    ]
    return [members[i] for i in np.argsort(promise)[::-1]]


def test_without_doubts_proposals_are_what_is_expected_to_be_best(autoencoder):
    others = _unlabelled()
    proposals, _ = _undoubted(autoencoder, others, 5)
    assert proposals == _by_promise(autoencoder, others)[:5]


def test_the_best_of_some_comes_first_whatever_is_expected_of_others(
    autoencoder,
):
    others = _unlabelled()
    ranked = _by_promise(autoencoder, others)
    best, worst = ranked[:2], ranked[-10:]
    # Each is as accurate as what is smaller, or more.
    by_size = sorted(worst, key=COUNT)
    accuracies, _, _ = autoencoder.predict_heads(by_size)
    promise = [
        LogParams(0.1)(float(accuracy), COUNT(a))
        for a, accuracy in zip(
            by_size, np.maximum.accumulate(accuracies), strict=True
        )
    ]
    first = by_size[int(np.argmax(promise))]
    proposals, predicted = _undoubted(autoencoder, others, 3, first_of=[worst])
    assert proposals == [first, *best]
    assert len(predicted) == 3
    # What is labelled already is not proposed again.
    proposals, _ = _undoubted(autoencoder, others, 3, [first], first_of=[worst])
    assert proposals[0] in worst and proposals[0] != first
    # Those of which nothing is allowed leave their place to others.
    proposals, _ = _undoubted(
        autoencoder,
        others,
        2,
        first_of=[worst],
        excess=lambda a: 2.0 * (a in worst),
    )
    assert proposals == best
