"""Tests of numbers that make no sense."""

import math

import numpy as np
import pytest

from archcomp_tf.ranges import check_number


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.5), np.int64(1)])
def test_a_number_within_is_let_by(value):
    check_number("share", value, 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "1", None])
def test_what_is_not_within_is_named(value):
    with pytest.raises(ValueError, match="a share from 0 to 1; got") as caught:
        check_number("share", value, 0, 1)
    assert repr(value) in str(caught.value)


def test_without_a_largest_number_the_smallest_is_told():
    check_number("epochs", 1, 1, whole=True)
    check_number("epochs", np.int32(10**6), 1, whole=True)
    with pytest.raises(
        ValueError, match="epochs, a whole number, of at least 1; got 0"
    ):
        check_number("epochs", 0, 1, whole=True)


def test_what_is_divided_by_is_above_zero():
    check_number("rate", 1e-9, 0, above=True)
    with pytest.raises(ValueError, match="a rate above 0; got 0"):
        check_number("rate", 0, 0, above=True)
    with pytest.raises(ValueError, match="above 0, at most 1; got 0"):
        check_number("share", 0, 0, 1, above=True)


def test_a_part_of_a_number_is_no_whole_one():
    with pytest.raises(ValueError, match=r"got 1\.5"):
        check_number("epochs", 1.5, 1, whole=True)
