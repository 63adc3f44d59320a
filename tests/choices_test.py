"""Tests of members as named choices."""

import numpy as np
import strategies
from hypothesis import given, settings

from archcomp_tf import choices
from archcomp_tf.architecture import Architecture
from archcomp_tf.search_space import SearchSpace


@given(strategies.spaces(), strategies.seeds)
@settings(deadline=None)
def test_the_choices_of_a_member_make_it_again(space, seed):
    member = space.sample(np.random.default_rng(seed))
    found = choices.indices(space, member)
    assert choices.choose(space, lambda name, *_: found[name]) == member


@given(strategies.spaces(), strategies.seeds)
@settings(deadline=None)
def test_whatever_is_chosen_is_a_member_and_was_declared(space, seed):
    rng = np.random.default_rng(seed)
    declared = {}

    def declare(name, num, ordered):
        declared[name] = (num, ordered)
        return 0

    def suggest(name, num, ordered):
        assert declared[name] == (num, ordered)
        return int(rng.integers(num))

    choices.declare(space, declare)
    for _ in range(10):
        assert space.contains(choices.choose(space, suggest))


def test_only_the_fields_of_the_chosen_kind_are_asked_for():
    space = SearchSpace.uniform(
        num_slots=1,
        kinds=("conv", "identity"),
        filters=(4, 8),
        kernel_sizes=(1, 3),
    )
    removed = Architecture.parse("identity")
    assert choices.indices(space, removed) == {"0_kind": 0}
    assert choices.indices(space, Architecture.parse("conv3x3-4")) == {
        "0_kind": 1,
        "0_filters": 0,
        "0_kernel_size": 1,
        "0_strides": 0,
    }
