"""`ArchitectureAutoencoder`: architectures <-> a continuous embedding.

    x [N, L, F] -Conv1D encoder-> z [N, D] -Conv1D decoder-> logits [N, L, F]
                                   +--heads--> log10 parameters [N, 1]
                                   +---------> accuracy [N, K]

After Ashok, "Architecture Compression", arXiv 1902.03326: 1-D convolutional
encoder and decoder, a shared latent, and regression heads for accuracy and
parameters.  Of that paper only the abstract was at hand.  Ours, therefore: z is
normalised to mean 0 and variance 1, so that a descent cannot run out of the
data; noise on z while training, so that neighbouring points decode alike; the
accuracy head is an ensemble of K, each member seeing its own bootstrap of the
labels; a cross-entropy on the accuracies, which weighs them as the proportions
that they are.

Two ways to train (`fit_autoencoder`): "joint", the paper's, minimises all
losses at once; "pretrained" learns the embedding and the parameter head first,
on as many unlabelled architectures as wanted, and the accuracy head alone on
the labelled few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import OK, Record
from archcomp_tf.encoding import Encoding
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.training import EpochProgress

MODES = ("pretrained", "joint")
# Below this an ensemble over bootstraps of the labels has nothing to learn.
MIN_LABELS = 8

_SHOWN_LOSSES = {
    "logits_loss": "reconstruction",
    "log_params_loss": "log10 parameters",
}
_BATCH_SIZE = 128
_ACCURACY_BATCH_SIZE = 32


@keras.saving.register_keras_serializable(package="archcomp_tf")
class ArchitectureAutoencoder(keras.Model):
    """Encoder, decoder and heads over one search space.

    Args:
      space: the space, or its `to_dict()`.
      latent_dim: D, size of the embedding.
      width: channels of the 1-D convolutions.
      num_blocks: residual convolutions in the encoder and in the decoder.
      num_heads: K, members of the accuracy ensemble.
      noise: standard deviation of the noise on z while training.

    Attributes:
      encoding: the tensor layout of x.
      encoder: x `[N, L, F]` -> z `[N, D]`.
      decoder: z -> logits `[N, L, F]`, not masked.
      params_head: z -> log10 parameters `[N, 1]`.
      accuracy_head: (z, log10 parameters) -> logits of the accuracy
        `[N, K]`.
    """

    def __init__(
        self,
        space: SearchSpace | dict,
        latent_dim: int = 32,
        width: int = 64,
        num_blocks: int = 2,
        num_heads: int = 5,
        noise: float = 0.1,
        **kwargs,
    ):
        if isinstance(space, dict):
            space = SearchSpace.from_dict(space)
        encoding = Encoding(space)
        encoder = _encoder(encoding.shape, latent_dim, width, num_blocks)
        decoder = _decoder(encoding.shape, latent_dim, width, num_blocks)
        params_head = _params_head(latent_dim)
        accuracy_head = _accuracy_head(latent_dim, num_heads)

        x = keras.Input(encoding.shape, name="x")
        z = encoder(x)
        noisy = keras.layers.GaussianNoise(noise, name="noise")(z)
        log_params = params_head(noisy)
        outputs = {
            "logits": decoder(noisy),
            "log_params": log_params,
            "accuracy": accuracy_head([noisy, log_params]),
        }
        super().__init__(x, outputs, **kwargs)
        self.space = space
        self.latent_dim = latent_dim
        self.width = width
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.noise = noise
        self.encoding = encoding
        self.encoder = encoder
        self.decoder = decoder
        self.params_head = params_head
        self.accuracy_head = accuracy_head

    def get_config(self):
        return {
            "space": self.space.to_dict(),
            "latent_dim": self.latent_dim,
            "width": self.width,
            "num_blocks": self.num_blocks,
            "num_heads": self.num_heads,
            "noise": self.noise,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        del custom_objects
        return cls(**config)

    def reconstruction_loss(self, x, logits):
        """Cross-entropy `[N]`: summed over the groups, averaged over slots.

        Columns that stand for no choice of their slot are left out; a group
        that a layer's kind does not use is all zeros and adds nothing.
        """
        forbidden = keras.ops.convert_to_tensor(~self.encoding.mask, "float32")
        logits = logits - 1e9 * forbidden
        loss = 0.0
        for group in self.encoding.groups.values():
            log_probabilities = keras.ops.log_softmax(logits[..., group])
            loss -= keras.ops.sum(x[..., group] * log_probabilities, axis=-1)
        return keras.ops.mean(loss, axis=-1)

    def encode(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Members of the space -> z, float32 `[N, D]`."""
        x = self.encoding.encode(architectures)
        return keras.ops.convert_to_numpy(self.encoder(x, training=False))

    def decode(self, z: np.ndarray) -> list[Architecture]:
        """z `[N, D]` -> N members of the space, whatever z holds."""
        logits = self.decoder(
            keras.ops.convert_to_tensor(z, "float32"), training=False
        )
        return self.encoding.decode(keras.ops.convert_to_numpy(logits))

    def heads(self, z):
        """z `[N, D]` -> accuracies `[N, K]` in [0, 1], log10 parameters `[N]`.

        Differentiable in z.
        """
        z = keras.ops.convert_to_tensor(z, "float32")
        log_params = self.params_head(z, training=False)
        logits = self.accuracy_head([z, log_params], training=False)
        return keras.ops.sigmoid(logits), log_params[:, 0]

    def predict_heads(
        self, architectures: Sequence[Architecture]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the heads say of members of the space.

        Returns:
          The ensemble's mean accuracy `[N]` and its standard deviation `[N]`,
          both in [0, 1]; log10 parameters `[N]`.
        """
        accuracies, log_params = self.heads(self.encode(architectures))
        accuracies = keras.ops.convert_to_numpy(accuracies)
        return (
            accuracies.mean(axis=-1),
            accuracies.std(axis=-1),
            keras.ops.convert_to_numpy(log_params),
        )


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


def fit_autoencoder(
    autoencoder: ArchitectureAutoencoder,
    architectures: Sequence[Architecture],
    records: Sequence[Record],
    count_params: Callable[[Architecture], int],
    *,
    seed: int,
    epochs: int,
    mode: str = "pretrained",
    learning_rate: float = 2e-3,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Trains the autoencoder; what it learnt before is the start.

    Args:
      autoencoder: trained in place.
      architectures: unlabelled members of the space.
      records: labelled members; may be empty in mode "pretrained".
      count_params: exact parameters of a member.
      seed: of batches, noise and bootstraps.
      epochs: passes over `architectures`.
      mode: "pretrained" or "joint".
      learning_rate: peak of Adam; decays to zero by a half cosine.
      callbacks: Keras callbacks of the caller's.

    Returns:
      The Keras history: losses, one value an epoch.

    Raises:
      ValueError: the mode is unknown, or there are too few labels to fit on.
    """
    if mode not in MODES:
        raise ValueError(f"Expected a mode of {MODES}; got {mode!r}.")
    keras.utils.set_random_seed(seed)
    targets = _accuracy_targets(autoencoder, [], len(architectures), seed)
    members = list(architectures)
    if mode == "joint":
        labelled = [r for r in records if r.status == OK]
        check_num_labels(len(labelled))
        # The few labels come round as often as the rest together would allow.
        repeats = max(1, len(architectures) // (4 * len(labelled)))
        members += [r.architecture for r in labelled] * repeats
        labels = _accuracy_targets(autoencoder, labelled, len(labelled), seed)
        targets = np.concatenate([targets] + [labels] * repeats)
    counts = [[count_params(architecture)] for architecture in members]
    x = autoencoder.encoding.encode(members)
    y = {
        "logits": x,
        "log_params": np.log10(np.asarray(counts, np.float32)),
        "accuracy": targets,
    }
    steps = epochs * math.ceil(len(members) / _BATCH_SIZE)
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    )
    autoencoder.compile(
        optimizer,
        loss={
            "logits": autoencoder.reconstruction_loss,
            "log_params": "mean_squared_error",
            "accuracy": _masked_cross_entropy,
        },
        loss_weights={
            "logits": 1.0,
            "log_params": 1.0,
            "accuracy": 1.0 if mode == "joint" else 0.0,
        },
    )
    optimizer.build(autoencoder.trainable_variables)
    history = autoencoder.fit(
        x,
        y,
        batch_size=_BATCH_SIZE,
        epochs=epochs,
        callbacks=[
            EpochProgress("embedding epoch", epochs, _SHOWN_LOSSES),
            *callbacks,
        ],
        verbose=0,
    )
    return history.history


def fit_accuracy_head(
    autoencoder: ArchitectureAutoencoder,
    records: Sequence[Record],
    *,
    seed: int,
    num_steps: int = 600,
    learning_rate: float = 3e-3,
) -> None:
    """Trains the accuracy ensemble alone, on the embedding as it is.

    Args:
      autoencoder: its accuracy head is trained in place.
      records: labelled members; failed ones are left out.
      seed: of batches and bootstraps.
      num_steps: of AdamW, on batches of 32 records.
      learning_rate: peak; decays to zero by a half cosine.

    Raises:
      ValueError: there are too few labels to fit on.
    """
    labelled = [record for record in records if record.status == OK]
    check_num_labels(len(labelled))
    keras.utils.set_random_seed(seed)
    head = autoencoder.accuracy_head
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(learning_rate, num_steps),
        weight_decay=1e-2,
    )
    head.compile(optimizer, loss=_masked_cross_entropy)
    optimizer.build(head.trainable_variables)
    z = autoencoder.encode([record.architecture for record in labelled])
    log_params = autoencoder.params_head(z, training=False)
    log_params = keras.ops.convert_to_numpy(log_params)
    targets = _accuracy_targets(autoencoder, labelled, len(labelled), seed)
    # One epoch over many copies: epochs of a step or two are all overhead.
    passes = math.ceil(num_steps * _ACCURACY_BATCH_SIZE / len(labelled))
    order = np.concatenate(
        [np.random.permutation(len(labelled)) for _ in range(passes)]
    )[: num_steps * _ACCURACY_BATCH_SIZE]
    head.fit(
        [z[order], log_params[order]],
        targets[order],
        batch_size=_ACCURACY_BATCH_SIZE,
        shuffle=False,
        verbose=0,
    )


def check_num_labels(num_labels: int) -> None:
    """Raises ValueError where the ensemble has too few labels to fit on."""
    if num_labels < MIN_LABELS:
        raise ValueError(
            f"The accuracy head needs at least {MIN_LABELS} labelled "
            f"architectures; got {num_labels}."
        )


def exact_reconstruction(
    autoencoder: ArchitectureAutoencoder, architectures: Sequence[Architecture]
) -> float:
    """Share of members that come back from the embedding as they were."""
    decoded = autoencoder.decode(autoencoder.encode(architectures))
    pairs = zip(decoded, architectures, strict=True)
    return float(np.mean([d == a for d, a in pairs]))


def _accuracy_targets(
    autoencoder: ArchitectureAutoencoder,
    records: Sequence[Record],
    num: int,
    seed: int,
) -> np.ndarray:
    """Accuracies `[num, K]`; NaN where a member of the ensemble sees none.

    Each of the K draws its bootstrap of the records; a record drawn twice
    counts once, so that a member sees about 63 % of the labels.
    """
    targets = np.full((num, autoencoder.num_heads), np.nan, np.float32)
    rng = np.random.default_rng(seed)
    for column in range(autoencoder.num_heads if records else 0):
        drawn = rng.integers(len(records), size=len(records))
        targets[drawn, column] = [records[i].accuracy for i in drawn]
    return targets


def _masked_cross_entropy(accuracy, logits):
    """Binary cross-entropy `[N]` over the members that see a label."""
    seen = keras.ops.logical_not(keras.ops.isnan(accuracy))
    accuracy = keras.ops.where(seen, accuracy, 0.5)
    loss = keras.ops.softplus(logits) - accuracy * logits
    return keras.ops.mean(keras.ops.where(seen, loss, 0.0), axis=-1)


def _residual_conv(x, width: int):
    y = keras.layers.Conv1D(width, 3, padding="same", activation="gelu")(x)
    return keras.layers.LayerNormalization()(keras.layers.Add()([x, y]))


def _encoder(shape, latent_dim: int, width: int, num_blocks: int):
    x = keras.Input(shape, name="x")
    y = keras.layers.Conv1D(width, 3, padding="same", activation="gelu")(x)
    for _ in range(num_blocks):
        y = _residual_conv(y, width)
    y = keras.layers.Dense(latent_dim)(keras.layers.Flatten()(y))
    # A z of mean 0 and variance 1 stays where the data is.
    z = keras.layers.LayerNormalization(
        center=False, scale=False, epsilon=1e-6, name="z"
    )(y)
    return keras.Model(x, z, name="encoder")


def _decoder(shape, latent_dim: int, width: int, num_blocks: int):
    num_slots, num_columns = shape
    z = keras.Input((latent_dim,), name="z")
    y = keras.layers.Dense(num_slots * width, activation="gelu")(z)
    y = keras.layers.Reshape((num_slots, width))(y)
    for _ in range(num_blocks):
        y = _residual_conv(y, width)
    logits = keras.layers.Conv1D(num_columns, 1, name="logits")(y)
    return keras.Model(z, logits, name="decoder")


def _params_head(latent_dim: int):
    z = keras.Input((latent_dim,), name="z")
    y = keras.layers.Dense(128, activation="gelu")(z)
    y = keras.layers.Dense(128, activation="gelu")(y)
    return keras.Model(z, keras.layers.Dense(1)(y), name="log_params")


def _accuracy_head(latent_dim: int, num_heads: int, units: int = 32):
    """K small networks side by side, on z and the predicted parameters.

    The size of a network says much of its accuracy, and its head has been
    learnt from far more architectures than there are labels.
    """
    z = keras.Input((latent_dim,), name="z")
    log_params = keras.Input((1,), name="log_params")
    y = keras.layers.Concatenate()([z, log_params])
    y = keras.layers.RepeatVector(num_heads)(y)
    for width, activation in ((units, "gelu"), (1, None)):
        y = keras.layers.EinsumDense(
            "nki,kij->nkj",
            (num_heads, width),
            bias_axes="kj",
            activation=activation,
        )(y)
    y = keras.layers.Reshape((num_heads,))(y)
    return keras.Model([z, log_params], y, name="accuracy")
