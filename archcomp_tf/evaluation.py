"""What an embedding and a search are worth: how exact, how safe, how fast."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import scipy.stats
from etils import epy

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.corpus import OK
from archcomp_tf.cost import CountParams
from archcomp_tf.descent import Descent
from archcomp_tf.heads import INTERVAL_80
from archcomp_tf.ledger import Evaluate, SearchResult
from archcomp_tf.objective import Objective

with epy.lazy_imports():
    import tensorflow as tf

_REPEATS = 200  # of what is too short to be timed once


def exact_reconstruction(
    autoencoder: ArchitectureAutoencoder, architectures: Sequence[Architecture]
) -> float:
    """Share of members that come back from the embedding as they were."""
    decoded = autoencoder.decode(autoencoder.encode(architectures))
    pairs = zip(decoded, architectures, strict=True)
    return float(np.mean([d == a for d, a in pairs]))


def params_error(
    autoencoder: ArchitectureAutoencoder,
    architectures: Sequence[Architecture],
    count_params: CountParams,
) -> float:
    """Mean absolute error of the parameter head, as a share of the truth."""
    true = np.array([count_params(a) for a in architectures])
    predicted = 10 ** autoencoder.predict_heads(architectures)[2]
    return float(np.mean(np.abs(predicted / true - 1)))


def accuracy_errors(
    autoencoder: ArchitectureAutoencoder,
    architectures: Sequence[Architecture],
    accuracies: Sequence[float],
) -> dict[str, float]:
    """How well the accuracy head does on networks that it has no label of.

    Args:
      autoencoder: embedding and heads.
      architectures: members of the space.
      accuracies: theirs, in [0, 1].

    Returns:
      "spearman", the rank correlation; "coverage", the share of the truth in
      the ensemble's 80 % interval; "mean_absolute_error", of accuracy.
    """
    mean, spread, _ = autoencoder.predict_heads(architectures)
    errors = np.abs(mean - accuracies)
    return {
        "spearman": float(scipy.stats.spearmanr(mean, accuracies).statistic),
        "coverage": float(np.mean(errors <= INTERVAL_80 * spread)),
        "mean_absolute_error": float(np.mean(errors)),
    }


def decode_validity(
    autoencoder: ArchitectureAutoencoder,
    architectures: Sequence[Architecture],
    path: np.ndarray,
    *,
    num: int,
    seed: int,
) -> dict[str, float]:
    """Share of decodes that are members of the space.

    Args:
      autoencoder: the embedding.
      architectures: members between which to interpolate.
      path: `[M, D]`, points on the paths of descents.
      num: how many points of each sort are tried.
      seed: of the points.

    Returns:
      "random", far from the data too; "interpolated"; "descent".
    """
    rng = np.random.default_rng(seed)
    z = autoencoder.encode(architectures)
    first, second = rng.integers(len(z), size=(2, num))
    share = rng.uniform(size=(num, 1)).astype(np.float32)
    scale = rng.choice([0.1, 1.0, 10.0], size=(num, 1))
    points = {
        "random": scale * rng.normal(size=(num, z.shape[1])),
        "interpolated": share * z[first] + (1 - share) * z[second],
        "descent": path[rng.integers(len(path), size=num)],
    }
    return {
        name: float(np.mean([autoencoder.space.contains(a) for a in members]))
        for name, members in (
            (name, autoencoder.decode(z)) for name, z in points.items()
        )
    }


def end_points(
    starts: Sequence[Architecture], ends: Sequence[Architecture]
) -> dict[str, float]:
    """What becomes of the starts of a descent.

    Returns:
      "distinct": different networks at the end, as a share of the starts;
      "new": those that are no start, as a share of the different ones.
    """
    found = {a.fingerprint for a in ends}
    new = found - {a.fingerprint for a in starts}
    return {
        "distinct": len(found) / len(ends),
        "new": len(new) / len(found),
    }


def optimism(
    autoencoder: ArchitectureAutoencoder,
    z: np.ndarray,
    objective: Objective,
    evaluate: Evaluate,
    count_params: CountParams,
    *,
    num_proposals: int = 16,
) -> dict[str, float]:
    """Predicted minus true objective of what a descent proposes.

    Args:
      autoencoder: embedding and heads.
      z: `[N, D]`, end points of the descent.
      objective: what it was after.
      evaluate: the truth about accuracies.
      count_params: the truth about parameters.
      num_proposals: so many networks are chosen by each score.

    Returns:
      For "end_point" (what the heads say where the descent ended) and
      "re_encoded" (what they say of the decoded network, with its exact
      parameters): "mean_...", predicted minus true over all different
      networks; "chosen_...", the same over the proposals, which are those that
      the re-encoded score puts first; "true_...", the true objective of the
      best of as many networks as this score puts first.
    """
    places: dict[Architecture, int] = {}
    for place, architecture in enumerate(autoencoder.decode(z)):
        places.setdefault(architecture, place)
    members = list(places)
    sizes = [count_params(a) for a in members]
    accuracy, _, log_params = (
        keras.ops.convert_to_numpy(output) for output in autoencoder.heads(z)
    )
    kept = list(places.values())
    scores = {
        "end_point": [
            objective(float(a), float(p))
            for a, p in zip(accuracy[kept], 10 ** log_params[kept], strict=True)
        ],
        "re_encoded": [
            objective(float(a), size)
            for a, size in zip(
                autoencoder.predict_heads(members)[0], sizes, strict=True
            )
        ],
    }
    true = np.array(
        [
            objective(accuracy, size)
            for accuracy, size in zip(evaluate(members), sizes, strict=True)
        ]
    )
    first = {
        name: np.argsort(score)[::-1][:num_proposals]
        for name, score in scores.items()
    }
    result = {}
    for name, score in scores.items():
        excess = np.array(score) - true
        result[f"mean_{name}"] = float(excess.mean())
        result[f"chosen_{name}"] = float(excess[first["re_encoded"]].mean())
        result[f"true_{name}"] = float(true[first[name]].max())
    return result


def proposals_spearman(result: SearchResult) -> float | None:
    """Rank correlation of the accuracies predicted and then labelled.

    None where fewer than two proposals were labelled, or all alike.
    """
    pairs = [
        (result.predictions[r.architecture.fingerprint], r.accuracy)
        for r in result.labelled
        if r.architecture.fingerprint in result.predictions
    ]
    if len(pairs) < 2 or any(len(set(v)) < 2 for v in zip(*pairs, strict=True)):
        return None
    return float(scipy.stats.spearmanr(*zip(*pairs, strict=True)).statistic)


def regret_curve(
    result: SearchResult,
    accuracy: Callable[[Architecture], float],
    optimum: float,
) -> np.ndarray:
    """How far from the optimum a search would stop, label by label.

    Args:
      result: of the search.
      accuracy: the truth, in [0, 1], where labels may be noisy.
      optimum: the highest true objective.

    Returns:
      `[N]`: the true regret of the network whose label is the best of the
      first n; infinite while all labels have failed.
    """
    regrets, best, regret = [], -math.inf, math.inf
    for record in result.history:
        if record.status == OK and result.score(record) > best:
            best = result.score(record)
            regret = optimum - result.objective(
                accuracy(record.architecture), record.num_params
            )
        regrets.append(regret)
    return np.array(regrets)


def hypervolume(
    accuracies: Sequence[float],
    log_params: Sequence[float],
    reference: tuple[float, float],
) -> float:
    """Area of what some network beats: accuracy times decades of parameters.

    Args:
      accuracies: in [0, 1], of the networks.
      log_params: theirs.
      reference: accuracy and log10 parameters that everything is compared
        with; networks that do not beat it add nothing.
    """
    lowest, largest = reference
    area, reached = 0.0, lowest
    for size, accuracy in sorted(zip(log_params, accuracies, strict=True)):
        if size < largest and accuracy > reached:
            area += (accuracy - reached) * (largest - size)
            reached = accuracy
    return area


def descent_speed(
    autoencoder: ArchitectureAutoencoder,
    z: np.ndarray,
    objective: Objective,
    *,
    num_steps: int,
    num_eager_steps: int = 10,
) -> dict[str, float]:
    """Seconds a step of a descent takes: compiled, eagerly, at the least.

    Args:
      autoencoder: embedding and heads.
      z: `[B, D]`, the starts.
      objective: what to improve.
      num_steps: of the compiled descent.
      num_eager_steps: of the same loop run eagerly.

    Returns:
      "compiled", "eager" and "matrix_products", seconds a step; the last is
      the matrix products of the heads, forward and backward, and nothing
      else.  "tracing", seconds of the first call.
    """
    descent = Descent(autoencoder, type(objective))
    first = _seconds(lambda: descent(z, objective, num_steps, 0.05))
    compiled = min(
        _seconds(lambda: descent(z, objective, num_steps, 0.05))
        for _ in range(3)
    )
    tf.config.run_functions_eagerly(True)
    try:
        descent(z, objective, 1, 0.05)
        eager = _seconds(lambda: descent(z, objective, num_eager_steps, 0.05))
    finally:
        tf.config.run_functions_eagerly(False)
    return {
        "compiled": compiled / num_steps,
        "eager": eager / num_eager_steps,
        "matrix_products": _matrix_products(autoencoder, len(z)),
        "tracing": first - compiled,
    }


def _matrix_products(autoencoder: ArchitectureAutoencoder, batch: int) -> float:
    """Seconds that the heads' matrix products take, with their gradients."""
    pairs = []
    for head in (autoencoder.params_head, autoencoder.accuracy_head):
        for layer in head.layers:
            kernel = getattr(layer, "kernel", None)
            if kernel is not None and len(kernel.shape) == 2:
                rows = batch
                if isinstance(layer, keras.layers.EinsumDense):
                    if layer.equation != "nlc,cd->nld":
                        continue  # a sum over the units of each member
                    rows *= len(autoencoder.space)
                pairs.append(
                    (tf.random.normal((rows, kernel.shape[0])), kernel)
                )

    @tf.function
    def multiply():
        total = 0.0
        for _ in tf.range(_REPEATS):
            for x, kernel in pairs:
                y = tf.matmul(x + total, kernel)
                # To the input alone: the weights are not trained.
                total += 1e-9 * tf.matmul(y, kernel, transpose_b=True)[0, 0]
        return total

    multiply()
    return _seconds(multiply) / _REPEATS


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
