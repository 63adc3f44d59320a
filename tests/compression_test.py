"""Tests of the descent and of the search, on an analytic oracle."""

import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import (
    ArchitectureAutoencoder,
    fit_accuracy_head,
    fit_autoencoder,
    unlabelled_mix,
)
from archcomp_tf.baselines import random_search
from archcomp_tf.compression import (
    Descent,
    SearchResult,
    default_count_params,
    new_samples,
    propose,
    search,
)
from archcomp_tf.corpus import FAILED, Record
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


def _embedding(seed=0):
    keras.utils.set_random_seed(seed)
    model = ArchitectureAutoencoder(SPACE, latent_dim=16, width=32)
    members = unlabelled_mix(SPACE, [TEACHER], 1024, np.random.default_rng(0))
    fit_autoencoder(
        model, members, [], COUNT, seed=0, epochs=20, learning_rate=4e-3
    )
    return model


@pytest.fixture(scope="module")
def autoencoder():
    model = _embedding()
    records = [
        Record(a, accuracy_of(a), COUNT(a))
        for a in new_samples(SPACE, 60, np.random.default_rng(1), set())
    ]
    fit_accuracy_head(model, records, seed=0)
    return model


def test_the_descent_raises_the_objective_and_stays_normalised(autoencoder):
    rng = np.random.default_rng(2)
    starts = autoencoder.encode([SPACE.sample(rng) for _ in range(16)])
    objective = LogParams(0.1)
    z, trace = Descent(autoencoder, LogParams)(starts, objective, 40, 0.05)
    assert trace["z"].shape == (40, 16, 16)
    assert trace["objective"].shape == (40, 16)
    np.testing.assert_allclose(trace["z"][0], starts, atol=1e-6)
    np.testing.assert_allclose(z.var(axis=-1), 1, atol=1e-3)
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
    untrained = model.accuracy_head.get_weights()
    gains = []
    for seed in range(3):
        arguments = {"num_labels": 40, "objective": objective, "seed": seed}
        model.accuracy_head.set_weights(untrained)
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
