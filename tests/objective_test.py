"""Tests of `archcomp_tf.objective`."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from archcomp_tf.objective import (
    Budget,
    LogParams,
    N2NReward,
    Tolerance,
    check_objective,
)

accuracies = st.floats(0, 1)
sizes = st.integers(1, 10**9)

TEACHER_PARAMS = 1_000_000
OBJECTIVES = [
    LogParams(0.05),
    Tolerance(max_drop=0.02, reference_accuracy=0.9),
    Budget(20_000),
    N2NReward(reference_accuracy=0.9, reference_params=TEACHER_PARAMS),
]
every_objective = pytest.mark.parametrize(
    "objective", OBJECTIVES, ids=lambda objective: type(objective).__name__
)
# Accuracy and size of networks inside the limits of all OBJECTIVES, and of
# networks that break the limit of Tolerance, of Budget, of both.
INSIDE = [(0.9, 20_000), (0.95, 300), (0.89, 1), (1.0, 7_000)]
OUTSIDE = [(0.85, 10_000), (0.95, 50_000), (0.1, 900_000), (0.0, 1)]


def _relaxed(objective, accuracy, log_params):
    return type(objective).relaxed(
        accuracy, log_params, **dataclasses.asdict(objective)
    )


def _columns(points) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies and log10 parameters, float32 as in the descent."""
    accuracy, num_params = np.array(points).T
    return accuracy.astype("float32"), np.log10(num_params).astype("float32")


@every_objective
@given(accuracies, accuracies, sizes)
def test_of_two_networks_of_one_size_the_more_accurate_is_no_worse(
    objective, one, other, size
):
    low, high = sorted((one, other))
    assert objective(high, size) >= objective(low, size)


@every_objective
@given(accuracies, sizes, sizes)
def test_of_two_networks_of_one_accuracy_the_smaller_is_no_worse(
    objective, accuracy, one, other
):
    small, large = sorted((one, other))
    assert objective(accuracy, small) >= objective(accuracy, large)


@given(st.floats(0.01, 0.2), accuracies, st.integers(1, 10**6))
def test_log_params_gives_its_weight_of_accuracy_for_a_tenfold_reduction(
    weight, accuracy, size
):
    objective = LogParams(weight)
    assert objective(accuracy, 10 * size) == pytest.approx(
        objective(accuracy - weight, size), abs=1e-12
    )


def _splits_by(limit: float):
    """Two accuracies on both sides of a limit, clear of rounding."""
    return st.floats(limit + 2e-6, 1), st.floats(0, limit - 2e-6)


_ABOVE, _BELOW = _splits_by(0.88)


@given(_ABOVE, sizes, _BELOW, sizes)
def test_tolerance_prefers_any_network_that_keeps_the_limit(
    kept, kept_size, broken, broken_size
):
    objective = Tolerance(max_drop=0.02, reference_accuracy=0.9)
    assert objective(kept, kept_size) > objective(broken, broken_size)


@given(_ABOVE, _ABOVE, sizes, sizes)
def test_tolerance_prefers_the_smaller_of_those_that_keep_the_limit(
    one, other, small, large
):
    assume(small < large)
    objective = Tolerance(max_drop=0.02, reference_accuracy=0.9)
    assert objective(one, small) > objective(other, large)


@given(_BELOW, _BELOW, sizes, sizes)
def test_tolerance_prefers_the_nearer_of_those_that_break_the_limit(
    one, other, size, other_size
):
    assume(one > other + 1e-9)
    objective = Tolerance(max_drop=0.02, reference_accuracy=0.9)
    assert objective(one, size) > objective(other, other_size)


@given(
    st.integers(1, 2**20),
    st.integers(1, 2**20),
    st.integers(1, 2**20),
)
def test_tolerance_counts_a_loss_of_exactly_max_drop_as_kept(
    reference, drop, size
):
    # Shares of 2^20 images, so that all differences are exact.
    assume(drop <= reference)
    reference, drop = reference / 2**20, drop / 2**20
    objective = Tolerance(drop, reference)
    assert objective(reference - drop, size) == -math.log10(size)


@pytest.mark.parametrize("num_images", [300, 5_000])
def test_tolerance_counts_a_loss_of_max_drop_in_images_as_kept(num_images):
    for num_right in range(num_images // 2, num_images + 1):
        objective = Tolerance(0.01, num_right / num_images)
        kept = (num_right - num_images // 100) / num_images
        assert objective(kept, 10) == -1
        # As Keras has it.
        assert objective(float(np.float32(kept)), 10) == -1


@given(accuracies, accuracies, st.integers(1, 10**6), st.data())
def test_budget_prefers_any_network_that_keeps_the_limit(
    kept, broken, max_params, data
):
    small = data.draw(st.integers(1, max_params), label="small")
    large = data.draw(st.integers(max_params + 1, 10**9), label="large")
    objective = Budget(max_params)
    assert objective(kept, small) > objective(broken, large)


@given(accuracies, accuracies, st.integers(1, 20_000), st.integers(1, 20_000))
def test_budget_prefers_the_more_accurate_of_those_that_keep_the_limit(
    one, other, size, other_size
):
    assume(one > other)
    objective = Budget(20_000)
    assert objective(one, size) > objective(other, other_size)


@given(accuracies, accuracies, st.integers(20_001, 10**9), sizes)
def test_budget_prefers_the_smaller_of_those_that_break_the_limit(
    one, other, small, more
):
    objective = Budget(20_000)
    assert objective(one, small) > objective(other, small + more)


@pytest.mark.parametrize(
    ("smaller", "reward"), [(1, 0.0), (2, 0.75), (10, 0.990), (20, 0.9975)]
)
@given(accuracy=st.floats(0.01, 1))
def test_n2n_saturates_at_equal_accuracy(smaller, reward, accuracy):
    objective = N2NReward(accuracy, TEACHER_PARAMS)
    size = TEACHER_PARAMS // smaller
    assert objective(accuracy, size) == pytest.approx(reward, abs=1e-12)


@given(st.floats(0.01, 1), accuracies, st.integers(1, TEACHER_PARAMS))
def test_n2n_is_proportional_to_the_share_of_the_teachers_accuracy(
    reference, accuracy, size
):
    objective = N2NReward(reference, TEACHER_PARAMS)
    assert objective(accuracy, size) == pytest.approx(
        objective(reference, size) * accuracy / reference
    )


@every_objective
def test_relaxed_is_the_objective_where_the_limits_are_kept(objective):
    values = _relaxed(objective, *_columns(INSIDE))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(values),
        [objective(*point) for point in INSIDE],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("objective", [OBJECTIVES[0], OBJECTIVES[3]])
def test_relaxed_is_the_objective_everywhere_where_there_are_no_limits(
    objective,
):
    values = _relaxed(objective, *_columns(OUTSIDE))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(values),
        [objective(*point) for point in OUTSIDE],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("objective", "inside", "outside"),
    [
        (OBJECTIVES[1], (0.88, 5_000), (0.83, 5_000)),
        (OBJECTIVES[2], (0.9, 20_000), (0.9, 30_000)),
    ],
)
def test_relaxed_falls_where_a_limit_is_broken(objective, inside, outside):
    kept, broken = keras.ops.convert_to_numpy(
        _relaxed(objective, *_columns([inside, outside]))
    )
    assert broken < kept


def _gradients(objective, points) -> tuple[np.ndarray, np.ndarray]:
    accuracy, log_params = map(tf.constant, _columns(points))
    with tf.GradientTape() as tape:
        tape.watch([accuracy, log_params])
        value = _relaxed(objective, accuracy, log_params)
    gradients = tape.gradient(
        value,
        [accuracy, log_params],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return tuple(gradient.numpy() for gradient in gradients)


@every_objective
def test_the_gradient_points_to_higher_accuracy_and_fewer_parameters(objective):
    # At the limit itself the gradient is a matter of rounding.
    points = [(0.91, 19_000), *INSIDE[1:], *OUTSIDE]
    of_accuracy, of_log_params = _gradients(objective, points)
    assert np.all(of_accuracy >= 0)
    assert np.all(of_log_params <= 0)
    assert np.all((of_accuracy > 0) | (of_log_params < 0))


@pytest.mark.parametrize(
    ("objective", "point", "signs"),
    [
        # Up with accuracy and down with size, at the rate that was asked for.
        (OBJECTIVES[0], (0.5, 5_000), (1, -1)),
        # Inside its limit an objective is after the other quantity alone.
        (OBJECTIVES[1], (0.91, 5_000), (0, -1)),
        (OBJECTIVES[1], (0.81, 5_000), (1, -1)),
        (OBJECTIVES[2], (0.91, 5_000), (1, 0)),
        (OBJECTIVES[2], (0.91, 50_000), (1, -1)),
        (OBJECTIVES[3], (0.91, 50_000), (1, -1)),
    ],
)
def test_the_gradient_follows_what_is_still_to_be_won(objective, point, signs):
    gradients = _gradients(objective, [point])
    assert tuple(np.sign(np.concatenate(gradients))) == signs


@every_objective
def test_relaxed_gives_the_same_for_numpy_tensors_and_compiled(objective):
    columns = _columns([*INSIDE, *OUTSIDE])
    # As in the descent: the objective's numbers are tensors, too.
    numbers = {
        name: tf.constant(value, tf.float32)
        for name, value in dataclasses.asdict(objective).items()
    }
    relaxed = type(objective).relaxed
    of_numpy = _relaxed(objective, *columns)
    of_tensors = relaxed(*map(tf.constant, columns), **numbers)
    compiled = tf.function(relaxed)(*map(tf.constant, columns), **numbers)
    for values in (of_tensors, compiled):
        assert values.shape == columns[0].shape
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(of_numpy), values, rtol=1e-5, atol=1e-5
        )


@every_objective
def test_relaxed_takes_float64_and_single_numbers(objective):
    accuracy, log_params = _columns(INSIDE)
    expected = keras.ops.convert_to_numpy(
        _relaxed(objective, accuracy, log_params)
    )
    wide = _relaxed(
        objective, accuracy.astype("float64"), log_params.astype("float64")
    )
    single = _relaxed(objective, float(accuracy[0]), float(log_params[0]))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(wide), expected, rtol=1e-5, atol=1e-5
    )
    assert float(single) == pytest.approx(float(expected[0]), abs=1e-5)


@every_objective
def test_what_can_be_descended_is_an_objective(objective):
    check_objective(objective)


@dataclasses.dataclass(frozen=True)
class _Named:
    """A field that is no number."""

    name: str = "mine"

    def __call__(self, accuracy, num_params):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params, name):
        return accuracy


@dataclasses.dataclass(frozen=True)
class _Bound:
    """Not a staticmethod."""

    def __call__(self, accuracy, num_params):
        return accuracy

    def relaxed(self, accuracy, log_params):
        return accuracy


@dataclasses.dataclass(frozen=True)
class _Summed:
    """One number for all points."""

    def __call__(self, accuracy, num_params):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params):
        return keras.ops.sum(accuracy)


@dataclasses.dataclass(frozen=True)
class _OtherNames:
    """What `relaxed` takes is not called as the field is."""

    weight: float = 0.1

    def __call__(self, accuracy, num_params):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params, w):
        return accuracy - w * log_params


@dataclasses.dataclass(frozen=True)
class _OfNumPy:
    """Not for what stands for a tensor while it is compiled."""

    def __call__(self, accuracy, num_params):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params):
        return np.sqrt(accuracy)


@dataclasses.dataclass(frozen=True)
class _Rounded:
    """Flat everywhere."""

    def __call__(self, accuracy, num_params):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params):
        return keras.ops.floor(100 * accuracy)


@dataclasses.dataclass(frozen=True)
class _OfAccuracy:
    """It takes no number of parameters."""

    def __call__(self, accuracy):
        return accuracy

    @staticmethod
    def relaxed(accuracy, log_params):
        return accuracy


@dataclasses.dataclass(frozen=True)
class _Logarithm:
    """Not of an accuracy of 0, and NaN below a half where it can be told."""

    least: float

    def __call__(self, accuracy, num_params):
        if self.least:
            return float("nan") if accuracy < self.least else accuracy
        return math.log10(accuracy)

    @staticmethod
    def relaxed(accuracy, log_params, least):
        return accuracy


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (_Logarithm(0), r"\(0.0, 1000\); got ValueError: .*"),
        (_Logarithm(0.4), "_Logarithm of an accuracy of 0.0 .* got nan"),
        (_Named(), "_Named.relaxed cannot be descended"),
        (_OtherNames(), "_OtherNames.relaxed cannot .* argument 'weight'"),
        (_OfNumPy(), "_OfNumPy.relaxed cannot be descended"),
        (_Rounded(), "_Rounded.relaxed to have a gradient; got none"),
        (_OfAccuracy(), "_OfAccuracy cannot be called .* 2 positional"),
        (_Bound(), "_Bound.relaxed cannot be descended; expected a static"),
        (_Summed(), r"each of 2 points; got shape \(\)"),
    ],
)
def test_what_cannot_be_descended_is_refused_before_a_label_is_paid_for(
    objective, message
):
    with pytest.raises(TypeError, match=message):
        check_objective(objective)
