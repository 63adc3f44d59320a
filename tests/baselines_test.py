"""Tests of `archcomp_tf.baselines`."""

import functools
import math

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from archcomp_tf import baselines, cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.compression import search
from archcomp_tf.corpus import FAILED, OK
from archcomp_tf.layer import Layer
from archcomp_tf.ledger import EvaluationError
from archcomp_tf.limits import Limits
from archcomp_tf.objective import Budget, LogParams
from archcomp_tf.samples import initial_samples
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import Slot

INPUT_SHAPE, NUM_CLASSES = (8, 8, 1), 10
TEACHER = Architecture.parse(
    "conv3x3-32 conv3x3-48 max_pool2x2/2 conv3x3-64 dense-16"
)
SPACE = SearchSpace.around(TEACHER, INPUT_SHAPE, NUM_CLASSES)


def _count_params(architecture: Architecture) -> int:
    return cost.num_params(architecture, INPUT_SHAPE, NUM_CLASSES)


def _accuracy(architecture: Architecture) -> float:
    """Rises with size, at another rate for each network."""
    texture = int(architecture.fingerprint[:4], 16) / 0xFFFF
    return 1 - (0.3 + 0.6 * texture) / math.log(_count_params(architecture))


def _evaluate(architectures) -> list[float]:
    return [_accuracy(architecture) for architecture in architectures]


def _fails(architecture: Architecture) -> bool:
    return int(architecture.fingerprint, 16) % 4 == 0


def _evaluate_some(architectures) -> list[float]:
    """The labels of a quarter of all networks fail."""
    return [math.nan if _fails(a) else _accuracy(a) for a in architectures]


class _Stopped(BaseException):
    """Ends a search in its first call of `evaluate`."""


@given(strategies.seeds)
@settings(max_examples=10, deadline=None)
def test_random_search_first_labels_what_search_starts_from(seed):
    asked = []

    def evaluate(architectures):
        asked.extend(architectures)
        raise _Stopped

    options = {"objective": LogParams(), "seed": seed}
    with pytest.raises(_Stopped):
        search(SPACE, evaluate, num_labels=40, num_initial=12, **options)
    history = baselines.random_search(
        SPACE, _evaluate, num_labels=40, **options
    ).history
    assert len(asked) == 12
    assert [record.architecture for record in history[:12]] == asked


def _random_search(space=SPACE, evaluate=_evaluate, **options):
    options = {
        "num_labels": 40,
        "objective": LogParams(),
        "seed": 0,
    } | options
    return baselines.random_search(space, evaluate, **options)


def _width_scaling(teacher=TEACHER, evaluate=_evaluate, **options):
    options = {
        "num_labels": 12,
        "objective": LogParams(),
        "seed": 0,
    } | options
    return baselines.width_scaling(SPACE, evaluate, teacher=teacher, **options)


def test_random_search_labels_first_what_keeps_to_limits():
    def is_small(architecture):
        return SPACE.count_params(architecture) <= limit

    everything = [r.architecture for r in _random_search(num_labels=40).history]
    limit = np.median([*map(SPACE.count_params, everything)])
    found = [
        r.architecture
        for r in _random_search(num_labels=20, keeps=is_small).history
    ]
    # The same samples, without the large ones.
    assert found == [*filter(is_small, everything)][:20]
    limit = 0
    others = _random_search(num_labels=20, keeps=is_small).history
    assert len(others) == 20  # though none is small enough


def test_random_search_goes_on_where_few_keep_to_limits():
    rng = np.random.default_rng(1)
    sizes = [SPACE.count_params(SPACE.sample(rng)) for _ in range(2000)]
    limit = np.quantile(sizes, 0.03)
    found = _random_search(
        num_labels=20, keeps=lambda a: SPACE.count_params(a) <= limit
    ).history
    sizes = [SPACE.count_params(record.architecture) for record in found]
    assert len(sizes) == 20 and max(sizes) <= limit


def test_random_search_labels_different_members():
    networks = [record.architecture for record in _random_search().history]
    assert len(networks) == 40
    assert len({network.fingerprint for network in networks}) == 40
    assert all(map(SPACE.contains, networks))


def test_random_search_ends_where_the_space_does():
    space = SearchSpace(
        (Slot(("conv",), filters=(2, 4), optional=True), Slot(("flatten",))),
        INPUT_SHAPE,
        NUM_CLASSES,
    )
    networks = [r.architecture for r in _random_search(space).history]
    assert {str(network.compact) for network in networks} == {
        "flatten",
        "conv3x3-2 flatten",
        "conv3x3-4 flatten",
    }
    assert len(networks) == 3


@pytest.mark.parametrize("baseline", [_random_search, _width_scaling])
def test_each_record_has_the_label_and_the_size_of_its_network(baseline):
    for record in baseline().history:
        assert record.accuracy == _accuracy(record.architecture)
        assert record.num_params == _count_params(record.architecture)
        assert record.status == OK


@pytest.mark.parametrize("baseline", [_random_search, _width_scaling])
def test_sizes_are_counted_by_what_is_given_for_it(baseline):
    def count(architecture):
        return 7 + len(str(architecture))

    for record in baseline(count_params=count).history:
        assert record.num_params == count(record.architecture)


@pytest.mark.parametrize("baseline", [_random_search, _width_scaling])
@pytest.mark.parametrize("objective", [LogParams(0.1), Budget(5_000)])
def test_the_best_is_the_one_with_the_highest_objective(baseline, objective):
    result = baseline(objective=objective)
    scores = [objective(r.accuracy, r.num_params) for r in result.history]
    assert result.best == result.history[int(np.argmax(scores))]


@pytest.mark.parametrize("baseline", [_random_search, _width_scaling])
def test_failed_labels_are_recorded_and_never_best(baseline):
    result = baseline(evaluate=_evaluate_some)
    failed = [r for r in result.history if math.isnan(r.accuracy)]
    assert 0 < len(failed) < len(result.history)
    assert all(record.status == FAILED for record in failed)
    others = [r for r in result.history if r not in failed]
    assert all(record.status == OK for record in others)
    assert result.best in others


@pytest.mark.parametrize("baseline", [_random_search, _width_scaling])
def test_a_baseline_whose_labels_all_fail_says_so_and_why(baseline):
    def fail(architectures):
        return [math.nan] * len(architectures)

    with pytest.raises(
        EvaluationError, match="labels failed.*got nan"
    ) as error:
        baseline(evaluate=fail)
    assert {record.status for record in error.value.history} == {FAILED}


def test_width_scaling_runs_from_the_teacher_to_one_filter():
    networks = [r.architecture for r in _width_scaling().history]
    widest = [max(layer.filters for layer in n.layers) for n in networks]
    assert networks[0] == TEACHER
    assert widest[-1] == 1
    # Twelve factors, each 64^(1/11) = 1.46 times the next; the last two give
    # the same network, of one filter a layer.
    assert [*widest, 1] == [round(64 ** (1 - i / 11)) for i in range(12)]


def test_width_scaling_changes_nothing_but_widths():
    for record in _width_scaling().history:
        pairs = zip(TEACHER.layers, record.architecture.layers, strict=True)
        for old, new in pairs:
            assert old.kind == new.kind
            assert old.kernel_size == new.kernel_size
            assert old.strides == new.strides
            assert new.filters <= old.filters


def test_width_scaling_labels_no_network_twice():
    teacher = Architecture.parse("conv3x3-4 dense-2")
    networks = [
        r.architecture for r in _width_scaling(teacher, num_labels=30).history
    ]
    assert len({network.fingerprint for network in networks}) == len(networks)
    # A factor of 3/4 gives 3 filters and 1.5 units: 2 become 1 in between.
    widths = [tuple(layer.filters for layer in n.layers) for n in networks]
    assert widths == [(4, 2), (3, 2), (3, 1), (2, 1), (1, 1)]


@pytest.mark.parametrize("share", [0.9, 0.05, 1e-6])
def test_width_scaling_begins_with_the_largest_that_a_budget_allows(share):
    smallest = _count_params(TEACHER.scale_width(0))
    limit = max(share * _count_params(TEACHER), smallest)
    networks = [
        r.architecture for r in _width_scaling(objective=Budget(limit)).history
    ]
    sizes = [_count_params(network) for network in networks]
    assert sizes[0] == max(
        size for size in map(_count_params, _scalings(TEACHER)) if size <= limit
    )
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == smallest


def _scalings(teacher: Architecture) -> list[Architecture]:
    """Every network that some factor from 0 to 1 scales the teacher to."""
    # The factors at which some width is rounded to another number.
    edges = {
        (k + 0.5) / layer.filters
        for layer in teacher.layers
        for k in range(layer.filters)
    }
    edges = sorted(edges | {0.0, 1.0})
    middles = np.add(edges[1:], edges[:-1]) / 2
    return [teacher.scale_width(float(factor)) for factor in [*middles, 1.0]]


def _error(architecture: Architecture, target: int) -> float:
    return abs(math.log(_count_params(architecture) / target))


def _check_nearest(teacher: Architecture, target: int) -> None:
    scaled = baselines.scaled_to(teacher, target, _count_params)
    scalings = _scalings(teacher)
    assert scaled in scalings
    nearest = min(_error(scaling, target) for scaling in scalings)
    assert _error(scaled, target) == pytest.approx(nearest, abs=1e-12)


_WIDTHS = st.integers(1, 40)
_LAYERS = st.one_of(
    st.builds(Layer, st.just("conv"), _WIDTHS),
    st.builds(Layer, st.just("separable_conv"), _WIDTHS),
    st.builds(
        Layer,
        st.just("inverted_residual"),
        _WIDTHS,
        expansion=st.integers(1, 3),
    ),
    st.just(Layer("max_pool", 0, 2, 2)),
)


@given(
    st.lists(_LAYERS, min_size=1, max_size=4),
    st.lists(st.builds(Layer, st.just("dense"), _WIDTHS), max_size=1),
    st.floats(0, 1),
)
@settings(deadline=None)
def test_scaled_to_finds_the_nearest_size(maps, vectors, place):
    teacher = Architecture((*maps, *vectors))
    # Targets from half the smallest size to twice the teacher's.
    low, high = (_count_params(teacher.scale_width(f)) for f in (0, 1))
    target = round(low / 2 * (4 * high / low) ** place)
    _check_nearest(teacher, target)


def test_scaled_to_finds_the_nearest_size_with_projected_shortcuts():
    _check_nearest(Architecture.parse("conv3x3-34 bottleneck3x3-32"), 280)


def test_scaled_to_gives_back_the_teacher_for_its_own_size_and_above():
    size = _count_params(TEACHER)
    for target in (size, size + 1, 10 * size):
        scaled = baselines.scaled_to(TEACHER, target, _count_params)
        assert scaled == TEACHER


OPTIMISERS = [
    baselines.regularized_evolution,
    baselines.optuna_tpe,
    baselines.optuna_nsga2,
    baselines.keras_tuner_bayesian,
    baselines.expected_improvement,
]


def _name(optimiser):
    return optimiser.__name__


def _optimise(optimiser, evaluate=_evaluate, num_labels=40, **options):
    if _name(optimiser) == "expected_improvement":
        options["autoencoder"] = _embedding()
    return optimiser(
        SPACE,
        evaluate,
        num_labels=num_labels,
        objective=LogParams(0.1),
        seed=np.int64(3),
        **options,
    )


@functools.cache
def _embedding():
    return ArchitectureAutoencoder(SPACE)  # not trained: it is a projection


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=_name)
def test_optimisers_begin_with_the_same_samples_and_label_new_members(
    optimiser,
):
    # KerasTuner takes seconds for each proposal of its own.
    num = 18 if optimiser is baselines.keras_tuner_bayesian else 40
    history = _optimise(optimiser, num_labels=num).history
    networks = [record.architecture for record in history]
    assert networks[:16] == initial_samples(SPACE, 16, seed=3)
    assert len({network.fingerprint for network in networks}) == num
    assert all(map(SPACE.contains, networks))
    for record in history:
        assert record.accuracy == _accuracy(record.architecture)
        assert record.num_params == _count_params(record.architecture)


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=_name)
def test_optimisers_leave_failed_labels_behind(optimiser):
    result = _optimise(optimiser, _evaluate_some, num_labels=18)
    assert len(result.history) == 18
    assert not _fails(result.best.architecture)
    for record in result.history:
        assert (record.status != OK) == _fails(record.architecture)


def test_bayesian_optimisation_outlives_failures_in_a_row():
    labels = iter([0.5] * 8 + [math.nan] * 6 + [0.5] * 4)
    result = _optimise(
        baselines.keras_tuner_bayesian,
        lambda architectures: [next(labels) for _ in architectures],
        num_labels=18,
    )
    failed = [record.status != OK for record in result.history]
    assert failed == [False] * 8 + [True] * 6 + [False] * 4


@pytest.mark.parametrize(
    "optimiser",
    [
        baselines.regularized_evolution,
        baselines.optuna_tpe,
        baselines.expected_improvement,
    ],
    ids=_name,
)
def test_optimisers_find_smaller_networks_where_small_is_best(optimiser):
    result = _optimise(optimiser, lambda a: [0.5] * len(a), num_labels=60)
    sizes = np.log([record.num_params for record in result.history])
    assert sizes[40:].mean() < sizes[:16].mean()


@pytest.mark.parametrize(
    "method", [*OPTIMISERS, baselines.random_search], ids=_name
)
@pytest.mark.parametrize("seed", [None, "0", -1])
def test_a_seed_that_is_none_is_refused_before_any_label(method, seed):
    asked = []
    options = {"num_labels": 8, "objective": LogParams(0.1), "seed": seed}
    with pytest.raises(ValueError, match=f"seed, a whole .* got {seed!r}"):
        method(SPACE, asked.append, **options)
    assert not asked


def test_an_embedding_of_another_space_is_refused_before_any_label():
    asked = []
    other = SearchSpace.around(TEACHER, (8, 8, 3), num_widths=2)
    with pytest.raises(ValueError, match="autoencoder of the space that is"):
        baselines.expected_improvement(
            *(other, asked.append),
            num_labels=20,
            objective=LogParams(0.1),
            seed=0,
            autoencoder=_embedding(),
        )
    assert not asked


def test_expected_improvement_ends_where_a_space_has_a_single_member():
    space = SearchSpace.spanning([TEACHER], (8, 8, 3))
    result = baselines.expected_improvement(
        *(space, lambda asked: [0.5] * len(asked)),
        num_labels=20,
        objective=LogParams(0.1),
        seed=0,
        autoencoder=ArchitectureAutoencoder(space),
    )
    assert [r.architecture for r in result.history] == [TEACHER]


@pytest.mark.parametrize(
    "optimiser", [baselines.optuna_tpe, baselines.optuna_nsga2], ids=_name
)
def test_where_optuna_is_missing_that_is_said(optimiser, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="package optuna"):
        _optimise(optimiser)


def test_expected_improvement_samples_where_nothing_is_labelled_yet():
    result = _optimise(baselines.expected_improvement, num_labels=1)
    assert len(result.history) == 1
    labels = iter([math.nan] * 2 + [0.5] * 6)
    result = _optimise(
        baselines.expected_improvement,
        lambda architectures: [next(labels) for _ in architectures],
        num_labels=8,
        num_initial=1,
        labels_a_round=1,
    )
    failed = [record.status != OK for record in result.history]
    assert failed == [True] * 2 + [False] * 6


def test_an_optimiser_ends_where_the_space_does():
    space = SearchSpace(
        (Slot(("conv",), filters=(2, 4), optional=True), Slot(("flatten",))),
        INPUT_SHAPE,
        NUM_CLASSES,
    )
    for optimiser in (baselines.regularized_evolution, baselines.optuna_tpe):
        result = optimiser(
            space,
            _evaluate,
            num_labels=40,
            objective=LogParams(),
            seed=0,
        )
        assert len(result.history) == 3


def test_the_papers_way_labels_samples_and_then_what_the_descent_found():
    result = baselines.paper(
        SPACE,
        _evaluate,
        num_labels=24,
        objective=LogParams(0.1),
        seed=0,
        teacher=TEACHER,
        num_proposals=4,
    )
    networks = [record.architecture for record in result.history]
    assert len(set(networks)) == 24
    assert networks[:20] == initial_samples(SPACE, 20, seed=0)
    assert len(result.traces) == 1


def test_evolution_finds_the_one_member_of_a_space():
    space = SearchSpace((Slot(("conv",), filters=(4,)),), INPUT_SHAPE, 10)
    result = baselines.regularized_evolution(
        *(space, _evaluate), num_labels=8, objective=LogParams(), seed=0
    )
    assert [str(r.architecture) for r in result.history] == ["conv3x3-4"]


@pytest.mark.parametrize("baseline", [_random_search, _width_scaling])
def test_what_is_no_objective_is_refused_before_a_label_is_paid_for(baseline):
    asked = []
    with pytest.raises(TypeError, match="Expected an objective"):
        baseline(evaluate=asked.extend, objective=Limits(max_params=10))
    assert not asked
