"""The descent in the embedding, and what it proposes.

The embedding is descended (gradient ascent of the objective, on TensorFlow by
one `tf.function`) from many starts at once; every point of the paths is
decoded; what is new is encoded again and scored there, with its exact number of
parameters, beside neighbours of the best.  Every other proposal is one whose
accuracy the labels say little about, so that no choice is given up for what the
first labels happened to say of it.

After Ashok, arXiv 1902.03326 (encode, descend, decode).  Our own: many starts
and objectives in a batch, decoding along the path and not only at its end,
scoring after re-encoding, exact counts in place of the parameter head's, doubt.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import scipy.special
from etils import epy
from keras import ops

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.backend import by_rows, compiled_reading, value_and_grad
from archcomp_tf.corpus import OK, Record
from archcomp_tf.cost import CountParams
from archcomp_tf.ledger import pareto_front
from archcomp_tf.objective import Objective
from archcomp_tf.samples import Excess, Keeps, keeps_all, no_excess
from archcomp_tf.search_space import SearchSpace

with epy.lazy_imports():
    import tensorflow as tf

# Of a descent.  Farther from its start the heads promise more and the networks
# are worth less: variant "far" in results/embedding.
NUM_STEPS = 60
LEARNING_RATE = 0.02

_NUM_PARENTS = 16  # so many of the best have neighbours
# Of the candidates that look best so many are asked whether they keep to the
# limits before a proposal is given up; one may take seconds.
_MAX_ASKED = 32

_TRACED = ("z", "objective", "accuracy", "log_params")

# Of the label of a network as the linear model of `doubt` sees it, in units of
# the labels' variance: what is not linear in z, and the noise.
_UNEXPLAINED = 0.05


class Descent:
    """Gradient ascent of an objective over points of the embedding.

    Args:
      autoencoder: its heads say what a point promises.
      objective_type: the class of the objectives; their numbers are given to
        each call, so that other numbers do not trace it again.

    Attributes:
      autoencoder: the same.
      descend: what a call does, on tensors, on TensorFlow for graphs of one's
        own: (z `[B, D]`, the objectives' fields, each float32 `[B]`, num_steps,
        learning_rate) -> what the call returns.
    """

    def __init__(
        self,
        autoencoder: ArchitectureAutoencoder,
        objective_type: type[Objective],
    ):
        self.autoencoder = autoencoder
        self._objective_type = objective_type
        if keras.backend.backend() == "tensorflow":
            # Not by decorators, which would load TensorFlow with this file.
            self.descend = tf.function(self._descend, reduce_retracing=True)
            # Small heads on few points: without XLA most of a step is spent
            # between its operations.
            self._step = tf.function(
                self._adam_step,
                jit_compile=True,
                reduce_retracing=True,
                autograph=False,  # which has nothing to do, and would say so
            )
        else:
            self.descend = self._descend_step_by_step
            self._step = compiled_reading(
                self._adam_step,
                autoencoder.params_head.variables
                + autoencoder.accuracy_head.variables,
            )

    def __call__(
        self,
        z: np.ndarray,
        objectives: Objective | Sequence[Objective],
        num_steps: int,
        learning_rate: float,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Moves every start uphill.

        Args:
          z: float `[B, D]`, the starts.
          objectives: of the class given to the constructor: one for all
            starts, or B of them, one a start.
          num_steps: S, how many steps of Adam.
          learning_rate: length of a step, in units of z.

        Returns:
          The end points `[B, D]`, and the trace, step by step: "z"
          `[S, B, D]`, "objective", "accuracy" and "log_params" `[S, B]`, all
          before the step.

        Raises:
          ValueError: there are neither one nor B objectives.
        """
        z, trace = self.descend(
            ops.convert_to_tensor(z, "float32"),
            _objective_numbers(objectives, len(z)),
            ops.convert_to_tensor(int(num_steps), "int32"),
            ops.convert_to_tensor(learning_rate, "float32"),
        )
        return keras.tree.map_structure(ops.convert_to_numpy, (z, trace))

    def _descend(self, z, numbers, num_steps, learning_rate):
        arrays = tuple(
            tf.TensorArray(tf.float32, size=num_steps) for _ in _TRACED
        )
        mean, square = tf.zeros_like(z), tf.zeros_like(z)
        for step in tf.range(num_steps):
            before = z
            z, mean, square, *values = self._step(
                z, mean, square, numbers, tf.cast(step, z.dtype), learning_rate
            )
            arrays = tuple(
                array.write(step, tensor)
                for array, tensor in zip(arrays, (before, *values), strict=True)
            )
        trace = {
            name: array.stack()
            for name, array in zip(_TRACED, arrays, strict=True)
        }
        return z, trace

    def _descend_step_by_step(self, z, numbers, num_steps, learning_rate):
        """The same where there is no `tf.function`."""
        mean, square = ops.zeros_like(z), ops.zeros_like(z)
        rows = []
        for step in range(int(num_steps)):
            before = z
            z, mean, square, *values = self._step(
                z, mean, square, numbers, float(step), learning_rate
            )
            rows.append((before, *values))
        columns = map(ops.stack, zip(*rows, strict=True))
        return z, dict(zip(_TRACED, columns, strict=True))

    def _adam_step(self, z, mean, square, numbers, step, learning_rate):
        """One step of Adam (Kingma and Ba, arXiv 1412.6980), uphill."""

        def promised(z):
            accuracy, _, log_params = self.autoencoder.heads(z)
            value = self._objective_type.relaxed(
                accuracy, log_params, **numbers
            )
            return ops.sum(value), (value, accuracy, log_params)

        (_, values), gradient = value_and_grad(promised)(z)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unit = (mean / (1 - 0.9 ** (step + 1))) / (
            ops.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
        )
        z = self.autoencoder.project(z + learning_rate * unit)
        return z, mean, square, *values


def _objective_numbers(
    objectives: Objective | Sequence[Objective], num: int
) -> dict[str, Any]:
    """The fields of one objective, or of `num` of a class, each `[num]`."""
    if not isinstance(objectives, Sequence):
        objectives = [objectives] * num
    if len(objectives) != num:
        raise ValueError(
            f"Expected one objective or one for each of {num} starts; got "
            f"{len(objectives)}."
        )
    return {
        field.name: ops.convert_to_tensor(
            [getattr(o, field.name) for o in objectives], "float32"
        )
        for field in dataclasses.fields(objectives[0])
    }


def descent_starts(
    space: SearchSpace,
    ranked: Sequence[Architecture],
    teacher: Architecture | None,
    num: int,
    rng: np.random.Generator,
) -> list[Architecture]:
    """Where a descent starts: the teacher, the best, near them, anywhere.

    Args:
      space: the space.
      ranked: labelled members, the best first.
      teacher: a member, if it is known.
      num: how many to give; a quarter of them are the best, half are their
        mutations, the rest are samples.
      rng: the randomness.
    """
    if not num:
        return []
    best = list(ranked[: num // 4])
    starts = ([teacher] if teacher else []) + best
    while best and len(starts) < 3 * num // 4:
        start = best[rng.integers(len(best))]
        for _ in range(rng.integers(1, 4)):
            start = space.mutate(start, rng)
        starts.append(start)
    return starts + [space.sample(rng) for _ in range(num - len(starts))]


def neighbours(
    space: SearchSpace,
    ranked: Sequence[Architecture],
    num: int,
    rng: np.random.Generator,
) -> list[Architecture]:
    """Members one to three changes from the best, and crosses of two of them.

    Args:
      space: the space.
      ranked: labelled members, the best first.
      num: how many to give; fewer come back, since some are alike.
      rng: the randomness.
    """
    best = ranked[:_NUM_PARENTS]
    found = []
    for index in range(num if best and space.num_members > 1 else 0):
        # The better, the more often.
        first, second = (
            best[int(len(best) * share**2)] for share in rng.uniform(size=2)
        )
        member = space.cross(first, second, rng) if index % 4 == 0 else first
        for _ in range(rng.integers(1, 4)):
            member = space.mutate(member, rng)
        found.append(member)
    return list(dict.fromkeys(found))


def doubt(z: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """How little labels say of points of the embedding, 0 to 1.

    The standard deviation of a function that is linear in z, given its values
    at the labelled points, in units of what it is without any label:

        doubt^2 = 1 - k^T (K + 0.05 I)^-1 k,    k(z, z') = z^T z' / D

    A choice that no labelled network has, or few, is in doubt; the members of
    an ensemble agree on it, all having learnt nothing of it.

    Args:
      z: float `[N, D]`, of length sqrt(D) each.
      labelled: float `[M, D]`, likewise.

    Returns:
      `[N]`.
    """
    latent_dim = z.shape[-1]
    between = labelled @ z.T / latent_dim
    among = labelled @ labelled.T / latent_dim
    among += _UNEXPLAINED * np.eye(len(labelled))
    known = np.sum(between * np.linalg.solve(among, between), axis=0)
    return np.sqrt(np.maximum(1 - known, 0))


def passed_through(
    descent: Descent,
    starts: Sequence[Architecture],
    objectives: Objective | Sequence[Objective],
    num_steps: int = NUM_STEPS,
    learning_rate: float = LEARNING_RATE,
) -> tuple[list[Architecture], np.ndarray]:
    """The networks that descents come by, from their starts to their ends.

    Args:
      descent: over the embedding and its heads.
      starts: members that the descents start from.
      objectives: see `Descent`.
      num_steps: of each.
      learning_rate: of each.

    Returns:
      Different members, the starts among them, and the mean objective step by
      step `[num_steps]`; of no starts nothing.
    """
    if not starts:
        return [], np.zeros(0)
    autoencoder = descent.autoencoder
    z, trace = descent(
        autoencoder.encode(starts), objectives, num_steps, learning_rate
    )
    path = np.concatenate([trace["z"].reshape(-1, z.shape[-1]), z])
    members = {a.fingerprint: a for a in autoencoder.decode(path)}
    return list(members.values()), trace["objective"].mean(axis=1)


def propose(
    autoencoder: ArchitectureAutoencoder,
    candidates: Iterable[Architecture],
    records: Sequence[Record],
    objective: Objective,
    num: int,
    *,
    count_params: CountParams,
    first_of: Sequence[Sequence[Architecture]] = (),
    num_before: int = 0,
    keeps: Keeps = keeps_all,
    excess: Excess = no_excess,
    doubts: bool = True,
) -> tuple[list[Architecture], dict[str, float]]:
    """New architectures that the heads expect most of, or may be wrong about.

    Every other proposal, the first among them, is what the accuracy head
    expects most of; the rest is what would be best if the head were wrong by
    its `doubt` (an upper confidence bound).  Without doubts all are what it
    expects most of.

    Args:
      autoencoder: embedding and heads.
      candidates: members, such as those that descents passed through.
      records: of members, which are not proposed; those that did not fail are
        what the accuracy head was fitted on.
      objective: what to improve.
      num: how many to give at most.
      count_params: exact parameters of a member.
      first_of: groups of members, each of one network made narrower, which are
        candidates too; the best expected of each group is proposed before
        anything else.  A wider one is expected to be no worse than a narrower
        one, for a few labels of other networks tell less of these than that
        does.
      num_before: how many were proposed in earlier rounds, so that expectation
        and doubt keep taking turns.
      keeps: whether a member may be proposed; asked of the best alone, since
        it may have to build the network.
      excess: one of which it is above 1 is not proposed.
      doubts: see above.

    Returns:
      Up to `num` members; the predicted accuracy of each by fingerprint.
    """
    distinct = {
        a.fingerprint: a for a in itertools.chain(*first_of, candidates)
    }
    for record in records:
        distinct.pop(record.architecture.fingerprint, None)
    members = [a for a in distinct.values() if excess(a) <= 1]
    if not members:
        return [], {}
    labelled = [r.architecture for r in records if r.status == OK]
    beliefs = _beliefs(autoencoder, members, labelled, doubts)
    sizes = [count_params(a) for a in members]
    rankings = [
        np.argsort(
            [
                -objective(float(accuracy), size)
                for accuracy, size in zip(accuracies, sizes, strict=True)
            ],
            kind="stable",
        )
        for accuracies in beliefs
    ]
    groups = [
        _group_ranking(group, members, beliefs[0], sizes, objective)
        for group in first_of
    ]
    turns = itertools.chain(
        filter(len, groups),
        # All, in turn, from where the last round ended.
        itertools.islice(itertools.cycle(rankings), num_before, None),
    )
    chosen: list[int] = []
    for ranking in itertools.islice(turns, min(num, len(members))):
        rest = (i for i in ranking if i not in chosen)
        asked = itertools.islice(rest, _MAX_ASKED)
        choice = next((i for i in asked if keeps(members[i])), None)
        if choice is not None:
            chosen.append(choice)
    predictions = {members[i].fingerprint: float(beliefs[0][i]) for i in chosen}
    return [members[i] for i in chosen], predictions


def _beliefs(
    autoencoder: ArchitectureAutoencoder,
    members: Sequence[Architecture],
    labelled: Sequence[Architecture],
    doubts: bool,
) -> list[np.ndarray]:
    """Predicted accuracies `[N]` and, with doubts, upper confidence bounds.

    Args:
      autoencoder: embedding and heads.
      members: N of them.
      labelled: what the accuracy head was fitted on.
      doubts: whether to give the bounds too.
    """
    z = autoencoder.encode(members)
    expected, _, _ = by_rows(autoencoder.heads, z)
    if not doubts:
        return [expected]
    head = autoencoder.accuracy_head
    off = doubt(z, autoencoder.encode(labelled)) * float(head.units.scale)
    return [expected, scipy.special.expit(head.linked(expected) + off)]


def _group_ranking(
    group: Sequence[Architecture],
    members: Sequence[Architecture],
    expected: np.ndarray,
    sizes: Sequence[int],
    objective: Objective,
) -> np.ndarray:
    """Places of a group among the members, the best first.

    Args:
      group: one network made narrower, or several alike; perhaps not all of
        them are among the members.
      members: the candidates.
      expected: accuracies `[N]` of the members.
      sizes: of the members.
      objective: what to improve.
    """
    fingerprints = {a.fingerprint for a in group}
    places = [i for i, a in enumerate(members) if a.fingerprint in fingerprints]
    places.sort(key=sizes.__getitem__)
    # Of equals the widest is the first.
    accuracies = np.maximum.accumulate(expected[places])[::-1]
    places = np.array(places[::-1], np.intp)
    scores = [
        objective(float(accuracy), sizes[place])
        for accuracy, place in zip(accuracies, places, strict=True)
    ]
    return places[np.argsort(np.negative(scores), kind="stable")]


def predicted_front(
    descent: Descent,
    starts: Sequence[Architecture],
    objectives: Sequence[Objective],
    count_params: CountParams,
) -> tuple[Record, ...]:
    """The Pareto front that the heads expect, from one batch of descents.

    Args:
      descent: over the embedding and its heads.
      starts: members that the descent starts from, under each objective.
      objectives: of the descent's class, such as `LogParams` of many weights.
      count_params: exact parameters of a member.

    Returns:
      Members with their predicted accuracy and exact parameters, see
      `ledger.pareto_front`.
    """
    members, _ = passed_through(
        descent,
        [start for start in starts for _ in objectives],
        [objective for _ in starts for objective in objectives],
    )
    accuracies, _, _ = descent.autoencoder.predict_heads(members)
    return pareto_front(
        Record(member, float(accuracy), count_params(member))
        for member, accuracy in zip(members, accuracies, strict=True)
    )
