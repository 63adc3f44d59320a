"""The search: descend in the embedding, decode, label, learn, again.

A search starts from a few labelled samples of the space.  In each round the
accuracy ensemble is fitted to all labels so far; the embedding is descended
(gradient ascent of the objective, by one `tf.function`) from the teacher, the
best networks so far, their mutations and samples; every point of the paths is
decoded; what is new is encoded again and scored there, with its exact number
of parameters; the best are labelled.

After Ashok, arXiv 1902.03326 (encode, descend, decode).  Our own: rounds, many
starts, decoding along the path and not only at its end, scoring after
re-encoding, exact counts in place of the parameter head's, random immigrants.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.corpus import FAILED, OK, Record
from archcomp_tf.fitting import (
    check_num_labels,
    fit_autoencoder,
    fit_ensemble_head,
    unlabelled_mix,
)
from archcomp_tf.objective import Objective
from archcomp_tf.search_space import SearchSpace

# Of a descent.  Twice as far from its start, what the heads promise is higher
# and what the networks are worth is lower (results/embedding).
NUM_STEPS = 60
LEARNING_RATE = 0.02

_LOGGER = logging.getLogger(__name__)

Evaluate = Callable[[Sequence[Architecture]], Sequence[float]]
CountParams = Callable[[Architecture], int]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
      history: every labelled record, in the order of labelling.
      objective: what the search was after.
      predictions: fingerprint -> accuracy predicted when it was proposed.
      traces: round -> `[num_steps]`, the mean of the relaxed objective over
        all starts, step by step.
    """

    history: tuple[Record, ...]
    objective: Objective
    predictions: dict[str, float] = dataclasses.field(default_factory=dict)
    traces: tuple[np.ndarray, ...] = ()

    @property
    def ranked(self) -> list[Record]:
        """The records whose labels did not fail, highest objective first."""
        labelled = [record for record in self.history if record.status == OK]
        return sorted(labelled, key=self.score, reverse=True)

    @property
    def best(self) -> Record:
        """The record with the highest objective.

        Raises:
          ValueError: every label failed.
        """
        if not self.ranked:
            raise ValueError(f"All {len(self.history)} labels failed.")
        return self.ranked[0]

    @property
    def pareto(self) -> tuple[Record, ...]:
        """Records that no other beats in both respects, smallest first."""
        front: list[Record] = []
        for record in sorted(
            self.ranked, key=lambda r: (r.num_params, -r.accuracy)
        ):
            if not front or record.accuracy > front[-1].accuracy:
                front.append(record)
        return tuple(front)

    def score(self, record: Record) -> float:
        """The objective of a record."""
        return self.objective(record.accuracy, record.num_params)


class Descent:
    """Gradient ascent of an objective over points of the embedding.

    Args:
      autoencoder: its heads say what a point promises.
      objective_type: the class of the objectives; their numbers are given to
        each call, so that other numbers do not trace it again.
    """

    def __init__(
        self,
        autoencoder: ArchitectureAutoencoder,
        objective_type: type[Objective],
    ):
        self._autoencoder = autoencoder
        self._objective_type = objective_type

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
            tf.constant(z, tf.float32),
            objective_numbers(objectives, len(z)),
            tf.constant(num_steps),
            tf.constant(learning_rate, tf.float32),
        )
        return z.numpy(), {name: t.numpy() for name, t in trace.items()}

    @tf.function(reduce_retracing=True)
    def descend(self, z, numbers, num_steps, learning_rate):
        """The same on tensors, for graphs of one's own.

        Args:
          z: float32 `[B, D]`.
          numbers: the objectives' fields, each float32 `[B]`.
          num_steps: int32, S.
          learning_rate: float32.

        Returns:
          As `__call__`, in tensors.
        """
        names = ("z", "objective", "accuracy", "log_params")
        arrays = tuple(
            tf.TensorArray(tf.float32, size=num_steps) for _ in names
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
            for name, array in zip(names, arrays, strict=True)
        }
        return z, trace

    # Small heads on few points: without XLA most of a step is spent between
    # its operations.
    @tf.function(jit_compile=True, reduce_retracing=True)
    def _step(self, z, mean, square, numbers, step, learning_rate):
        """One step of Adam (Kingma and Ba, arXiv 1412.6980), uphill."""
        with tf.GradientTape() as tape:
            tape.watch(z)
            accuracy, _, log_params = self._autoencoder.heads(z)
            value = self._objective_type.relaxed(
                accuracy, log_params, **numbers
            )
        gradient = tape.gradient(value, z)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unit = (mean / (1 - 0.9 ** (step + 1))) / (
            tf.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
        )
        z = self._autoencoder.project(z + learning_rate * unit)
        return z, mean, square, value, accuracy, log_params


def objective_numbers(
    objectives: Objective | Sequence[Objective], num: int
) -> dict[str, tf.Tensor]:
    """The fields of one objective, or of `num` of a class, each `[num]`."""
    if not isinstance(objectives, Sequence):
        objectives = [objectives] * num
    if len(objectives) != num:
        raise ValueError(
            f"Expected one objective or one for each of {num} starts; got "
            f"{len(objectives)}."
        )
    return {
        field.name: tf.constant(
            [getattr(o, field.name) for o in objectives], tf.float32
        )
        for field in dataclasses.fields(objectives[0])
    }


def propose(
    autoencoder: ArchitectureAutoencoder,
    descent: Descent,
    starts: Sequence[Architecture],
    known: set[str],
    objective: Objective,
    count_params: CountParams,
    num: int,
    *,
    num_steps: int = NUM_STEPS,
    learning_rate: float = LEARNING_RATE,
) -> tuple[list[Architecture], dict[str, float], np.ndarray]:
    """New architectures that the heads expect most of.

    Args:
      autoencoder: embedding and heads.
      descent: over the same autoencoder.
      starts: members that the descent starts from.
      known: fingerprints not to propose.
      objective: what to improve.
      count_params: exact parameters of a member.
      num: how many to give at most.
      num_steps: of the descent.
      learning_rate: of the descent.

    Returns:
      Up to `num` members, the most promising first; the predicted accuracy of
      each by fingerprint; the mean objective along the descent `[num_steps]`.
    """
    members, trace = _descend(
        autoencoder, descent, starts, objective, num_steps, learning_rate
    )
    candidates = [a for a in members if a.fingerprint not in known]
    scored = _score(autoencoder, candidates, objective, count_params)
    best = sorted(scored, key=lambda item: -item[0])[:num]
    predictions = {a.fingerprint: accuracy for _, accuracy, a in best}
    return [a for _, _, a in best], predictions, trace["objective"].mean(axis=1)


def predicted_front(
    autoencoder: ArchitectureAutoencoder,
    descent: Descent,
    starts: Sequence[Architecture],
    objectives: Sequence[Objective],
    count_params: CountParams,
    *,
    num_steps: int = NUM_STEPS,
    learning_rate: float = LEARNING_RATE,
) -> list[tuple[Architecture, float, int]]:
    """The Pareto front that the heads expect, from one batch of descents.

    Args:
      autoencoder: embedding and heads.
      descent: over the same autoencoder.
      starts: members that the descent starts from, under each objective.
      objectives: of the descent's class, such as `LogParams` of many weights.
      count_params: exact parameters of a member.
      num_steps: of the descent.
      learning_rate: of the descent.

    Returns:
      Members with their predicted accuracy and exact parameters, smallest
      first; no other that was found is both smaller and expected to be better.
    """
    members, _ = _descend(
        autoencoder,
        descent,
        [start for start in starts for _ in objectives],
        [objective for _ in starts for objective in objectives],
        num_steps,
        learning_rate,
    )
    accuracies, _, _ = autoencoder.predict_heads(members)
    points = zip(members, accuracies, map(count_params, members), strict=True)
    front: list[tuple[Architecture, float, int]] = []
    for member, accuracy, size in sorted(points, key=lambda p: (p[2], -p[1])):
        if not front or accuracy > front[-1][1]:
            front.append((member, float(accuracy), size))
    return front


def search(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    teacher: Architecture | None = None,
    num_initial: int | None = None,
    labels_a_round: int = 8,
    num_starts: int = 64,
    autoencoder: ArchitectureAutoencoder | None = None,
    mode: str = "pretrained",
) -> SearchResult:
    """Searches a space with the architecture autoencoder.

    Args:
      space: where to search.
      evaluate: architectures -> validation accuracies in [0, 1], from any
        source; NaN says that a label failed.
      num_labels: how many architectures `evaluate` may be asked for.
      objective: what to improve.
      seed: of everything random in here.
      count_params: exact parameters of a member; by default `cost.num_params`
        with the space's input shape and classes.
      teacher: a member to start from, in each round.
      num_initial: how many labels are spent on samples before the first round;
        by default half of them, 24 at most.
      labels_a_round: how many proposals are labelled between two fits.
      num_starts: of each descent.
      autoencoder: an embedding of this space that was trained before; without
        one it is trained here.
      mode: "pretrained" or "joint", see `fitting.py`.

    Returns:
      All labelled records and the best of them.

    Raises:
      ValueError: too few labels for the accuracy head to be fitted on.
    """
    count_params = count_params or default_count_params(space)
    num_initial = num_initial or min(24, num_labels // 2)
    check_num_labels(num_initial)
    ledger = Ledger(evaluate, count_params)
    rng = np.random.default_rng(seed)
    ledger.label(initial_samples(space, num_initial, seed))
    if autoencoder is None:
        keras.utils.set_random_seed(seed)
        autoencoder = ArchitectureAutoencoder(space)
        mix = unlabelled_mix(space, [teacher] if teacher else [], 8192, rng)
        fit_autoencoder(
            autoencoder,
            mix,
            ledger.records,
            count_params,
            seed=seed,
            epochs=30,
            mode=mode,
        )
    descent = Descent(autoencoder, type(objective))
    predictions, traces = {}, []
    while len(ledger.records) < num_labels:
        fit_ensemble_head(
            autoencoder,
            autoencoder.accuracy_head,
            ledger.records,
            seed=seed + len(ledger.records),
        )
        result = SearchResult(tuple(ledger.records), objective)
        starts = descent_starts(
            space,
            [r.architecture for r in result.ranked],
            teacher,
            num_starts,
            rng,
        )
        wanted = min(labels_a_round, num_labels - len(ledger.records))
        immigrants = wanted // 8
        proposals, predicted, trace = propose(
            autoencoder,
            descent,
            starts,
            ledger.fingerprints,
            objective,
            count_params,
            wanted - immigrants,
        )
        traces.append(trace)
        predictions |= predicted
        # A descent that found too little new is topped up with samples.
        proposals += new_samples(
            space,
            wanted - len(proposals),
            rng,
            ledger.fingerprints | {a.fingerprint for a in proposals},
        )
        if not proposals:
            _LOGGER.info("Every architecture of the space is labelled.")
            break
        ledger.label(proposals)
    return SearchResult(
        tuple(ledger.records), objective, predictions, tuple(traces)
    )


class Ledger:
    """Labels architectures and keeps their records in order.

    Args:
      evaluate: see `search`.
      count_params: exact parameters of an architecture.

    Attributes:
      records: the records, in the order of labelling.
      fingerprints: of the labelled architectures.
    """

    def __init__(self, evaluate: Evaluate, count_params: CountParams):
        self._evaluate = evaluate
        self._count_params = count_params
        self.records: list[Record] = []
        self.fingerprints: set[str] = set()

    def label(self, architectures: Sequence[Architecture]) -> None:
        """Labels architectures and appends their records."""
        accuracies = self._evaluate(architectures)
        for architecture, accuracy in zip(
            architectures, accuracies, strict=True
        ):
            self.fingerprints.add(architecture.fingerprint)
            self.records.append(
                Record(
                    architecture,
                    float(accuracy),
                    self._count_params(architecture),
                    status=FAILED if math.isnan(accuracy) else OK,
                )
            )


def default_count_params(space: SearchSpace) -> CountParams:
    """Exact parameters of a member, for the space's images and classes."""
    return lambda architecture: cost.num_params(
        architecture, space.input_shape, space.num_classes
    )


def initial_samples(
    space: SearchSpace, num: int, seed: int
) -> list[Architecture]:
    """The different samples that every search with this seed labels first."""
    return new_samples(space, num, np.random.default_rng(seed), set())


def new_samples(
    space: SearchSpace, num: int, rng: np.random.Generator, known: set[str]
) -> list[Architecture]:
    """Up to `num` different samples whose fingerprints are not known.

    Fewer come back where 100 draws in a row bring nothing new.
    """
    known, samples, misses = set(known), [], 0
    while len(samples) < num and misses < 100:
        sample = space.sample(rng)
        if sample.fingerprint in known:
            misses += 1
            continue
        misses = 0
        known.add(sample.fingerprint)
        samples.append(sample)
    return samples


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
    best = list(ranked[: num // 4])
    starts = ([teacher] if teacher else []) + best
    while best and len(starts) < 3 * num // 4:
        start = best[rng.integers(len(best))]
        for _ in range(rng.integers(1, 4)):
            start = space.mutate(start, rng)
        starts.append(start)
    return starts + [space.sample(rng) for _ in range(num - len(starts))]


def _descend(
    autoencoder: ArchitectureAutoencoder,
    descent: Descent,
    starts: Sequence[Architecture],
    objectives: Objective | Sequence[Objective],
    num_steps: int,
    learning_rate: float,
) -> tuple[list[Architecture], dict[str, np.ndarray]]:
    """The different networks on the descents' paths, and the trace."""
    z, trace = descent(
        autoencoder.encode(starts), objectives, num_steps, learning_rate
    )
    path = np.concatenate([trace["z"].reshape(-1, z.shape[-1]), z])
    members = {a.fingerprint: a for a in autoencoder.decode(path)}
    return list(members.values()), trace


def _score(
    autoencoder: ArchitectureAutoencoder,
    candidates: Sequence[Architecture],
    objective: Objective,
    count_params: CountParams,
) -> list[tuple[float, float, Architecture]]:
    """(score, predicted accuracy, architecture) of each, re-encoded."""
    if not candidates:
        return []
    accuracies, _, _ = autoencoder.predict_heads(candidates)
    return [
        (
            objective(float(accuracy), count_params(candidate)),
            float(accuracy),
            candidate,
        )
        for accuracy, candidate in zip(accuracies, candidates, strict=True)
    ]
