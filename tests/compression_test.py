"""Tests of the descent and of the search, on an analytic oracle."""

import functools

import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.baselines import random_search
from archcomp_tf.compression import (
    Descent,
    SearchResult,
    default_count_params,
    descent_starts,
    new_samples,
    predicted_front,
    propose,
    search,
)
from archcomp_tf.corpus import FAILED, Record
from archcomp_tf.fitting import (
    fit_autoencoder,
    fit_ensemble_head,
    unlabelled_mix,
)
from archcomp_tf.objective import Budget, LogParams
from archcomp_tf.search_space import SearchSpace

TEACHER = Architecture.parse("conv3x3-32 conv3x3-32 max_pool2x2/2 conv3x3-32")
SPACE = SearchSpace.around(TEACHER, (8, 8, 1), num_widths=6)
COUNT = default_count_params(SPACE)


def accuracy_of(architecture):
    """Grows with depth and saturates with width; windows of 1 lose much."""
    value = 0.3
    for layer in architecture.layers:
        if layer.filters:
            gain = 0.2 * (1 - np.exp(-layer.filters / 8))
            value += gain * (1.0 if layer.kernel_size == 3 else 0.4)
    return value


def evaluate(architectures):
    return [accuracy_of(a) for a in architectures]


@functools.cache
def _trained():
    keras.utils.set_random_seed(0)
    model = ArchitectureAutoencoder(SPACE, channels=6, width=32)
    members = unlabelled_mix(SPACE, [TEACHER], 2048, np.random.default_rng(0))
    fit_autoencoder(model, members, [], COUNT, seed=0, epochs=40)
    return model


def _embedding():
    """A copy for each who asks: a search fits the accuracy head."""
    model = ArchitectureAutoencoder.from_config(_trained().get_config())
    model.set_weights(_trained().get_weights())
    return model


@pytest.fixture(scope="module")
def autoencoder():
    model = _embedding()
    records = [
        Record(a, accuracy_of(a), COUNT(a))
        for a in new_samples(SPACE, 60, np.random.default_rng(1), set())
    ]
    fit_ensemble_head(model, model.accuracy_head, records, seed=0)
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

    starts = autoencoder.encode([TEACHER] * 4)
    descent = Descent(autoencoder, Counting)
    for weight, num_steps, rate in ((0.1, 3, 0.1), (0.2, 5, 0.1), (0, 3, 0.2)):
        descent(starts, Counting(weight), num_steps, rate)
    assert Counting.traced == 1


def test_the_start_of_a_descent_is_where_it_stays_with_no_steps(autoencoder):
    starts = autoencoder.encode([TEACHER] * 4)
    z, trace = Descent(autoencoder, LogParams)(starts, LogParams(), 0, 0.1)
    np.testing.assert_array_equal(z, starts)
    assert trace["z"].shape == (0, *starts.shape)


def test_a_descent_follows_the_objective_of_each_start(autoencoder):
    starts = autoencoder.encode([TEACHER] * 3)
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
    starts = autoencoder.encode([TEACHER] * 3)
    with pytest.raises(ValueError, match="each of 3 starts; got 2"):
        Descent(autoencoder, LogParams)(starts, [LogParams()] * 2, 5, 0.1)


def test_the_first_step_of_a_descent_is_one_learning_rate_long(autoencoder):
    # Adam's first step has the sign of the gradient in each coordinate.
    starts = autoencoder.encode([TEACHER])
    z, _ = Descent(autoencoder, LogParams)(starts, LogParams(0.1), 1, 0.01)
    stepped = np.abs(z - starts)
    assert 0.002 < stepped.mean() < 0.012


def test_a_front_is_members_that_no_other_beats(autoencoder):
    objectives = [LogParams(w) for w in (0.01, 0.05, 0.2)]
    starts = [TEACHER, SPACE.sample(np.random.default_rng(0))]
    front = predicted_front(
        autoencoder, Descent(autoencoder, LogParams), starts, objectives, COUNT
    )
    assert len(front) > 2
    members, accuracies, sizes = zip(*front, strict=True)
    assert all(SPACE.contains(a) for a in members)
    assert list(sizes) == [COUNT(a) for a in members] == sorted(set(sizes))
    assert list(accuracies) == sorted(set(accuracies))
    np.testing.assert_allclose(
        accuracies, autoencoder.predict_heads(members)[0], atol=1e-5
    )


def test_starts_are_the_teacher_the_best_those_near_them_and_samples():
    rng = np.random.default_rng(0)
    ranked = new_samples(SPACE, 10, rng, set())
    starts = descent_starts(SPACE, ranked, TEACHER, 16, rng)
    assert len(starts) == 16
    assert starts[:5] == [TEACHER, *ranked[:4]]
    assert all(SPACE.contains(a) for a in starts)
    assert len(descent_starts(SPACE, [], None, 16, rng)) == 16


def test_proposals_are_new_members_in_the_order_of_their_promise(autoencoder):
    known = {TEACHER.fingerprint}
    objective = LogParams(0.1)
    proposals, predicted, trace = propose(
        autoencoder,
        Descent(autoencoder, LogParams),
        [TEACHER] * 8,
        known,
        objective,
        COUNT,
        6,
    )
    fingerprints = [a.fingerprint for a in proposals]
    assert 1 <= len(set(fingerprints)) == len(proposals) <= 6
    assert not known & set(fingerprints)
    assert all(SPACE.contains(a) for a in proposals)
    assert set(predicted) == set(fingerprints)
    assert trace.shape == (60,)


def test_a_search_finds_better_than_random_search_with_as_many_labels():
    objective = LogParams(0.1)
    model = _embedding()
    gains = []
    for seed in range(3):
        arguments = {"num_labels": 40, "objective": objective, "seed": seed}
        result = search(
            SPACE, evaluate, teacher=TEACHER, autoencoder=model, **arguments
        )
        assert len({r.architecture.fingerprint for r in result.history}) == 40
        random = random_search(SPACE, evaluate, **arguments)
        assert random.history[:20] == result.history[:20]
        gains.append(result.score(result.best) - random.score(random.best))
    assert np.mean(gains) > 0


def test_a_search_repeats():
    histories = [
        search(
            SPACE,
            evaluate,
            num_labels=20,
            objective=LogParams(0.1),
            seed=3,
            autoencoder=_embedding(),
        ).history
        for _ in range(2)
    ]
    assert histories[0] == histories[1]


def test_a_space_smaller_than_the_labels_is_labelled_whole():
    # No embedding is given: the search trains its own.
    space = SearchSpace.uniform(
        num_slots=2, kinds=("conv",), filters=(2, 4, 8, 16)
    )
    result = search(
        space,
        lambda batch: [a.layers[0].filters / 20 for a in batch],
        num_labels=40,
        objective=Budget(10**9),
        seed=0,
        num_initial=8,
    )
    assert len(result.history) == 16
    assert result.best.architecture.layers[0].filters == 16


def test_failed_labels_are_kept_and_never_best():
    def fails_when_large(architectures):
        return [
            float("nan") if COUNT(a) > 5_000 else accuracy_of(a)
            for a in architectures
        ]

    result = search(
        SPACE,
        fails_when_large,
        num_labels=24,
        objective=Budget(10**9),
        seed=0,
        num_initial=20,
        autoencoder=_embedding(),
    )
    failed = [r for r in result.history if r.status == FAILED]
    assert failed and all(r.num_params > 5_000 for r in failed)
    assert result.best.num_params <= 5_000


def test_the_pareto_front_holds_what_nothing_beats():
    sizes_and_accuracies = [(10, 0.5), (20, 0.4), (30, 0.7), (30, 0.6)]
    records = tuple(
        Record(Architecture.parse(f"conv3x3-{i + 1}"), accuracy, size)
        for i, (size, accuracy) in enumerate(sizes_and_accuracies)
    )
    result = SearchResult(records, LogParams())
    assert [(r.num_params, r.accuracy) for r in result.pareto] == [
        (10, 0.5),
        (30, 0.7),
    ]


def test_a_search_without_one_good_label_has_no_best():
    record = Record(TEACHER, float("nan"), 10, status=FAILED)
    with pytest.raises(ValueError, match="All 1 labels failed"):
        _ = SearchResult((record,), LogParams()).best


def test_too_few_labels_are_refused_before_any_is_bought():
    bought = []
    with pytest.raises(ValueError, match="at least 8 .*got 5"):
        search(
            SPACE, bought.append, num_labels=10, objective=LogParams(), seed=0
        )
    assert not bought
