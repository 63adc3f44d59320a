"""The search of a run: the samples it starts from, its rounds, its best."""

from __future__ import annotations

import logging
import math
from typing import Any

from archcomp_tf.allowance import Allowance
from archcomp_tf.compression import label_first, search
from archcomp_tf.config import num_initial
from archcomp_tf.corpus import write_records
from archcomp_tf.dashboards import write_search
from archcomp_tf.embedding import keep_embedding, learnt_embedding
from archcomp_tf.evaluation import proposals_spearman
from archcomp_tf.finals import best_of
from archcomp_tf.inference import seems_chance
from archcomp_tf.labeling import LabelError
from archcomp_tf.ledger import Ledger
from archcomp_tf.limits import Limits
from archcomp_tf.objective import Budget, Tolerance
from archcomp_tf.run import Run
from archcomp_tf.teaching import forget_training

_LOGGER = logging.getLogger(__name__)


def label_samples(run: Run) -> dict[str, Any]:
    """Labels the samples that the search and its control start from.

    Args:
      run: the compression; its teacher is trained.

    Returns:
      What the record says: "num_labels" of samples, "doubts" about them and,
      for a `Tolerance`, "reference_accuracy": the label of the teacher's own
      layers.

    Raises:
      LimitError: nothing in the space keeps to the limits.
      EvaluationError: most labels failed.
      LabelError: the teacher's own layers cannot be labelled.
    """
    forget_training(run)
    run.allowance.check()
    _check_budget(run)
    run.keep_known()
    record: dict[str, Any] = {"doubts": []}
    if isinstance(run.final_objective, Tolerance):
        record |= _label_reference(run)
    ledger = Ledger(
        run.labeler,
        run.space.count_params,
        run.config.labels.num_labels,
        run.final_objective,
        known=run.known,
    )
    num = num_initial(run.config, len(run.known))
    label_first(ledger, run.space, num, run.seed, run.allowance.excess)
    record["num_labels"] = len(ledger.records) - len(run.known)
    return record


def _label_reference(run: Run) -> dict[str, Any]:
    """Labels the teacher's own layers: what others lose is lost from that.

    First, for without it the other labels are of no use; where it failed
    before, again.
    """
    run.labeler.try_again(run.teacher_architecture)
    (reference,) = run.labeler([run.teacher_architecture])
    if isinstance(reference, LabelError):
        raise LabelError(
            "Expected a label of the teacher's own layers, to count what "
            f"may be lost from; got: {reference}"
        )
    doubts = []
    if seems_chance(reference, run.dataset.validation.labels):
        doubts.append(
            f"The teacher's own layers come to {reference:.1%} by the brief "
            "training of a label, hardly more than by chance: what others "
            "lose against that says nothing. labels.recipe is too brief."
        )
        _LOGGER.warning("%s", doubts[0])
    return {"reference_accuracy": reference, "doubts": doubts}


def _check_budget(run: Run) -> None:
    """Raises LimitError where no network of the space seems to be so small."""
    objective = run.final_objective
    if isinstance(objective, Budget):
        limits = Limits(max_params=math.floor(objective.max_params))
        Allowance(limits, run.space, run.workdir, run.seed).check()


def run_search(run: Run) -> dict[str, Any]:
    """Rounds of descent and labelling; chooses the student.

    Args:
      run: the compression; its embedding is learnt.

    Returns:
      What the record says of the search.

    Raises:
      EvaluationError: most labels failed.
      LimitError: no network that was labelled keeps to the limits.
    """
    settings = run.config.labels
    autoencoder = learnt_embedding(run)
    result = search(
        run.space,
        run.labeler,
        num_labels=settings.num_labels,
        objective=run.objective,
        seed=run.seed,
        teacher=run.teacher_architecture,
        known=run.known,
        keeps=run.allowance.keeps,
        excess=run.allowance.excess,
        num_initial=num_initial(run.config, len(run.known)),
        labels_a_round=settings.labels_a_round,
        **run.config.search,
        autoencoder=autoencoder,
    )
    write_search(run.path("tensorboard"), result)
    keep_embedding(run, autoencoder, result)
    with run.workdir.replacing("search/records.jsonl") as path:
        write_records(path, result.history)
    run.allowance.check_any([r.architecture for r in result.ranked])
    return {
        "num_labels": len(result.history) - len(run.known),
        "num_known": len(run.known),
        "num_rounds": len(result.traces),
        "best": str(best_of(run, result)),
        "predictions": result.predictions,
        "accuracy_spearman": proposals_spearman(result),
    }
