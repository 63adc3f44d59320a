"""`ArchitectureAutoencoder`: architectures <-> a continuous embedding.

    x [N, L, F] -Conv1D encoder-> z [N, D] -Conv1D decoder-> logits [N, L, F]
                                     +--heads--> log10 parameters [N, 1]
                                     +---------> accuracy [N, K]

After Ashok, "Architecture Compression", arXiv 1902.03326: 1-D convolutional
encoder and decoder, a shared latent, and regression heads for accuracy and
parameters.  Of that paper only the abstract was at hand.  Ours, therefore:

- z keeps the slots: it is C channels of each, D = L * C, and never squeezed
  through a dense layer.  What a point says of one layer stands in one place, so
  that networks of any depth come back exactly and a step changes a few layers.
- Each slot's code has mean 0 and variance 1, so that a descent cannot run out
  of the data.
- Noise on z while training, so that neighbouring points decode alike.
- The accuracy head is an ensemble.

How it is trained is told in `fitting.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import by_rows, dtype_policy
from archcomp_tf.encoding import Encoding
from archcomp_tf.heads import CostHead, EnsembleHead
from archcomp_tf.ranges import check_number
from archcomp_tf.search_space import SearchSpace

# A slot's numbers are normalised, which takes two of them.
MIN_CHANNELS = 3

_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="archcomp_tf")
class ArchitectureAutoencoder(keras.Model):
    """Encoder, decoder and heads over one search space.

    All of it is float32, whatever Keras' global dtype policy is.

    Args:
      space: the space, or its `to_dict()`.
      channels: C, numbers of z a slot, at least 3; D = L * C is the embedding's
        size.  With 8 networks are decoded as they were, with 4 hardly one is.
      width: channels of the hidden convolutions.
      num_heads: K, members of the accuracy ensemble.
      noise: standard deviation of the noise on z while training.

    Attributes:
      encoding: the tensor layout of x.
      encoder: x `[N, L, F]` -> z `[N, D]`.
      decoder: z -> logits `[N, L, F]`, not masked.
      params_head: z -> log10 parameters `[N, 1]`.
      accuracy_head: (z, log10 parameters) -> logits of the accuracy `[N, K]`.
    """

    @dtype_policy("float32")
    def __init__(
        self,
        space: SearchSpace | dict,
        channels: int = 8,
        width: int = 64,
        num_heads: int = 5,
        noise: float = 0.1,
        **kwargs,
    ):
        check_number("channels", channels, MIN_CHANNELS, whole=True)
        check_number("width", width, 1, whole=True)
        check_number("num_heads", num_heads, 1, whole=True)
        check_number("noise", noise, 0)
        if isinstance(space, dict):
            space = SearchSpace.from_dict(space)
        encoding = Encoding(space)
        latent_dim = len(space) * channels
        encoder = _encoder(encoding.shape, channels, width)
        decoder = _decoder(encoding.shape, channels, width)
        params_head = CostHead(len(space), channels, name="log_params")
        accuracy_head = EnsembleHead(
            len(space), channels, num_heads, link="logit", name="accuracy"
        )

        x = keras.Input(encoding.shape, name="x")
        z = encoder(x)
        noisy = keras.layers.GaussianNoise(noise, name="noise")(z)
        # The noise is for the decoder: heads that see it are blurred by it.
        log_params = params_head(z)
        outputs = {
            "logits": decoder(noisy),
            "log_params": log_params,
            "accuracy": accuracy_head([z, log_params]),
        }
        super().__init__(x, outputs, **kwargs)
        self.space = space
        self.channels = channels
        self.latent_dim = latent_dim
        self.width = width
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
            "channels": self.channels,
            "width": self.width,
            "num_heads": self.num_heads,
            "noise": self.noise,
            "name": self.name,
        }

    def get_compile_config(self):
        """None: `fit_autoencoder` compiles, and a file could not say how."""

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
        return by_rows(lambda x: self.encoder(x, training=False), x)

    def decode(self, z: np.ndarray) -> list[Architecture]:
        """z `[N, D]` -> N members of the space, whatever z holds."""
        return self.encoding.decode(
            by_rows(lambda z: self.decoder(z, training=False), np.float32(z))
        )

    def heads(self, z):
        """What the heads say of points of the embedding, differentiably.

        Args:
          z: float `[N, D]`.

        Returns:
          The ensemble's mean accuracy `[N]` and its spread `[N]`, a standard
          deviation; log10 parameters `[N]`.
        """
        z = keras.ops.convert_to_tensor(z, "float32")
        log_params = self.params_head(z, training=False)
        members = self.accuracy_head([z, log_params], training=False)
        return *self.accuracy_head.statistics(members), log_params[:, 0]

    def predict_heads(
        self, architectures: Sequence[Architecture]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the heads say of members of the space, see `heads`."""
        return by_rows(self.heads, self.encode(architectures))

    def project(self, z):
        """z `[N, D]` -> the nearest point where encodings can lie."""
        codes = keras.ops.reshape(z, (-1, len(self.space), self.channels))
        mean, variance = keras.ops.moments(codes, axes=-1, keepdims=True)
        codes = (codes - mean) * keras.ops.rsqrt(variance + _EPSILON)
        return keras.ops.reshape(codes, (-1, self.latent_dim))


def _encoder(shape, channels: int, width: int):
    x = keras.Input(shape, name="x")
    y = keras.layers.Conv1D(width, 3, padding="same", activation="relu")(x)
    y = keras.layers.Conv1D(channels, 1)(y)
    y = keras.layers.LayerNormalization(
        center=False, scale=False, epsilon=_EPSILON
    )(y)
    return keras.Model(x, keras.layers.Flatten(name="z")(y), name="encoder")


def _decoder(shape, channels: int, width: int):
    num_slots, num_columns = shape
    z = keras.Input((num_slots * channels,), name="z")
    y = keras.layers.Reshape((num_slots, channels))(z)
    y = keras.layers.Conv1D(width, 3, padding="same", activation="relu")(y)
    logits = keras.layers.Conv1D(num_columns, 1, name="logits")(y)
    return keras.Model(z, logits, name="decoder")
