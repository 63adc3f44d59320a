"""What the student of a run is held against, trained as it was.

What anyone could do without the search: the teacher made narrower, the same of
another kind of layers, the best of as many random networks, networks by name.
"""

from __future__ import annotations

import logging
from typing import Any

from archcomp_tf import baselines
from archcomp_tf.architecture import Architecture
from archcomp_tf.finals import best_of, train_long
from archcomp_tf.ledger import EvaluationError, SearchResult
from archcomp_tf.run import Run
from archcomp_tf.teachers import TEACHERS
from archcomp_tf.training import Recipe

_LOGGER = logging.getLogger(__name__)


def train_controls(run: Run) -> dict[str, Any]:
    """Trains what the student is to be held against, by its recipe.

    There is no best of random networks where the search made no label, all
    being known, or most of their labels fail, and none of a kind of layers that
    the teacher's cannot be swapped for.

    Args:
      run: the compression; its student is trained.

    Returns:
      What the record says: the networks by their names in results.json, each
      with the limits that it breaks.
    """
    student = run.stage("students")
    teacher, size = run.teacher_architecture, student["num_params"]

    def scaled(network: Architecture) -> Architecture:
        return baselines.scaled_to(network, size, run.space.count_params)

    around = "around" if run.named_architecture else "width"
    networks = {f"{around}_scaled": scaled(teacher)}
    if random := _random_search(run):
        networks["random_search"] = best_of(run, random)
    swapped = run.space.swapped(teacher)
    for name in run.config.student.controls:
        if name in TEACHERS:
            networks[name] = TEACHERS[name]
        elif name in swapped:
            networks[name] = scaled(swapped[name][0])
        else:
            _LOGGER.warning("no control of %s: no layer can become one", name)
    records = train_long(run, networks, Recipe(**student["recipe"]))
    for name, record in records.items():
        record["broken_limits"] = run.allowance.broken(networks[name])
    return {"networks": records}


def _random_search(run: Run) -> SearchResult | None:
    """As many random networks, labelled, as the search labelled of its own."""
    num_labels = run.stage("search")["num_labels"]
    if not num_labels:
        return None
    try:
        result = baselines.random_search(
            run.space,
            run.labeler,
            num_labels=num_labels,
            objective=run.objective,
            seed=run.seed,
            keeps=run.within_budget,
            excess=run.allowance.excess,
        )
    except EvaluationError as error:  # the student is there all the same
        _LOGGER.warning("no control of random networks: %s", error)
        return None
    above = [
        record
        for record in result.history
        if not run.within_budget(record.architecture)
    ]
    if above:
        _LOGGER.warning(
            "%d of %d random networks are above the budget",
            len(above),
            num_labels,
        )
    return result
