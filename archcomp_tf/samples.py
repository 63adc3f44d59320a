"""Samples of a space, and what limits allow of it.

Every method that searches a space begins with samples of it, the same ones
under the same seed, and falls back on them where it finds nothing new.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Set

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.search_space import SearchSpace

Keeps = Callable[[Architecture], bool]
Excess = Callable[[Architecture], float]

# A space of at most this many members is then enumerated.
_FEW_MEMBERS = 10_000
# A sample is given up after this many changes in a row that bring it no nearer
# to the limits.
_MAX_CHANGES = 500
_PATIENCE = 100  # after so many it is also made smaller


class AskedOnce:
    """A `Keeps` that asks another, which may be slow, of each network once."""

    def __init__(self, keeps: Keeps):
        self._keeps = keeps
        self._answers: dict[Architecture, bool] = {}

    def __call__(self, architecture: Architecture) -> bool:
        """What the other said."""
        if architecture not in self._answers:
            self._answers[architecture] = self._keeps(architecture)
        return self._answers[architecture]


def keeps_all(architecture: Architecture) -> bool:
    """There is no limit: every architecture keeps to it."""
    del architecture
    return True


def no_excess(architecture: Architecture) -> float:
    """There is no limit: no architecture takes a share of one."""
    del architecture
    return 0.0


def initial_samples(
    space: SearchSpace,
    num: int,
    seed: int,
    excess: Excess = no_excess,
    known: Set[str] = frozenset(),
) -> list[Architecture]:
    """The different samples that every search with this seed labels first.

    Without those whose fingerprints are known.
    """
    rng = np.random.default_rng(seed)
    return new_samples(space, num, rng, known, excess)


def new_samples(
    space: SearchSpace,
    num: int,
    rng: np.random.Generator,
    known: Set[str],
    excess: Excess = no_excess,
    keeps: Keeps = keeps_all,
    max_misses: int = 100,
) -> list[Architecture]:
    """Up to `num` different samples whose fingerprints are not known.

    Fewer come back where `max_misses` draws in a row bring nothing new and the
    space is too large to go through all of it.

    Args:
      space: the space.
      num: how many to give.
      rng: the randomness.
      known: fingerprints not to give.
      excess: see `compression.search`.  A sample above 1 is changed until it is
        not; one that cannot be is given as near as it comes.
      keeps: see there; a sample that does not is not given.
      max_misses: how many draws in a row may be in vain.
    """
    known, samples, misses = set(known), [], 0
    while len(samples) < num and misses < max_misses:
        sample = _brought_within(space, space.sample(rng), rng, excess)
        if sample.fingerprint in known or not keeps(sample):
            misses += 1
            continue
        misses = 0
        known.add(sample.fingerprint)
        samples.append(sample)
    if len(samples) < num and space.num_members <= _FEW_MEMBERS:
        # Samples are of one width, more or less; members of many are left.
        members = {member.fingerprint: member for member in space.members}
        left = [m for f, m in members.items() if f not in known]
        allowed = (
            left[i]
            for i in rng.permutation(len(left))
            if excess(left[i]) <= 1 and keeps(left[i])
        )
        samples += itertools.islice(allowed, num - len(samples))
    return samples


def _brought_within(
    space: SearchSpace,
    member: Architecture,
    rng: np.random.Generator,
    excess: Excess,
) -> Architecture:
    """The member, changed until it exceeds nothing: a walk downhill."""

    def is_smaller(one: Architecture, other: Architecture) -> bool:
        return space.count_params(one) < space.count_params(other)

    now, misses = excess(member), 0
    while now > 1 and space.num_members > 1 and misses < _MAX_CHANGES:
        changed = space.mutate(member, rng)
        then = excess(changed)
        misses = 0 if then < now else misses + 1
        # As much will do: of two layers that exceed alike both have to shrink.
        # Where that leads nowhere, all of them shrink.
        if then < now or (
            then == now and (misses < _PATIENCE or is_smaller(changed, member))
        ):
            member, now = changed, then
    return member
