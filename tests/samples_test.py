"""Tests of samples of a space, and of what limits allow of them."""

import numpy as np

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.samples import initial_samples, new_samples
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.teachers import TEACHERS

# Of 81 members sampling by width finds the even ones.
SMALL = SearchSpace.uniform(
    num_slots=4, kinds=["conv"], filters=[8, 16, 32], input_shape=(8, 8, 1)
)


def _all_of(space, **options):
    rng = np.random.default_rng(0)
    return new_samples(space, space.num_members, rng, set(), **options)


def test_of_a_small_space_every_member_is_given():
    samples = _all_of(SMALL)
    assert set(samples) == set(SMALL.members)
    assert len(samples) == SMALL.num_members == 81
    known = {sample.fingerprint for sample in samples[:80]}
    rng = np.random.default_rng(1)
    assert new_samples(SMALL, 5, rng, known) == samples[80:]


def test_members_that_differ_in_where_layers_are_removed_are_given_once():
    space = SearchSpace.uniform(
        num_slots=3, kinds=["conv", "identity"], filters=[8]
    )
    assert space.num_members == 8
    assert sorted(len(a.compact.layers) for a in _all_of(space)) == [0, 1, 2, 3]


def test_nothing_is_given_that_does_not_keep_to_the_limits():
    def keeps(architecture):
        return SMALL.count_params(architecture) <= 10_000

    within = {a for a in SMALL.members if keeps(a)}
    assert 0 < len(within) < 81
    assert set(_all_of(SMALL, keeps=keeps)) == within
    few = new_samples(SMALL, 3, np.random.default_rng(0), set(), keeps=keeps)
    assert len(few) == 3 and set(few) < within


def test_samples_above_a_limit_are_changed_until_they_are_not():
    space = SearchSpace.around(Architecture.parse("conv3x3-64 conv3x3-64"))

    def excess(architecture):
        return space.count_params(architecture) / 2000

    free = initial_samples(space, 20, 0)
    assert sum(excess(a) > 1 for a in free) > 5
    samples = initial_samples(space, 20, 0, excess)
    assert len({a.fingerprint for a in samples}) == 20
    assert all(space.contains(a) and excess(a) <= 1 for a in samples)
    # Those that exceed nothing are left as they are.
    assert samples[0] == free[0] or excess(free[0]) > 1
    # Not all of them are tiny.
    assert max(map(excess, samples)) > 0.5


def test_where_nothing_is_within_a_limit_samples_are_as_near_as_they_come():
    space = SearchSpace.around(Architecture.parse("conv3x3-8"))
    (sample,) = initial_samples(
        space, 1, 0, lambda a: 2 + len(a.compact.layers)
    )
    assert not sample.compact.layers


def test_the_only_member_is_given_whatever_it_exceeds():
    space = SearchSpace.uniform(num_slots=1, kinds=["conv"], filters=[8])
    (sample,) = initial_samples(space, 1, 0, lambda a: 2.0)
    assert sample == next(space.members)


def test_a_long_way_down_is_gone_to_its_end():
    space = SearchSpace.around(TEACHERS["resnet34"])

    def excess(architecture):
        shape = space.input_shape, space.num_classes
        return cost.peak_activations(architecture, *shape) / 10_000

    assert all(excess(a) <= 1 for a in initial_samples(space, 16, 0, excess))
