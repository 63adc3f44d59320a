"""Methods to compare `search` with; all take what is promised of it.

A space, `evaluate`, a number of labels, an objective and a seed; none takes
what is known before.

Those that sample begin with the samples that `search` begins with under the
same seed, so that what differs is the method and not the luck of the first
labels.  A network that is labelled already costs no second label.
"""

from __future__ import annotations

import collections
import itertools
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats

from archcomp_tf import choices
from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.compression import check_embedding, num_samples, search
from archcomp_tf.corpus import OK, Record
from archcomp_tf.cost import CountParams
from archcomp_tf.descent import neighbours
from archcomp_tf.environment import check_installed
from archcomp_tf.fitting import train_embedding
from archcomp_tf.ledger import Evaluate, Ledger, SearchResult, score
from archcomp_tf.objective import Budget, Objective
from archcomp_tf.ranges import plain_seed
from archcomp_tf.samples import (
    Excess,
    Keeps,
    initial_samples,
    keeps_all,
    new_samples,
    no_excess,
)
from archcomp_tf.search_space import SearchSpace

# An optimiser that repeats itself so often in a row has nothing new to say.
_MAX_REPEATS = 100
# Draws in a row that bring no network that keeps to limits: few of a space may.
_MAX_MISSES = 10_000
# Of a normal distribution, each standing for as much of it.
_QUANTILES = scipy.stats.norm.ppf((np.arange(32) + 0.5) / 32)


def random_search(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    keeps: Keeps = keeps_all,
    excess: Excess = no_excess,
) -> SearchResult:
    """Labels different samples of the space.

    Its first labels are those that `search` starts from with the same seed,
    without those that do not keep to limits.

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what `best` is chosen by.
      seed: of the samples.
      count_params: exact parameters of a member.
      keeps: whether a member keeps to limits that are known without training;
        others are labelled only where too few do.
      excess: see `compression.search`.
    """
    ledger = _ledger(space, evaluate, count_params, num_labels, objective)
    rng = np.random.default_rng(plain_seed(seed))
    samples = new_samples(
        space, num_labels, rng, set(), excess, keeps, _MAX_MISSES
    )
    known = {sample.fingerprint for sample in samples}
    lacking = num_labels - len(samples)
    samples += new_samples(space, lacking, rng, known, excess)
    ledger.label(samples)
    return ledger.result()


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
    teacher's width, or the largest that a budget allows, and the width at which
    its widest layer has one filter.  The networks need not be members of the
    space; where two factors give the same one, there are fewer labels.

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
    ledger = _ledger(space, evaluate, count_params, num_labels, objective)
    count_params = count_params or space.count_params
    highest = 1.0
    if isinstance(objective, Budget):  # nobody would train what is above it
        highest = max(
            (
                factor
                for factor in _factors(teacher)
                if count_params(teacher.scale_width(factor))
                <= objective.max_params
            ),
            default=highest,
        )
    widest = max(layer.filters for layer in teacher.layers)
    scaled = {}
    for factor in np.geomspace(highest, 1 / max(2, widest), num_labels):
        architecture = teacher.scale_width(float(factor))
        scaled[architecture.fingerprint] = architecture
    ledger.label(list(scaled.values()))
    return ledger.result()


def regularized_evolution(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    population_size: int = 16,
    sample_size: int = 8,
) -> SearchResult:
    """Evolution in which the oldest die.

    Source: Real et al., "Regularized Evolution for Image Classifier
    Architecture Search", arXiv 1802.01548.

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what to improve.
      seed: of everything random in here.
      count_params: exact parameters of a member.
      population_size: P, the first of which are samples.
      sample_size: S, from the best of which a child is mutated.
    """
    seed = plain_seed(seed)
    ledger = _ledger(space, evaluate, count_params, num_labels, objective)
    rng = np.random.default_rng(seed)
    first = initial_samples(space, min(population_size, num_labels), seed)
    population = collections.deque(ledger.label(first), population_size)
    while ledger.remaining and space.num_members > 1:
        picked = [
            population[i]
            for i in rng.integers(len(population), size=sample_size)
        ]
        parent = max(picked, key=lambda record: score(objective, record))
        for _ in range(_MAX_REPEATS):
            child = space.mutate(parent.architecture, rng)
            if child.fingerprint not in ledger.fingerprints:
                break
        else:
            fresh = new_samples(space, 1, rng, ledger.fingerprints)
            if not fresh:
                break
            child = fresh[0]
        population.extend(ledger.label([child]))
    return ledger.result()


def optuna_tpe(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    num_initial: int = 16,
) -> SearchResult:
    """Optuna's tree-structured Parzen estimator.

    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization",
    NeurIPS 2011; needs the extra "benchmarks".

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what to improve.
      seed: of everything random in here.
      count_params: exact parameters of a member.
      num_initial: how many of the labels are samples.
    """
    check_installed("optuna", "benchmarks")
    import optuna

    seed = plain_seed(seed)
    return _run_study(
        optuna.samplers.TPESampler(seed=seed, n_startup_trials=num_initial),
        ["maximize"],
        lambda record: [score(objective, record)],
        space,
        _ledger(space, evaluate, count_params, num_labels, objective),
        initial_samples(space, min(num_initial, num_labels), seed),
    )


def optuna_nsga2(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    num_initial: int = 16,
) -> SearchResult:
    """Optuna's NSGA-II on accuracy and log10 parameters, two objectives.

    Source: Deb et al., "A fast and elitist multiobjective genetic algorithm:
    NSGA-II", 2002; needs the extra "benchmarks".

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what `best` is chosen by.
      seed: of everything random in here.
      count_params: exact parameters of a member.
      num_initial: size of the population, whose first are samples.
    """
    check_installed("optuna", "benchmarks")
    import optuna

    seed = plain_seed(seed)
    return _run_study(
        optuna.samplers.NSGAIISampler(seed=seed, population_size=num_initial),
        ["maximize", "minimize"],
        lambda record: [record.accuracy, math.log10(record.num_params)],
        space,
        _ledger(space, evaluate, count_params, num_labels, objective),
        initial_samples(space, min(num_initial, num_labels), seed),
    )


def keras_tuner_bayesian(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    num_initial: int = 16,
) -> SearchResult:
    """KerasTuner's Bayesian optimisation: a Gaussian process on the choices.

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what to improve.
      seed: of everything random in here.
      count_params: exact parameters of a member.
      num_initial: how many of the labels are samples.
    """
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()

    def declare(name: str, num: int, ordered: bool) -> int:
        if ordered:
            return hyperparameters.Int(name, 0, num - 1)
        return hyperparameters.Choice(name, list(range(num)), ordered=False)

    choices.declare(space, declare)
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        objective=keras_tuner.Objective("score", "max"),
        max_trials=_MAX_REPEATS * num_labels,
        max_consecutive_failed_trials=2**31,  # the ledger counts them
        num_initial_points=num_initial,
        seed=plain_seed(seed) + 1,  # 0 is none to KerasTuner: it would draw one
        hyperparameters=hyperparameters,
    )
    ledger = _ledger(space, evaluate, count_params, num_labels, objective)
    first = initial_samples(space, min(num_initial, num_labels), seed)
    repeats = 0
    with tempfile.TemporaryDirectory() as folder:
        oracle._set_project_dir(folder, "baseline")
        oracle.verbose = 0
        while ledger.remaining and repeats < _MAX_REPEATS:
            trial = oracle.create_trial("baseline")
            if trial.status != "RUNNING":
                break
            values = trial.hyperparameters.values
            if first:
                values |= choices.indices(space, first.pop(0))
            architecture = choices.choose(
                space, lambda name, *_, values=values: values[name]
            )
            before = ledger.remaining
            (record,) = ledger.label([architecture])
            repeats = 0 if ledger.remaining < before else repeats + 1
            if record.status == OK:
                found = {"score": score(objective, record)}
                oracle.update_trial(trial.trial_id, found)
                trial.status = "COMPLETED"
            else:
                trial.status = "INVALID"
            oracle.end_trial(trial)
    return ledger.result()


def expected_improvement(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    count_params: CountParams | None = None,
    num_initial: int | None = None,
    labels_a_round: int | None = None,
    num_candidates: int = 2048,
    autoencoder: ArchitectureAutoencoder | None = None,
) -> SearchResult:
    """A Gaussian process on our embedding, expected improvement, no descent.

    After Cao et al., "Learnable Embedding Space for Efficient Neural
    Architecture Compression", arXiv 1902.00383, who score random samples; here
    half of the candidates are changes of the best, and what the process learns
    is accuracy: parameters, and so what a budget allows, are known exactly.

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label.
      objective: what to improve.
      seed: of everything random in here.
      count_params: exact parameters of a member.
      num_initial: how many labels are spent on samples before the first round;
        by default as many as in `search`.
      labels_a_round: how many proposals are labelled between two fits; by
        default see `Ledger.round_size`.
      num_candidates: how many members are scored in a round.
      autoencoder: an embedding of this space; without one it is trained here.
    """
    from sklearn import exceptions, gaussian_process

    seed = plain_seed(seed)
    kernels = gaussian_process.kernels
    if autoencoder is not None:
        check_embedding(autoencoder, space)
    count_params = count_params or space.count_params
    ledger = _ledger(space, evaluate, count_params, num_labels, objective)
    if num_initial is None:
        num_initial = min(num_labels, num_samples(num_labels))
    ledger.round_size(labels_a_round)  # refuses what is no such number
    rng = np.random.default_rng(seed)
    ledger.label(initial_samples(space, num_initial, seed))
    if autoencoder is None:
        autoencoder = train_embedding(
            space, count_params=count_params, seed=seed
        )
    while ledger.remaining:
        wanted = ledger.round_size(labels_a_round)
        ranked = ledger.result().ranked
        if not ranked:  # nothing to learn from yet
            fresh = new_samples(space, wanted, rng, ledger.fingerprints)
            if not fresh:
                break
            ledger.label(fresh)
            continue
        process = gaussian_process.GaussianProcessRegressor(
            kernels.ConstantKernel()
            * kernels.Matern(10.0, length_scale_bounds=(0.1, 1e3), nu=2.5)
            + kernels.WhiteKernel(1e-2, noise_level_bounds=(1e-6, 1.0)),
            normalize_y=True,
            random_state=seed,
        )
        accuracies = np.array([record.accuracy for record in ranked])
        members = [record.architecture for record in ranked]
        with warnings.catch_warnings():
            # Tables have no noise: its level ends at the bound.
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
            process.fit(autoencoder.encode(members), accuracies)
        candidates = new_samples(
            space, num_candidates // 2, rng, ledger.fingerprints
        ) + [
            member
            for member in neighbours(space, members, num_candidates // 2, rng)
            if member.fingerprint not in ledger.fingerprints
        ]
        if not candidates:
            break
        mean, spread = process.predict(
            autoencoder.encode(candidates), return_std=True
        )
        # What a noiseless label may gain: not the noise of another label.
        noise = process.kernel_.k2.noise_level * accuracies.var()
        spread = np.sqrt(np.maximum(spread**2 - noise, 0.0))
        sizes = [count_params(candidate) for candidate in candidates]
        reached = score(objective, ranked[0])
        pairs = list(zip(mean, sizes, strict=True))
        expected = np.array([objective(a, size) for a, size in pairs])
        improvement = np.array(
            [
                _improvement(objective, a + s * _QUANTILES, size, reached)
                for (a, size), s in zip(pairs, spread, strict=True)
            ]
        )
        # Where none may improve, those that come nearest.
        best = np.lexsort((-expected, -improvement))[:wanted]
        ledger.label([candidates[i] for i in best])
    return ledger.result()


def _improvement(
    objective: Objective,
    accuracies: Sequence[float],
    num_params: int,
    reached: float,
) -> float:
    """What a network is above `reached`, the mean over its accuracies."""
    scores = [objective(accuracy, num_params) for accuracy in accuracies]
    return float(np.mean(np.maximum(np.subtract(scores, reached), 0.0)))


def paper(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_labels: int,
    objective: Objective,
    seed: int,
    teacher: Architecture,
    count_params: CountParams | None = None,
    num_proposals: int = 8,
) -> SearchResult:
    """The plain method: joint training, one shot, descent from the teacher.

    After Ashok, arXiv 1902.03326, of which only the abstract was at hand.  The
    descent is not guided by the accuracy head that was trained jointly: as in
    every round of `search`, the head is fitted anew, on the embedding as it
    then is, before the proposals are made.

    Args:
      space: where to search.
      evaluate: see `compression.search`.
      num_labels: how many architectures to label; all but the proposals are
        samples.
      objective: what to improve.
      seed: of everything random in here.
      teacher: the member that the descent starts from.
      count_params: exact parameters of a member.
      num_proposals: how many points of the descent are labelled.
    """
    return search(
        space,
        evaluate,
        num_labels=num_labels,
        objective=objective,
        seed=seed,
        count_params=count_params,
        teacher=teacher,
        num_initial=num_labels - num_proposals,
        labels_a_round=num_proposals,
        num_starts=1,
        num_neighbours=0,
        doubts=False,
        narrowed=False,
        mode="joint",
    )


def scaled_to(
    teacher: Architecture, target_params: int, count_params: CountParams
) -> Architecture:
    """The teacher scaled in width to the size nearest to `target_params`.

    Args:
      teacher: the network that is scaled.
      target_params: the size wanted.
      count_params: exact parameters of a network.
    """
    # Not a bisection: a shortcut that needs no projection at some width makes
    # the wider network the smaller.
    scaled = {teacher.scale_width(factor) for factor in _factors(teacher)}
    return min(
        sorted(scaled, key=str),
        key=lambda a: abs(math.log(count_params(a) / target_params)),
    )


def _factors(teacher: Architecture) -> list[float]:
    """Factors of width, one for each network that there is, the lowest first.

    Between two of the edges no width changes.
    """
    widths = {layer.filters for layer in teacher.layers}
    edges = sorted({(k + 0.5) / w for w in widths for k in range(w)} | {0, 1})
    return [(low + high) / 2 for low, high in itertools.pairwise(edges)] + [1.0]


def _ledger(
    space: SearchSpace,
    evaluate: Evaluate,
    count_params: CountParams | None,
    num_labels: int,
    objective: Objective,
) -> Ledger:
    count_params = count_params or space.count_params
    return Ledger(evaluate, count_params, num_labels, objective)


def _run_study(
    sampler,
    directions: list[str],
    values: Callable[[Record], list[float]],
    space: SearchSpace,
    ledger: Ledger,
    first: list[Architecture],
) -> SearchResult:
    """Runs an Optuna study of `values` that begins with some members."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions, sampler=sampler)
    for architecture in first:
        study.enqueue_trial(choices.indices(space, architecture))
    repeats = 0
    while ledger.remaining and repeats < _MAX_REPEATS:
        trial = study.ask()

        def suggest(name: str, num: int, ordered: bool, trial=trial) -> int:
            if ordered:
                return trial.suggest_int(name, 0, num - 1)
            return trial.suggest_categorical(name, list(range(num)))

        before = ledger.remaining
        (record,) = ledger.label([choices.choose(space, suggest)])
        repeats = 0 if ledger.remaining < before else repeats + 1
        if record.status == OK:
            study.tell(trial, values(record))
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return ledger.result()
