"""Training of the embedding and of its heads.

Two ways: "joint", the paper's, minimises all losses at once; "pretrained"
learns the embedding and the parameter head first, on as many unlabelled
architectures as wanted, and the accuracy head alone on the labelled few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.backend import by_rows, repeated, steps_at_once
from archcomp_tf.corpus import OK, Record
from archcomp_tf.cost import CountParams
from archcomp_tf.heads import INTERVAL_80, CostHead, EnsembleHead
from archcomp_tf.progress import Progress
from archcomp_tf.ranges import plain_seed
from archcomp_tf.search_space import SearchSpace

MODES = ("pretrained", "joint")
# Below this the members of an ensemble have nothing to learn from.
MIN_LABELS = 8

_BATCH_SIZE = 256
_LEARNING_RATE = 1e-2  # at the start
# Chosen on held-out networks of three spaces and on the demonstration's labels,
# from 24 to 200 of them: the strong decay, with labels in standard units, is
# what small corpora need.
_PADDED_TO = 64
_ENSEMBLE_STEPS = 600
_ENSEMBLE_LEARNING_RATE = 3e-3
_ENSEMBLE_WEIGHT_DECAY = 0.3
# An error of 5 % in parameters, 0.02 in log10, counts as one slot of a thousand
# reconstructed wrongly.
_LOG_PARAMS_WEIGHT = 15.0


def unlabelled_mix(
    space: SearchSpace,
    around: Sequence[Architecture],
    num: int,
    rng: np.random.Generator,
    *,
    max_mutations: int = 8,
) -> list[Architecture]:
    """Architectures to learn the embedding on.

    Half are samples of the space, half are up to `max_mutations` mutations
    away from a sample or from one of `around`: a search goes where samples
    seldom fall, and an embedding that never saw such networks is blind there.

    Args:
      space: the space.
      around: members whose neighbourhood matters, such as the teacher.
      num: how many to give.
      rng: the randomness.
      max_mutations: the longest walk.
    """
    if space.num_members == 1:  # which nothing is a mutation of
        return [space.sample(rng)] * num
    architectures = [space.sample(rng) for _ in range(num - num // 2)]
    for index in range(num // 2):
        if around and index % 2:
            architecture = around[rng.integers(len(around))]
        else:
            architecture = architectures[index]
        for _ in range(rng.integers(1, max_mutations + 1)):
            architecture = space.mutate(architecture, rng)
        architectures.append(architecture)
    return architectures


def train_embedding(
    space: SearchSpace,
    around: Sequence[Architecture] = (),
    records: Sequence[Record] = (),
    count_params: CountParams | None = None,
    *,
    seed: int,
    mode: str = "pretrained",
    num_heads: int = 5,
    num_architectures: int = 8192,
    epochs: int = 30,
) -> ArchitectureAutoencoder:
    """An embedding of a space, with its heads.

    Args:
      space: the space.
      around: see `unlabelled_mix`.
      records: labelled members, 8 or more that did not fail, from which the
        accuracy head learns; without any it knows nothing, which mode "joint"
        does not allow.
      count_params: exact parameters of a member; by default `cost.num_params`
        with the space's input shape and classes.
      seed: of everything random in here.
      mode: "pretrained" or "joint", see above.
      num_heads: members of the accuracy ensemble.
      num_architectures: unlabelled ones that it learns from.
      epochs: passes over these.

    Raises:
      TypeError: what it is trained around is no `Architecture`.
      ValueError: that or a record is not of the space, the mode is unknown, or
        there are too few labels.
    """
    check_mode(mode)
    for member in [*around, *(record.architecture for record in records)]:
        space.validate(member)
    if records or mode == "joint":
        check_num_labels(sum(record.status == OK for record in records))
    count_params = count_params or space.count_params
    seed = plain_seed(seed)
    keras.utils.set_random_seed(seed)
    autoencoder = ArchitectureAutoencoder(space, num_heads=num_heads)
    rng = np.random.default_rng(seed)
    fit_autoencoder(
        autoencoder,
        unlabelled_mix(space, around, num_architectures, rng),
        count_params,
        seed=seed,
        epochs=epochs,
        records=records if mode == "joint" else (),
    )
    if records and mode == "pretrained":
        head = autoencoder.accuracy_head
        fit_ensemble_head(autoencoder, head, records, seed=seed)
    return autoencoder


def fit_autoencoder(
    autoencoder: ArchitectureAutoencoder,
    architectures: Sequence[Architecture],
    count_params: CountParams,
    *,
    seed: int,
    epochs: int,
    records: Sequence[Record] = (),
) -> dict[str, list[float]]:
    """Trains the autoencoder; what it learnt before is the start.

    Args:
      autoencoder: trained in place.
      architectures: unlabelled members of the space.
      count_params: exact parameters of a member.
      seed: of batches, noise and what each member leaves out.
      epochs: passes over `architectures`.
      records: labelled members, from which the accuracy head learns jointly;
        without any it is left to `fit_ensemble_head`.

    Returns:
      The Keras history: losses, one value an epoch.

    Raises:
      ValueError: there are too few labels to fit on.
    """
    keras.utils.set_random_seed(plain_seed(seed))
    members = list(architectures)
    targets = np.full((len(members), autoencoder.num_heads), np.nan, np.float32)
    accuracy_weight = 0.0
    if records:
        head = autoencoder.accuracy_head
        labelled, labels = _labels(head, records, "accuracy")
        label_targets = _ensemble_targets(head, labels, seed)
        # The few labels come round as often as the rest together would allow.
        repeats = max(1, len(members) // (4 * len(labelled)))
        members += labelled * repeats
        targets = np.concatenate([targets] + [label_targets] * repeats)
        accuracy_weight = 1 / float(head.units.scale) ** 2
    counts = [[count_params(architecture)] for architecture in members]
    x = autoencoder.encoding.encode(members)
    y = {
        "logits": x,
        "log_params": np.log10(np.asarray(counts, np.float32)),
        "accuracy": targets,
    }
    optimizer = _adam(epochs, len(members))
    autoencoder.compile(
        optimizer,
        loss={
            "logits": autoencoder.reconstruction_loss,
            "log_params": "mean_squared_error",
            "accuracy": _masked_squared_error,
        },
        loss_weights={
            "logits": 1.0,
            "log_params": _LOG_PARAMS_WEIGHT,
            "accuracy": accuracy_weight,
        },
    )
    optimizer.build(autoencoder.trainable_variables)
    progress = Progress("embedding epoch", epochs)
    history = autoencoder.fit(
        x,
        y,
        batch_size=_BATCH_SIZE,
        epochs=epochs,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: progress.advance(
                    f"reconstruction {logs['logits_loss']:.4f}, "
                    f"log10 parameters {logs['log_params_loss']:.4f}"
                )
            )
        ],
        verbose=0,
    )
    if records:
        _calibrate(autoencoder, head, labelled, label_targets, labels)
    return history.history


def fit_cost_head(
    autoencoder: ArchitectureAutoencoder,
    head: CostHead,
    architectures: Sequence[Architecture],
    cost: Callable[[Architecture], float],
    *,
    seed: int,
    epochs: int,
) -> None:
    """Trains a head for a further cost on the embedding as it is.

    Args:
      autoencoder: not trained.
      head: trained in place.
      architectures: unlabelled members of the space.
      cost: of a member, positive; a sum over its layers.
      seed: of the batches.
      epochs: passes over `architectures`.
    """
    keras.utils.set_random_seed(plain_seed(seed))
    z = autoencoder.encode(architectures)
    costs = np.array([[cost(a)] for a in architectures], np.float64)
    optimizer = _adam(epochs, len(z))
    head.compile(optimizer, loss="mean_squared_error")
    optimizer.build(head.trainable_variables)
    head.fit(
        z, np.log10(costs), batch_size=_BATCH_SIZE, epochs=epochs, verbose=0
    )


def fit_ensemble_head(
    autoencoder: ArchitectureAutoencoder,
    head: EnsembleHead,
    records: Sequence[Record],
    *,
    seed: int,
    target: str = "accuracy",
) -> None:
    """Trains an ensemble anew on the labelled few, on the embedding as it is.

    Each member leaves its share of the labels out, and what it says of those
    tells how large the errors on unseen networks are: the head's spread is set
    to it.

    Args:
      autoencoder: not trained.
      head: trained in place; what it had learnt before is forgotten, or else
        it would know the first labels by heart.
      records: labelled members of the space; failed ones are left out.
      seed: of what is left out.
      target: the column of the records, see `Record.target`.

    Raises:
      ValueError: too few labels, or one that is not finite.
    """
    architectures, labels = _labels(head, records, target)
    keras.utils.set_random_seed(plain_seed(seed))
    head.set_weights(EnsembleHead.from_config(head.get_config()).get_weights())
    targets = _ensemble_targets(head, labels, seed)
    batch = _padded_batch(
        _ensemble_inputs(autoencoder, architectures),
        targets,
        1 / float(head.units.scale) ** 2,
    )
    _compile_ensemble(head, len(batch[1]))
    # All labels are one batch.
    head.fit(
        repeated(batch),
        steps_per_epoch=_ENSEMBLE_STEPS,
        shuffle=False,
        verbose=0,
    )
    _calibrate(autoencoder, head, architectures, targets, labels)


def _compile_ensemble(head: EnsembleHead, num: int) -> None:
    """Readies a head for a training on `num` rows.

    The second time, nothing is traced.
    """
    # What is known beforehand counts the less, the more labels there are.
    weight_decay = _ENSEMBLE_WEIGHT_DECAY * _PADDED_TO / num
    if head.compiled and head.optimizer.weight_decay == weight_decay:
        for variable in head.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable.value))
        return
    head.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                _ENSEMBLE_LEARNING_RATE, _ENSEMBLE_STEPS
            ),
            weight_decay=weight_decay,
        ),
        loss=_masked_squared_error,
        steps_per_execution=steps_at_once(_ENSEMBLE_STEPS),
    )
    head.optimizer.build(head.trainable_variables)


def _padded_batch(
    inputs: Sequence[np.ndarray], targets: np.ndarray, weight: float
) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Inputs, targets and weights `[M, ...]` of N labels, M > N.

    Graphs are compiled for one shape: rows without weight make up the next
    multiple of 64, so that a label more does not compile the training again.
    """
    num = len(targets)
    missing = -num % _PADDED_TO
    weights = np.zeros(num + missing, np.float32)
    weights[:num] = weight * len(weights) / num
    padding = ((0, missing), (0, 0))
    return (
        tuple(np.pad(x, padding) for x in inputs),
        np.pad(targets, padding),
        weights,
    )


def check_mode(mode: str) -> None:
    """Raises ValueError for a way of training that there is not."""
    if mode not in MODES:
        raise ValueError(f"Expected a mode of {MODES}; got {mode!r}.")


def check_num_labels(num_labels: int) -> None:
    """Raises ValueError where the ensemble has too few labels to fit on."""
    if num_labels < MIN_LABELS:
        raise ValueError(
            f"The accuracy head needs at least {MIN_LABELS} labelled "
            f"architectures; got {num_labels}."
        )


def _labels(
    head: EnsembleHead, records: Sequence[Record], target: str
) -> tuple[list[Architecture], np.ndarray]:
    """The labelled members and their labels in the head's link, `[N]`."""
    labelled = [record for record in records if record.status == OK]
    check_num_labels(len(labelled))
    for record in labelled:
        if not math.isfinite(record.target(target)):
            raise ValueError(
                f"Expected a finite {target} in the record of "
                f"{record.architecture} ({record.architecture.fingerprint}); "
                f"got {record.target(target)}."
            )
    labels = np.array([record.target(target) for record in labelled])
    labels = head.linked(labels).astype(np.float32)
    return [r.architecture for r in labelled], labels


def _ensemble_inputs(
    autoencoder: ArchitectureAutoencoder, architectures: Sequence[Architecture]
) -> list[np.ndarray]:
    """z `[N, D]` and log10 parameters `[N, 1]`."""
    z = autoencoder.encode(architectures)
    return [z, by_rows(autoencoder.params_head, z)]


def _ensemble_targets(
    head: EnsembleHead, labels: np.ndarray, seed: int
) -> np.ndarray:
    """Labels `[N, K]`, NaN where a member leaves one out; sets the units.

    Every label is left out by one member; a single member leaves none out.
    """
    num_members = head.num_members
    targets = np.repeat(labels[:, None], num_members, axis=1)
    if num_members > 1:
        rows = np.random.default_rng(seed).permutation(len(labels))
        targets[rows, np.arange(len(labels)) % num_members] = np.nan
    head.units.mean.assign(labels.mean())
    head.units.scale.assign(max(labels.std(), 1e-6))
    return targets


def _calibrate(
    autoencoder: ArchitectureAutoencoder,
    head: EnsembleHead,
    architectures: Sequence[Architecture],
    targets: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Sets the head's spread by what its members left out.

    The 80 % interval is made to hold 80 % of the labels left out; where the
    members disagree more than they do on the labels, it is wider.
    """
    inputs = _ensemble_inputs(autoencoder, architectures)
    members = by_rows(lambda *inputs: head(inputs, training=False), *inputs)
    left_out = np.isnan(targets)
    if not left_out.any():  # a single member: better than nothing
        left_out = np.ones_like(left_out)
    errors = np.abs(members - labels[:, None])[left_out]
    spread = np.quantile(errors, 0.8) / INTERVAL_80
    head.units.variance.assign(spread**2 - members.var(axis=-1).mean())


def _masked_squared_error(labels, members):
    """Squared error `[N]` over the members that see a label."""
    seen = keras.ops.logical_not(keras.ops.isnan(labels))
    error = keras.ops.where(seen, labels, members) - members
    return keras.ops.mean(error**2, axis=-1)


def _adam(epochs: int, num: int):
    """Adam for so many passes over so many examples, decaying to zero."""
    steps = epochs * math.ceil(num / _BATCH_SIZE)
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)
    )
