"""The search: descend in the embedding, decode, label, learn, again.

A search starts from a few labelled samples of the space.  In each round the
accuracy ensemble is fitted to all labels so far; `descent.propose` scores what
descents pass through and what lies a few changes from the best; the most
promising are labelled, and as many that would be so if the ensemble were wrong
where there are few labels.

After Ashok, arXiv 1902.03326 (encode, descend, decode).  Our own: rounds, many
starts, neighbours beside the descents, doubt, the teacher made narrower and of
other kinds of layers.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence

import numpy as np

from archcomp_tf.architecture import Architecture, check_architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.corpus import Record
from archcomp_tf.cost import CountParams
from archcomp_tf.descent import (
    LEARNING_RATE,
    NUM_STEPS,
    Descent,
    descent_starts,
    neighbours,
    passed_through,
    propose,
)
from archcomp_tf.fitting import (
    MIN_LABELS,
    check_mode,
    check_num_labels,
    fit_ensemble_head,
    train_embedding,
)
from archcomp_tf.ledger import Evaluate, Ledger, OnLabel, SearchResult
from archcomp_tf.objective import Objective, Tolerance
from archcomp_tf.ranges import (
    MAX_SEED,
    check_callable,
    check_number,
    plain_seed,
)
from archcomp_tf.samples import (
    AskedOnce,
    Excess,
    Keeps,
    initial_samples,
    keeps_all,
    new_samples,
    no_excess,
)
from archcomp_tf.search_space import SearchSpace

_LOGGER = logging.getLogger(__name__)

# More is hardly ever predicted, see the range of logits in `heads.py`: of what
# has to be more accurate only the label can tell.
_SURE = 0.998


def num_samples(num_labels: int, num_known: int = 0, wanted: int = 0) -> int:
    """How many of a search's labels are spent on random samples.

    At least as many as the accuracy head still needs; none if it needs none.

    Args:
      num_labels: of the search.
      num_known: labels that are known before, of members of the space.
      wanted: 0 for the default, half of the labels and 16 at most.
    """
    lacking = MIN_LABELS - num_known
    if lacking <= 0:
        return 0
    return max(lacking, wanted or min(16, num_labels // 2))


def search(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    teacher: Architecture | None = None,
    known: Iterable[Record] = (),
    on_label: OnLabel | None = None,
    keeps: Keeps = keeps_all,
    excess: Excess = no_excess,
    num_initial: int | None = None,
    labels_a_round: int | None = None,
    num_starts: int = 64,
    num_steps: int = NUM_STEPS,
    learning_rate: float = LEARNING_RATE,
    num_neighbours: int = 2048,
    doubts: bool = True,
    narrowed: bool = True,
    autoencoder: ArchitectureAutoencoder | None = None,
    mode: str = "pretrained",
) -> SearchResult:
    """Searches a space with the architecture autoencoder.

    Args:
      space: where to search.
      evaluate: architectures -> validation accuracies in [0, 1], from any
        source.  A label that it cannot give (it raises; an exception in place
        of a value; NaN; another number of values; a value outside [0, 1]) is
        recorded as failed, with the reason.
      num_labels: how many architectures `evaluate` may be asked for.
      objective: what to improve.
      seed: of everything random in here; the global generators of Python,
        NumPy and Keras in this process are seeded by it, too.
      count_params: exact parameters of a member; by default `cost.num_params`
        with the space's input shape and classes.
      teacher: a member to start from, in each round.
      known: records of members that were labelled before: learnt from, not
        labelled again, failed ones neither, and not counted in `num_labels`:
        to go on with a search that was stopped, ask for what it lacked.  They
        begin the history.
      on_label: called with each new record before the next label is asked for,
        such as `Corpus(path).append`: what is `known` to the next search where
        this one does not come to its end.
      keeps: whether a member keeps to limits that the objective does not know
        of; one that does not is never proposed, though samples are labelled
        that do not.  It may be slow: it is asked of what is labelled and of
        the best candidates, of each network once.
      excess: the largest cost of a member as a multiple of its limit, as far as
        that is known in a moment.  Samples are changed until it is at most 1,
        and nothing above 1 is proposed.
      num_initial: how many labels are spent on samples before the first round;
        by default `num_samples`, and none where enough is known.  Where some
        fail, others make up for them.
      labels_a_round: how many proposals are labelled between two fits; by
        default see `Ledger.round_size`.
      num_starts: of the descents of a round; 0 for none.
      num_steps: of each descent.
      learning_rate: of each, the length of a step in units of z.
      num_neighbours: how many changes of the best networks are scored beside
        the descents; 0 for none.
      doubts: whether every other proposal is one that the heads may be wrong
        about, see `descent.propose`.
      narrowed: whether the first proposals are the teacher with all layers
        made narrower alike, see `SearchSpace.narrowed`: as it is, and with its
        layers swapped for each other kind, see `SearchSpace.swapped`; of each
        the one that promises most, see `descent.propose`.  With few labels
        these are hard to beat.
      autoencoder: an embedding of this space that was trained before, whose
        accuracy head is fitted here anew; without one it is trained here.
      mode: how the embedding is trained here, "pretrained" or "joint", see
        `fitting.py`; ignored where an autoencoder is given.  "joint" lets the
        labels shape the embedding, no more: on it, as it then is, the accuracy
        head is fitted anew before each round's proposals, the first ones too.

    Returns:
      All labelled records and the best of them.

    Raises:
      TypeError: an argument is of no such type.
      ValueError: a number makes no sense, there are too few labels for the
        accuracy head to be fitted on, the teacher or a known architecture is
        not in the space, the autoencoder is of another one, or the mode is
        unknown.
      EvaluationError: most labels failed; it holds those that did not.
    """
    check_mode(mode)
    known = _records(known)
    _check_members(space, teacher, known)
    if autoencoder is not None:
        check_embedding(autoencoder, space)
    count_params = count_params or space.count_params
    seed = plain_seed(seed)
    check_callable("keeps", keeps)
    check_callable("excess", excess)
    keeps = AskedOnce(keeps)
    check_number("num_starts", num_starts, 0, whole=True)
    check_number("num_neighbours", num_neighbours, 0, whole=True)
    check_number("num_steps", num_steps, 1, whole=True)
    check_number("learning_rate", learning_rate, 0, above=True)
    ledger = Ledger(
        evaluate,
        count_params,
        num_labels,
        objective,
        keeps=keeps,
        known=known,
        on_label=on_label,
    )
    ledger.round_size(labels_a_round)  # refuses what is no such number
    if num_initial is not None:
        check_number("num_initial", num_initial, 0, num_labels, whole=True)
    else:
        num_initial = num_samples(num_labels, ledger.num_ok)
    check_num_labels(ledger.num_ok + min(num_initial, num_labels))
    label_first(ledger, space, num_initial, seed, excess)
    if ledger.num_ok < MIN_LABELS:  # and nothing is left to label
        return ledger.result()
    if autoencoder is None:
        autoencoder = train_embedding(
            space,
            [teacher] if teacher else [],
            # Otherwise each round fits the head, the first one too.
            ledger.records if mode == "joint" else [],
            count_params,
            seed=seed,
            mode=mode,
        )
    descent = Descent(autoencoder, type(objective))
    aim = _within_reach(objective)
    rng = np.random.default_rng(seed)
    rng_of_others = np.random.default_rng([seed, 2])  # not the first samples
    first_of = _narrowed(space, teacher) if teacher and narrowed else []
    predictions, traces = {}, []
    while ledger.remaining:
        wanted = ledger.round_size(labels_a_round)
        fit_ensemble_head(
            autoencoder,
            autoencoder.accuracy_head,
            ledger.records,
            seed=(seed + len(ledger.records)) % (MAX_SEED + 1),
        )
        ranked = [record.architecture for record in ledger.result().ranked]
        found, trace = passed_through(
            descent,
            descent_starts(space, ranked, teacher, num_starts, rng),
            aim,
            num_steps,
            learning_rate,
        )
        proposals, predicted = propose(
            autoencoder,
            [*neighbours(space, ranked, num_neighbours, rng), *found],
            ledger.records,
            aim,
            wanted,
            count_params=count_params,
            first_of=first_of[:wanted],
            num_before=len(predictions),
            keeps=keeps,
            excess=excess,
            doubts=doubts,
        )
        traces.append(trace)
        predictions |= predicted
        first_of = first_of[wanted:]
        # What stands in where too little new was found.
        proposals += new_samples(
            space,
            wanted - len(proposals),
            rng_of_others,
            ledger.fingerprints | {a.fingerprint for a in proposals},
            excess,
            keeps,
        )
        if not proposals:
            _LOGGER.info(
                "Nothing was found that is not labelled and keeps to the "
                "limits; %d of %d labels are left.",
                ledger.remaining,
                num_labels,
            )
            break
        ledger.label(proposals)
    return ledger.result(predictions=predictions, traces=tuple(traces))


def _records(known: Iterable[Record]) -> list[Record]:
    """Known records, which may come only once; TypeError for what is none."""
    if isinstance(known, str) or not isinstance(known, Iterable):
        known = [known]  # and no record
    records = [*known]
    for record in records:
        if not isinstance(record, Record):
            raise TypeError(
                "Expected known records, such as Corpus(path) or the history "
                f"of a SearchResult holds; got {record!r}."
            )
    return records


def _check_members(
    space: SearchSpace,
    teacher: Architecture | None,
    known: Sequence[Record],
) -> None:
    """Raises ValueError, or TypeError, for what is not of the space."""
    if not isinstance(space, SearchSpace):
        raise TypeError(f"Expected a SearchSpace; got {space!r}.")
    if teacher is not None:
        check_architecture("the teacher", teacher)
        try:
            space.validate(teacher)
        except ValueError as error:
            raise ValueError(
                f"Expected a teacher that is in the space: {error}"
            ) from error
    for record in known:
        try:
            space.validate(record.architecture)
        except ValueError as error:
            raise ValueError(
                "Expected known records of networks that are in the space, "
                f"as `space.contains` tells: {error}"
            ) from error


def check_embedding(
    autoencoder: ArchitectureAutoencoder, space: SearchSpace
) -> None:
    """Raises ValueError, or TypeError, for one that is none of the space."""
    if not isinstance(autoencoder, ArchitectureAutoencoder):
        raise TypeError(
            f"Expected an ArchitectureAutoencoder; got {autoencoder!r}."
        )
    if autoencoder.space != space:
        raise ValueError(
            "Expected an autoencoder of the space that is searched; got one of "
            f"another, of {len(autoencoder.space)} slots for images of "
            f"{autoencoder.space.input_shape} and "
            f"{autoencoder.space.num_classes} classes."
        )


def _within_reach(objective: Objective) -> Objective:
    """The objective, met by a network of which the heads are sure."""
    if not isinstance(objective, Tolerance):
        return objective
    most = min(objective.reference_accuracy, objective.max_drop + _SURE)
    return dataclasses.replace(objective, reference_accuracy=most)


def label_first(
    ledger: Ledger,
    space: SearchSpace,
    num: int,
    seed: int,
    excess: Excess,
) -> None:
    """Labels samples, and more of them while too many of the labels fail.

    Args:
      ledger: what labels them.
      space: that they are of.
      num: how many samples.
      seed: of the samples.
      excess: see `search`.

    Raises:
      EvaluationError: most labels failed.
    """
    if num:
        known = ledger.fingerprints
        ledger.label(initial_samples(space, num, seed, excess, known))
    rng = np.random.default_rng([seed, 1])  # not of the first samples again
    while (lacking := MIN_LABELS - ledger.num_ok) > 0 and ledger.remaining:
        more = new_samples(
            space,
            min(lacking, ledger.remaining),
            rng,
            ledger.fingerprints,
            excess,
        )
        if not more:
            break
        ledger.label(more)


def _narrowed(
    space: SearchSpace, teacher: Architecture
) -> list[list[Architecture]]:
    """The teacher made narrower: as it is, and of each other kind of layer."""
    kinds = [[teacher], *space.swapped(teacher).values()]
    return [
        [narrow for member in members for narrow in space.narrowed(member)]
        for members in kinds
    ]
