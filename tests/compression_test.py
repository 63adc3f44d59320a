"""Tests of the search, on an analytic oracle."""

import functools
import pathlib
import pickle

import keras
import numpy as np
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.baselines import random_search
from archcomp_tf.compression import search
from archcomp_tf.corpus import FAILED, OK, Record
from archcomp_tf.fitting import (
    fit_autoencoder,
    unlabelled_mix,
)
from archcomp_tf.ledger import SearchResult
from archcomp_tf.limits import Limits
from archcomp_tf.objective import Budget, LogParams, Tolerance
from archcomp_tf.ranges import MAX_SEED
from archcomp_tf.samples import initial_samples
from archcomp_tf.search_space import SearchSpace

TEACHER = Architecture.parse("conv3x3-32 conv3x3-32 max_pool2x2/2 conv3x3-32")
SPACE = SearchSpace.around(TEACHER, (8, 8, 1), num_widths=6)
COUNT = SPACE.count_params


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
    fit_autoencoder(model, members, COUNT, seed=0, epochs=40)
    return model


def _embedding():
    """A copy for each who asks: a search fits the accuracy head."""
    model = ArchitectureAutoencoder.from_config(_trained().get_config())
    model.set_weights(_trained().get_weights())
    return model


def test_an_accuracy_that_no_head_predicts_is_looked_for_all_the_same():
    def full(architectures):
        return [min(1.0, 2 * accuracy_of(a)) for a in architectures]

    result = search(
        SPACE,
        full,
        num_labels=32,
        objective=Tolerance(0.0005, 1.0),
        seed=0,
        teacher=TEACHER,
        autoencoder=_embedding(),
    )
    sampled = min(
        record.num_params
        for record in result.history[:16]
        if record.accuracy == 1.0
    )
    assert result.best.accuracy == 1.0
    assert result.best.num_params < sampled


def test_a_result_can_be_sent_to_another_process():
    result = search(
        SPACE,
        evaluate,
        num_labels=10,
        objective=LogParams(0.1),
        seed=0,
        autoencoder=_embedding(),
        num_starts=4,
    )
    again = pickle.loads(pickle.dumps(result))
    assert again.best.architecture == result.best.architecture
    with pytest.raises(ValueError, match="seed, a whole number, from 0 to"):
        search(
            *(SPACE, evaluate),
            num_labels=10,
            objective=LogParams(0.1),
            seed=2**32 - 1,
        )


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
        assert random.history[:16] == result.history[:16]
        gains.append(result.score(result.best) - random.score(random.best))
    assert np.mean(gains) > 0


def test_descents_are_as_long_as_is_asked_for():
    traces = {
        rate: search(
            SPACE,
            evaluate,
            num_labels=18,
            objective=LogParams(0.1),
            seed=3,
            num_steps=7,
            learning_rate=rate,
            autoencoder=_embedding(),
        ).traces[0]
        for rate in (0.01, 0.02)
    }
    assert all(trace.shape == (7,) for trace in traces.values())
    # From the same starts; the longer the steps, the higher they climb.
    assert traces[0.01][0] == pytest.approx(traces[0.02][0])
    assert traces[0.01][-1] < traces[0.02][-1]


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
    arguments = {"objective": LogParams(), "seed": 0}
    for num_labels, message in ((7, "at least 8 .*got 7"), (0, "got 0")):
        with pytest.raises(ValueError, match=message):
            search(SPACE, bought.append, num_labels=num_labels, **arguments)
    with pytest.raises(
        ValueError, match="labels_a_round, .* at least 1; got 0"
    ):
        search(
            *(SPACE, bought.append),
            num_labels=20,
            labels_a_round=0,
            **arguments,
        )
    assert not bought


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "both"}, "Expected a mode of .*got 'both'"),
        ({"objective": LogParams}, "Expected an objective: LogParams, .*class"),
        (
            {"objective": Limits(max_params=1000)},
            r"LogParams, Tolerance, Budget, N2NReward .*; got Limits\(",
        ),
        ({"num_steps": 10.0}, "num_steps, a whole number, .* got 10.0"),
        ({"learning_rate": 0}, "a learning_rate above 0; got 0"),
        (
            {"teacher": Architecture.parse("conv3x3-32")},
            "teacher that is in the space: Expected 4 layers",
        ),
        ({"teacher": str(TEACHER)}, "Architecture as the teacher, .*'conv3x3"),
        ({"known": "old.jsonl"}, r"such as Corpus\(path\) .*'old.jsonl'"),
        ({"known": pathlib.Path("old")}, r"Corpus\(path\) .*Path\('old'\)"),
        ({"known": [TEACHER]}, r"known records, .*Architecture.parse\("),
        ({"known": None}, "known records, .* got None"),
        (
            {"known": SearchResult((), LogParams())},
            "history .*<SearchResult of",
        ),
        ({"autoencoder": "a.keras"}, "an ArchitectureAutoencoder; got 'a.ker"),
        ({"num_starts": 2.5}, "num_starts, a whole number, .* got 2.5"),
        (
            {"num_neighbours": None},
            "num_neighbours, a whole number, .* got Non",
        ),
        ({"num_initial": 17}, "num_initial, .* from 0 to 16; got 17"),
        ({"keeps": None}, "a function as keeps; got None"),
        ({"excess": 1.0}, "a function as excess; got 1.0"),
        (
            {
                "autoencoder": ArchitectureAutoencoder(
                    SearchSpace.around(TEACHER, (8, 8, 3), num_widths=6)
                )
            },
            r"Expected an autoencoder of the space .*\(8, 8, 3\)",
        ),
    ],
    ids=[
        *("mode", "class", "limits", "steps", "rate", "teacher", "text"),
        *("path_text", "path", "no_record", "none", "result", "file", "starts"),
        *("neighbours", "initial", "keeps", "excess", "autoencoder"),
    ],
)
def test_bad_arguments_are_refused_before_any_label_is_bought(options, message):
    bought = []
    arguments = {"num_labels": 16, "objective": LogParams(), "seed": 0}
    with pytest.raises((TypeError, ValueError), match=message):
        search(SPACE, bought.append, **arguments | options)
    assert not bought


def test_a_search_learns_from_what_is_known_and_labels_none_of_it():
    known = search(
        SPACE,
        evaluate,
        num_labels=16,
        objective=LogParams(0.1),
        seed=0,
        autoencoder=_embedding(),
    ).history
    asked = []

    def counting(architectures):
        asked.extend(architectures)
        return evaluate(architectures)

    result = search(
        SPACE,
        counting,
        num_labels=4,
        objective=LogParams(0.1),
        seed=1,
        known=known,
        autoencoder=_embedding(),
    )
    assert result.history[:16] == known
    assert len(asked) == 4
    assert not {a.fingerprint for a in asked} & {
        r.architecture.fingerprint for r in known
    }
    assert result.traces  # from the first label on it is a search


def test_numbers_of_numpy_and_records_that_come_once_are_as_good():
    options = {"objective": LogParams(0.1), "num_starts": 4}
    first = search(
        *(SPACE, evaluate),
        num_labels=16,
        seed=0,
        autoencoder=_embedding(),
        **options,
    )
    one, other = (
        search(
            *(SPACE, evaluate),
            num_labels=number(6),
            seed=number(3),
            num_steps=number(10),
            known=given(first.history),
            autoencoder=_embedding(),
            **options,
        )
        for number, given in ((int, list), (np.int64, iter))
    )
    assert len(one.history) == 22
    assert one.history == other.history


def test_samples_are_none_of_what_is_known():
    asked = []

    def counting(architectures):
        asked.extend(architectures)
        return evaluate(architectures)

    known = initial_samples(SPACE, 10, 0)
    search(
        *(SPACE, counting),
        num_labels=14,
        objective=LogParams(0.1),
        seed=0,
        num_initial=10,
        known=[Record(a, accuracy_of(a), COUNT(a)) for a in known],
        autoencoder=_embedding(),
    )
    sampled = initial_samples(SPACE, 20, 0)
    assert sampled[:10] == known and asked[:10] == sampled[10:]


def test_where_nothing_is_proposed_new_samples_are_labelled():
    # As many as the space can give: not those alone that came first.
    result = search(
        *(SPACE, evaluate),
        num_labels=300,
        objective=LogParams(0.1),
        seed=0,
        num_initial=290,
        labels_a_round=10,
        num_starts=0,
        num_neighbours=0,
        autoencoder=_embedding(),
    )
    assert len(result.history) == 300


def test_what_is_known_must_be_of_the_space():
    stranger = Record(Architecture.parse("conv3x3-32"), 0.5, 100)
    with pytest.raises(ValueError, match="space.contains.*Expected 4 layers"):
        search(
            SPACE,
            evaluate,
            num_labels=8,
            objective=LogParams(),
            seed=0,
            known=[stranger],
        )


def test_nothing_is_proposed_that_breaks_a_limit():
    def has_no_small_window(architecture):
        return all(layer.kernel_size != 1 for layer in architecture.layers)

    result = search(
        SPACE,
        evaluate,
        num_labels=24,
        objective=LogParams(0.1),
        seed=0,
        keeps=has_no_small_window,
        autoencoder=_embedding(),
    )
    proposed = [
        record.architecture
        for record in result.history
        if record.architecture.fingerprint in result.predictions
    ]
    assert proposed
    assert all(map(has_no_small_window, proposed))
    assert has_no_small_window(result.best.architecture)


@pytest.mark.parametrize("tells", [True, False])
def test_the_first_proposals_are_the_teacher_made_as_narrow_as_asked_for(tells):
    def labels(architectures):
        accuracies = evaluate(architectures)
        return accuracies if tells else [1 - a for a in accuracies]

    kinds = [[TEACHER], *SPACE.swapped(TEACHER).values()]
    assert len(kinds) == 3

    def first_proposals(**options):
        result = search(
            SPACE,
            labels,
            num_labels=10 + len(kinds),
            num_initial=10,
            labels_a_round=2,  # fewer than there are kinds
            objective=Budget(2_000),
            seed=0,
            autoencoder=_embedding(),
            **options,
        )
        return [r.architecture for r in result.history[10:]]

    # The widest within the budget, whatever a few labels of others tell.
    widest = [
        {
            [a for a in SPACE.narrowed(member) if COUNT(a) <= 2_000][-1]
            for member in members
        }
        for members in kinds
    ]
    found = first_proposals(teacher=TEACHER)
    for proposal, expected in zip(found, widest, strict=True):
        assert proposal in expected
    for others in (
        first_proposals(teacher=TEACHER, narrowed=False),
        first_proposals(),
    ):
        assert not widest[0] & set(others)  # the others may be found


def _widest(architecture):
    return max(layer.filters for layer in architecture.layers)


@pytest.mark.parametrize("method", [search, random_search])
def test_labels_are_spent_on_nothing_that_exceeds_a_limit(method):
    def excess(architecture):
        return _widest(architecture) / 6

    samples = initial_samples(SPACE, 100, seed=0)
    assert np.mean([excess(sample) > 1 for sample in samples]) > 0.6

    result = method(
        SPACE,
        evaluate,
        num_labels=20,
        objective=LogParams(0.1),
        seed=0,
        excess=excess,
        **({"autoencoder": _embedding()} if method is search else {}),
    )
    assert len(result.history) == 20
    assert all(excess(r.architecture) <= 1 for r in result.history)
    if method is search:
        assert len(result.predictions) == 10  # all but the samples


def test_what_stands_in_for_proposals_keeps_to_the_limits_too():
    asked = []

    def keeps(architecture):
        asked.append(architecture)
        return COUNT(architecture) <= 600

    result = search(
        SPACE,
        evaluate,
        num_labels=24,
        objective=LogParams(0.0),  # the larger the better
        seed=0,
        keeps=keeps,
        autoencoder=_embedding(),
    )
    # It may take seconds, also for whoever looks at the result.
    assert result.best and result.pareto and repr(result)
    assert len(asked) == len(set(asked))
    kept = [keeps(r.architecture) for r in result.history]
    assert not all(kept[:16]) and len(kept) == 24
    assert all(kept[16:])
    assert keeps(result.best.architecture)


def test_every_seed_that_is_taken_searches_to_the_end():
    result = search(
        SPACE,
        evaluate,
        num_labels=12,
        objective=LogParams(),
        seed=MAX_SEED,
        autoencoder=_embedding(),
    )
    assert len(result.history) == 12
    with pytest.raises(ValueError, match=f"{MAX_SEED}; got {MAX_SEED + 1}"):
        search(
            SPACE,
            evaluate,
            num_labels=12,
            objective=LogParams(),
            seed=MAX_SEED + 1,
        )


def test_what_fails_is_made_up_for_before_anything_is_learnt():
    for mode in ("pretrained", "joint"):
        calls = []

        def fails_first(architectures, calls=calls):
            calls.extend(architectures)
            if len(calls) <= 8:
                return [None] * 2 + evaluate(architectures[2:])
            return evaluate(architectures)

        result = search(
            SPACE,
            fails_first,
            num_labels=11,
            objective=LogParams(0.1),
            seed=0,
            mode=mode,
            autoencoder=None if mode == "joint" else _embedding(),
        )
        assert [r.status for r in result.history] == [FAILED] * 2 + [OK] * 9
        assert len(result.predictions) == 1


def test_the_fewest_labels_that_can_be_learnt_from_are_enough():
    arguments = {"objective": LogParams(0.1), "seed": 0}
    result = search(
        SPACE, evaluate, num_labels=9, autoencoder=_embedding(), **arguments
    )
    assert len(result.history) == 9 and len(result.predictions) == 1


def test_of_a_space_with_too_few_members_to_learn_from_all_are_labelled():
    for filters in ((4,), (2, 4, 8)):
        space = SearchSpace.uniform(
            num_slots=1, kinds=("conv",), filters=filters
        )
        result = search(
            space,
            lambda batch: [a.layers[0].filters / 20 for a in batch],
            num_labels=10,
            objective=Budget(10**9),
            seed=0,
        )
        assert len(result.history) == len(filters)
        assert result.best.architecture.layers[0].filters == filters[-1]


def test_proposals_in_doubt_are_made_one_a_round_too():
    found = {
        (doubts, size): {
            r.architecture
            for r in search(
                SPACE,
                evaluate,
                num_labels=24,
                objective=LogParams(0.1),
                seed=0,
                labels_a_round=size,
                doubts=doubts,
                autoencoder=_embedding(),
            ).history
        }
        for doubts in (True, False)
        for size in (1, 3)
    }
    assert found[True, 1] != found[False, 1]
    assert found[True, 3] != found[False, 3]


def test_what_is_searched_is_a_space():
    with pytest.raises(TypeError, match="Expected a SearchSpace; got None"):
        search(None, evaluate, num_labels=16, objective=LogParams(), seed=0)
