"""What a search is to be held against, with the signature of `search`."""

from __future__ import annotations

import itertools
import math

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.compression import (
    Evaluate,
    Ledger,
    SearchResult,
    default_count_params,
    initial_samples,
)
from archcomp_tf.cost import CountParams
from archcomp_tf.objective import Objective
from archcomp_tf.search_space import SearchSpace


def random_search(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
) -> SearchResult:
    """Labels different samples of the space.

    Its first labels are those that `search` starts from with the same seed.

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what `best` is chosen by.
      seed: of the samples.
      count_params: exact parameters of a member.
    """
    ledger = Ledger(evaluate, count_params or default_count_params(space))
    ledger.label(initial_samples(space, num_labels, seed))
    return SearchResult(tuple(ledger.records), objective)


def width_scaling(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    teacher: Architecture,
    count_params: CountParams | None = None,
) -> SearchResult:
    """Labels the teacher with all widths scaled by the same factor.

    The factors are spread evenly, on a logarithmic scale, between the
    teacher's width and the width at which its widest layer has one filter.
    The networks need not be members of the space.

    Args:
      space: gives the images' shape and the classes.
      evaluate: see `compression.search`.
      num_labels: how many factors to try.
      objective: what `best` is chosen by.
      seed: not used, nothing here is random.
      teacher: the network that is scaled.
      count_params: exact parameters of a network.
    """
    del seed
    widest = max(layer.filters for layer in teacher.layers)
    scaled = {}
    for factor in np.geomspace(1, 1 / max(2, widest), num_labels):
        architecture = teacher.scale_width(float(factor))
        scaled[architecture.fingerprint] = architecture
    ledger = Ledger(evaluate, count_params or default_count_params(space))
    ledger.label(list(scaled.values()))
    return SearchResult(tuple(ledger.records), objective)


def scaled_to(
    teacher: Architecture, target_params: int, count_params: CountParams
) -> Architecture:
    """The teacher scaled in width to the size nearest to `target_params`.

    Args:
      teacher: the network that is scaled.
      target_params: the size wanted.
      count_params: exact parameters of a network.
    """
    # Between two of these factors no width changes, so that one factor from
    # each gap gives every network there is.  Not a bisection: a shortcut that
    # needs no projection at some width makes the wider network the smaller.
    widths = {layer.filters for layer in teacher.layers}
    edges = sorted({(k + 0.5) / w for w in widths for k in range(w)} | {0, 1})
    scaled = {teacher} | {
        teacher.scale_width((low + high) / 2)
        for low, high in itertools.pairwise(edges)
    }
    return min(
        sorted(scaled, key=str),
        key=lambda a: abs(math.log(count_params(a) / target_params)),
    )
