"""Tests of `archcomp_tf.limits`."""

import numpy as np
import pytest

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.limits import Limits, excess, shares
from archcomp_tf.litert import file_bytes
from archcomp_tf.objective import Budget, Tolerance

NETWORK = Architecture.parse("conv3x3-6 max_pool2x2/2 conv3x3-8")
SHAPE = (8, 8, 1), 4
PARAMS = cost.num_params(NETWORK, *SHAPE)
FLOPS = cost.num_flops(NETWORK, *SHAPE)
RAM = (8 * 8 + 4 * 4) * 6  # bytes in int8: the pool reads one and gives one


def _is_kept(limits: Limits) -> bool:
    return excess(limits.given, NETWORK, *SHAPE) <= 1


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
    assert _is_kept(Limits(**{name: value}))
    assert not _is_kept(Limits(**{name: value - 1}))


def test_all_limits_must_be_kept():
    assert _is_kept(Limits(PARAMS, FLOPS))
    assert not _is_kept(Limits(PARAMS, FLOPS - 1))
    assert not _is_kept(Limits(PARAMS - 1, FLOPS))


def test_the_bytes_are_those_of_the_int8_file():
    size = file_bytes(build(NETWORK, *SHAPE))
    assert _is_kept(Limits(max_file_bytes=size))
    assert not _is_kept(Limits(max_file_bytes=size - 1))


@pytest.mark.parametrize(
    ("known", "rest"),
    [
        ({"max_params": 50}, {"max_ram_bytes": 9}),
        ({"max_accuracy_drop": 0.1}, {"max_params": 50, "max_flops": 9}),
    ],
)
def test_the_objective_knows_of_one_limit(known, rest):
    assert Limits(**known).beside_objective == {}
    assert Limits(**known, **rest).beside_objective == rest


def test_what_takes_seconds_can_be_guessed_or_left_out():
    limits = {"max_params": PARAMS, "max_file_bytes": 100}
    assert excess(limits, NETWORK, *SHAPE) > 1
    assert excess(limits, NETWORK, *SHAPE, {}) == 1
    guesses = {"max_file_bytes": lambda *_: 150, "max_latency_ms": None}
    assert excess(limits, NETWORK, *SHAPE, guesses) == 1.5


def test_a_latency_is_measured_and_a_removed_layer_takes_no_time():
    assert _is_kept(Limits(max_latency_ms=1000.0))
    assert not _is_kept(Limits(max_latency_ms=1e-6))
    padded = Architecture.parse(f"{NETWORK} identity")
    limits = {"max_latency_ms": 1.0}
    asked = []
    remembered = {"max_latency_ms": lambda *args: asked.append(args) or 2.0}
    assert excess(limits, padded, *SHAPE, remembered) == 2
    assert excess(limits, NETWORK, *SHAPE, remembered) == 2
    assert asked == 2 * [(NETWORK, *SHAPE)]


def test_the_excess_is_the_largest_share_of_a_limit():
    limits = {"max_flops": 10 * FLOPS, "max_params": PARAMS // 2}
    assert [*shares(limits, NETWORK, *SHAPE)] == [
        ("max_params", PARAMS, PARAMS / (PARAMS // 2)),
        ("max_flops", FLOPS, 0.1),
    ]
    assert excess(limits, NETWORK, *SHAPE) == PARAMS / (PARAMS // 2)
    assert excess({"max_accuracy_drop": 0.1}, NETWORK, *SHAPE) == 0


def test_what_is_measured_comes_last():
    limits = {"max_latency_ms": 1.0, "max_params": PARAMS}
    asked = []
    measured = {"max_latency_ms": lambda *_: asked.append(1) or 2.0}
    taken = shares(limits, NETWORK, *SHAPE, measured)
    assert next(taken) == ("max_params", PARAMS, 1) and not asked
    assert next(taken) == ("max_latency_ms", 2.0, 2.0) and asked


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
