"""The search: descend in the embedding, decode, label, learn, again.

A search starts from a few labelled samples of the space.  In each round the
accuracy ensemble is fitted to all labels so far, `descent.propose` finds what
is promising, and the best of that is labelled.

After Ashok, arXiv 1902.03326 (encode, descend, decode).  Our own: rounds, many
starts, random immigrants.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.corpus import FAILED, OK, Record
from archcomp_tf.cost import CountParams
from archcomp_tf.descent import Descent, descent_starts, propose
from archcomp_tf.fitting import (
    check_num_labels,
    fit_autoencoder,
    fit_ensemble_head,
    unlabelled_mix,
)
from archcomp_tf.objective import Objective
from archcomp_tf.search_space import SearchSpace

_LOGGER = logging.getLogger(__name__)

Evaluate = Callable[[Sequence[Architecture]], Sequence[float]]


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
