"""What a search has asked for, and what came back.

`SearchResult` is what every search gives, `Ledger` how it asks: an `evaluate`
that goes wrong costs the labels that went wrong and none of the others.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import keras_tuner
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, OK, Record, check_sizes, whole_params
from archcomp_tf.cost import CountParams
from archcomp_tf.objective import Objective, check_objective
from archcomp_tf.ranges import check_callable, check_number
from archcomp_tf.samples import Keeps, keeps_all

_LOGGER = logging.getLogger(__name__)

Evaluate = Callable[[Sequence[Architecture]], Sequence[float | Exception]]
OnLabel = Callable[[Record], object]

# With so many labels, and more than half of them failed, a search gives up.
_ENOUGH_TO_JUDGE = 8


def pareto_front(records: Iterable[Record]) -> tuple[Record, ...]:
    """Records that no other beats in both respects, smallest first."""
    front: list[Record] = []
    for record in sorted(records, key=lambda r: (r.num_params, -r.accuracy)):
        if not front or record.accuracy > front[-1].accuracy:
            front.append(record)
    return tuple(front)


def score(objective: Objective, record: Record) -> float:
    """The objective of a record; below all others where there is none.

    As where the label failed, or an objective of one's own gives NaN.
    """
    if record.status != OK:
        return -math.inf
    value = objective(record.accuracy, record.num_params)
    return -math.inf if math.isnan(value) else value


class EvaluationError(RuntimeError):
    """Most labels failed.

    Attributes:
      history: every record so far, failed or not, in the order of labelling.
    """

    def __init__(self, message: str, history: Sequence[Record]):
        super().__init__(message, history)
        self.history = tuple(history)

    def __str__(self) -> str:
        return self.args[0]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
      history: every labelled record, in the order of labelling.
      objective: what the search was after.
      keeps: whether an architecture keeps to limits that the objective does not
        know of; one that does not stands behind all that do.
      predictions: fingerprint -> accuracy predicted when it was proposed.
      traces: round -> `[num_steps]`, the mean of the relaxed objective over
        all starts, step by step.
    """

    history: tuple[Record, ...]
    objective: Objective
    keeps: Keeps = keeps_all
    predictions: dict[str, float] = dataclasses.field(default_factory=dict)
    traces: tuple[np.ndarray, ...] = ()

    def __repr__(self) -> str:
        """How many labels there are, and the best of them: not pages of all."""
        best = next(iter(self.ranked), None)
        return f"<SearchResult of {len(self.history)} labels, best {best!r}>"

    @property
    def labelled(self) -> list[Record]:
        """The records whose labels did not fail, in the order of labelling."""
        return [record for record in self.history if record.status == OK]

    @property
    def ranked(self) -> list[Record]:
        """The same, highest objective first."""
        return sorted(
            self.labelled,
            key=lambda r: (
                self.keeps(r.architecture),
                self.score(r),
                -r.num_params,  # the smaller of two that are as good
            ),
            reverse=True,
        )

    @property
    def best(self) -> Record:
        """The record with the highest objective of those that keep the limits.

        Where none keeps them it is the one with the highest objective.

        Raises:
          ValueError: every label failed.
        """
        ranked = self.ranked
        if not ranked:
            raise ValueError(f"All {len(self.history)} labels failed.")
        return ranked[0]

    @property
    def pareto(self) -> tuple[Record, ...]:
        """See `pareto_front`, of those that keep the limits."""
        return pareto_front(
            r for r in self.labelled if self.keeps(r.architecture)
        )

    def score(self, record: Record) -> float:
        """The objective of a record, see `ledger.score`."""
        return score(self.objective, record)


class Ledger:
    """Labels architectures and keeps their records in order.

    Args:
      evaluate: see `compression.search`.
      count_params: exact parameters of an architecture.
      num_labels: how many may be asked for.
      objective: what a result is judged by.
      keeps: see `SearchResult`.
      known: records of labels that somebody else paid for.
      on_label: called with each new record.

    Attributes:
      records: the known records, and then the others in the order of labelling.

    Raises:
      TypeError: the objective is none, or what is to be called no function.
      ValueError: the number of labels is no whole one or not positive, or a
        known record is of another number of parameters than is counted.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        count_params: CountParams,
        num_labels: int,
        objective: Objective,
        *,
        keeps: Keeps = keeps_all,
        known: Sequence[Record] = (),
        on_label: OnLabel | None = None,
    ):
        check_objective(objective)
        check_number("num_labels", num_labels, 1, whole=True)
        check_callable("evaluate", evaluate)
        check_callable("count_params", count_params)
        if on_label is not None:
            check_callable("on_label", on_label)
        self._evaluate = evaluate
        self._count_params = count_params
        self._num_labels = num_labels
        self._objective = objective
        self._keeps = keeps
        self._on_label = on_label
        # Of the same network, in several trainings, the first that did not fail
        # counts.
        distinct: dict[str, Record] = {}
        for record in sorted(known, key=lambda record: record.status != OK):
            distinct.setdefault(record.architecture.fingerprint, record)
        self.records = list(distinct.values())
        check_sizes(self.records, count_params)
        self._num_known = len(self.records)
        self._places = {
            record.architecture.fingerprint: place
            for place, record in enumerate(self.records)
        }

    @property
    def remaining(self) -> int:
        """How many labels may still be asked for."""
        return self._num_labels + self._num_known - len(self.records)

    def result(self, **found: Any) -> SearchResult:
        """What was found so far; see `SearchResult`."""
        return SearchResult(
            tuple(self.records), self._objective, self._keeps, **found
        )

    def round_size(self, labels_a_round: int | None) -> int:
        """How many to label in a round, at most as many as remain.

        Args:
          labels_a_round: the number; None for a sixteenth of the labels so
            far, 2 to 4: the first labels teach most.
        """
        if labels_a_round is None:
            labels_a_round = min(max(2, len(self.records) // 16), 4)
        check_number("labels_a_round", labels_a_round, 1, whole=True)
        return min(labels_a_round, self.remaining)

    @property
    def fingerprints(self) -> Set[str]:
        """Of the labelled architectures, now and later."""
        return self._places.keys()

    @property
    def num_ok(self) -> int:
        """How many labels did not fail."""
        return sum(record.status == OK for record in self.records)

    def label(self, architectures: Sequence[Architecture]) -> list[Record]:
        """The records of architectures, labelled where they were not yet.

        Where `evaluate` raises, or gives another number of values than it was
        asked for, it is asked again one by one, so that the networks that it
        can do are not lost with the one that it cannot.

        Args:
          architectures: those that are new must not be more than `remaining`.

        Raises:
          EvaluationError: most labels so far failed.
          keras_tuner.errors.FatalError: `evaluate` raised it: it cannot go on,
            whatever it is asked for.
        """
        asked = {a.fingerprint: a for a in architectures}
        new = [a for f, a in asked.items() if f not in self._places]
        if len(new) > self.remaining:
            raise ValueError(
                f"Expected at most {self.remaining} more architectures to "
                f"label; got {len(new)}."
            )
        # Counted first: where that fails, no label is paid for and lost.
        sizes = [
            whole_params(self._count_params(architecture))
            for architecture in new
        ]
        for architecture, size, (accuracy, reason) in zip(
            new, sizes, self._ask(new), strict=True
        ):
            record = Record(
                architecture,
                accuracy,
                size,
                status=FAILED if reason else OK,
                reason=reason,
            )
            self._places[architecture.fingerprint] = len(self.records)
            self.records.append(record)
            if self._on_label is not None:
                self._on_label(record)
        self._give_up_if_most_fail()
        return [
            self.records[self._places[a.fingerprint]] for a in architectures
        ]

    def _ask(
        self, architectures: Sequence[Architecture]
    ) -> Iterator[tuple[float, str]]:
        """(accuracy, why it failed or "") of each."""
        if not architectures:
            return
        try:
            accuracies = self._evaluate([*architectures])
            if isinstance(accuracies, str | Mapping) or not isinstance(
                accuracies, Iterable
            ):
                raise TypeError(
                    f"expected a row of {len(architectures)} accuracies from "
                    f"evaluate; got {accuracies!r}"
                )
            accuracies = list(accuracies)
            if len(accuracies) != len(architectures):
                raise ValueError(
                    f"expected {len(architectures)} accuracies from evaluate; "
                    f"got {len(accuracies)}"
                )
        except keras_tuner.errors.FatalError:
            raise  # no other network would fare better
        # Whatever a stranger's function raises is the reason of a failed label.
        except Exception as error:
            if len(architectures) > 1:
                _LOGGER.warning(
                    "evaluate failed on %d networks, which are tried one by "
                    "one: %s: %s",
                    len(architectures),
                    type(error).__name__,
                    error,
                )
                # Each is recorded before the next is asked for.
                for architecture in architectures:
                    yield from self._ask([architecture])
            else:
                yield math.nan, f"{type(error).__name__}: {error}"
        else:
            yield from map(_checked, accuracies)

    def _give_up_if_most_fail(self) -> None:
        asked = self.records[self._num_known :]
        failed = [record for record in asked if record.status != OK]
        if (
            len(asked) >= min(_ENOUGH_TO_JUDGE, self._num_labels)
            and len(failed) > len(asked) / 2
        ):
            raise EvaluationError(
                f"{len(failed)} of {len(asked)} labels failed, the last one "
                f"with: {failed[-1].reason}",
                self.records,
            )


def _checked(accuracy) -> tuple[float, str]:
    """(accuracy, "") or (NaN, why it is none)."""
    if isinstance(accuracy, Exception):
        return math.nan, str(accuracy) or type(accuracy).__name__
    try:
        value = float(accuracy)
    # A stranger's object may raise what it likes.
    except Exception:
        return math.nan, f"expected an accuracy in [0, 1]; got {accuracy!r}"
    if not 0 <= value <= 1:
        return math.nan, f"expected an accuracy in [0, 1]; got {value}"
    return value, ""
