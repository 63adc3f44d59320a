"""A small space and an embedding of it, for tests of what uses one."""

import functools

import keras
import numpy as np

from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.corpus import Record
from archcomp_tf.fitting import fit_autoencoder, unlabelled_mix
from archcomp_tf.search_space import SearchSpace

SPACE = SearchSpace.uniform(
    num_slots=3,
    kinds=("conv", "separable_conv", "identity"),
    kernel_sizes=(1, 3),
    filters=(4, 8, 16, 32),
    input_shape=(8, 8, 1),
)
COUNT = SPACE.count_params


def members(num, seed=0):
    """Samples of the space and mutations of them."""
    return unlabelled_mix(SPACE, [], num, np.random.default_rng(seed))


def accuracy_of(architecture):
    """Grows with the size of the network, between 0.5 and 1."""
    return float(1 - 0.5 / np.log10(COUNT(architecture) + 10))


def records(architectures):
    """The architectures with the accuracies of `accuracy_of`."""
    return [Record(a, accuracy_of(a), COUNT(a)) for a in architectures]


@functools.cache
def trained():
    """An embedding of the space; its accuracy head is not fitted."""
    keras.utils.set_random_seed(0)
    autoencoder = ArchitectureAutoencoder(SPACE, channels=6, width=32)
    fit_autoencoder(autoencoder, members(2048), COUNT, seed=0, epochs=60)
    return autoencoder
