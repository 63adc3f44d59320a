"""Tests of `archcomp_tf.limits`."""

import numpy as np
import pytest

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.limits import Limits
from archcomp_tf.litert import file_bytes
from archcomp_tf.objective import Budget, Tolerance

NETWORK = Architecture.parse("conv3x3-6 max_pool2x2/2 conv3x3-8")
SHAPE = (8, 8, 1), 4
PARAMS = cost.num_params(NETWORK, *SHAPE)
FLOPS = cost.num_flops(NETWORK, *SHAPE)
RAM = (8 * 8 + 4 * 4) * 6  # bytes in int8: the pool reads one and gives one


@pytest.mark.parametrize(
    ("limits", "objective"),
    [
        ({"max_params": 50}, Budget(50)),
        ({"max_flops": 50}, Budget(1000)),  # no larger than the teacher
        ({"max_params": 2000}, Budget(1000)),
        ({"max_file_bytes": 70}, Budget(70)),
        ({"max_accuracy_drop": 0.02}, Tolerance(0.02, 0.9)),
        ({"max_accuracy_drop": 0.02, "max_params": 50}, Tolerance(0.02, 0.9)),
    ],
)
def test_what_may_be_lost_asks_for_the_smallest_else_for_the_best(
    limits, objective
):
    assert Limits(**limits).objective(0.9, 1000) == objective


def test_numbers_of_any_kind_are_plain_ones():
    limits = Limits(max_params=0.05 * 577_610, max_latency_ms=np.float32(0.5))
    assert limits.given == {"max_params": 28_880, "max_latency_ms": 0.5}
    assert type(limits.max_params) is int
    assert type(limits.max_latency_ms) is float
    with pytest.raises(ValueError, match="max_params > 0; got 0.5"):
        Limits(max_params=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_params", PARAMS), ("max_flops", FLOPS), ("max_ram_bytes", RAM)],
)
def test_a_cost_of_exactly_the_limit_keeps_it(name, value):
    assert Limits(**{name: value}).kept_by(NETWORK, *SHAPE)
    assert not Limits(**{name: value - 1}).kept_by(NETWORK, *SHAPE)


def test_all_limits_must_be_kept():
    assert Limits(PARAMS, FLOPS).kept_by(NETWORK, *SHAPE)
    assert not Limits(PARAMS, FLOPS - 1).kept_by(NETWORK, *SHAPE)
    assert not Limits(PARAMS - 1, FLOPS).kept_by(NETWORK, *SHAPE)


def test_the_bytes_are_those_of_the_int8_file():
    size = file_bytes(build(NETWORK, *SHAPE))
    assert Limits(max_file_bytes=size).kept_by(NETWORK, *SHAPE)
    assert not Limits(max_file_bytes=size - 1).kept_by(NETWORK, *SHAPE)


@pytest.mark.parametrize(
    ("known", "rest"),
    [
        ({"max_params": 50}, {"max_ram_bytes": 9}),
        ({"max_accuracy_drop": 0.1}, {"max_params": 50, "max_flops": 9}),
    ],
)
def test_the_objective_knows_of_one_limit(known, rest):
    assert Limits(**known).beside_objective is None
    assert Limits(**known, **rest).beside_objective == Limits(**rest)


def test_what_takes_seconds_can_be_guessed_or_left_out():
    limits = Limits(max_params=PARAMS, max_file_bytes=100)
    assert limits.excess(NETWORK, *SHAPE) > 1
    assert limits.excess(NETWORK, *SHAPE, {}) == 1
    guesses = {"max_file_bytes": lambda *_: 150, "max_latency_ms": None}
    assert limits.excess(NETWORK, *SHAPE, guesses) == 1.5


def test_a_latency_is_measured_and_a_removed_layer_takes_no_time():
    assert Limits(max_latency_ms=1000.0).kept_by(NETWORK, *SHAPE)
    assert not Limits(max_latency_ms=1e-6).kept_by(NETWORK, *SHAPE)
    padded = Architecture.parse(f"{NETWORK} identity")
    limits = Limits(max_latency_ms=1.0)
    asked = []
    remembered = {"max_latency_ms": lambda *args: asked.append(args) or 2.0}
    assert limits.excess(padded, *SHAPE, remembered) == 2
    assert limits.excess(NETWORK, *SHAPE, remembered) == 2
    assert asked == 2 * [(NETWORK, *SHAPE)]


def test_the_excess_is_the_largest_share_of_a_limit():
    assert Limits(PARAMS // 2, 10 * FLOPS).excess(
        NETWORK, *SHAPE
    ) == pytest.approx(PARAMS / (PARAMS // 2))
    assert Limits(max_accuracy_drop=0.1).excess(NETWORK, *SHAPE) == 0


def test_broken_limits_are_named_with_what_was_allowed_and_what_it_is():
    limits = Limits(PARAMS - 1, FLOPS, max_accuracy_drop=0.01)
    (params, drop) = limits.broken(NETWORK, *SHAPE, accuracy_drop=0.025)
    assert params == f"max_params is {PARAMS - 1} and it has {PARAMS}"
    assert drop == "max_accuracy_drop is 0.01 and it has 0.025"
    assert len(limits.broken(NETWORK, *SHAPE, accuracy_drop=0.01)) == 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "at least one limit of max_params, max_flops, .*drop"),
        ({"max_params": -3}, "max_params > 0; got -3"),
        ({"max_ram_bytes": "32k"}, "max_ram_bytes to be a number; got '32k'"),
        ({"max_params": float("inf")}, "max_params to be a number; got inf"),
        ({"max_latency_ms": float("nan")}, "max_latency_ms > 0; got nan"),
        ({"max_accuracy_drop": 1.5}, r"max_accuracy_drop in \(0, 1\); got 1.5"),
    ],
)
def test_limits_that_limit_nothing_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        Limits(**limits)
