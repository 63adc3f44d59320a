"""Tests of guesses of costs that have to be measured."""

import numpy as np
import pytest

from archcomp_tf import cost
from archcomp_tf.limits import MEASURED
from archcomp_tf.samples import initial_samples
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.surrogates import Surrogate
from archcomp_tf.teachers import TEACHERS

IMAGES = (16, 16, 3), 10
SPACE = SearchSpace.around(TEACHERS["vgg7"].compact, *IMAGES)
SAMPLES = [sample.compact for sample in initial_samples(SPACE, 32, seed=0)]


def test_what_is_linear_in_what_is_counted_is_guessed_exactly():
    asked = []

    def measure(architecture, input_shape, num_classes):
        asked.append(architecture)
        network = architecture, input_shape, num_classes
        return 5 + 1e-6 * cost.num_flops(*network)

    surrogate = Surrogate(measure, SAMPLES[:16], *IMAGES)
    assert asked == SAMPLES[:16]
    for sample in SAMPLES:
        assert surrogate(sample, *IMAGES) == pytest.approx(
            measure(sample, *IMAGES)
        )


def test_the_size_of_a_file_is_guessed_within_a_few_percent():
    measure = MEASURED["max_file_bytes"]
    surrogate = Surrogate(measure, SAMPLES[:16], *IMAGES)
    others = SAMPLES[16:24]
    sizes = np.array([measure(sample, *IMAGES) for sample in others])
    guesses = np.array([surrogate(sample, *IMAGES) for sample in others])
    assert sizes.max() > 3 * sizes.min()
    np.testing.assert_allclose(guesses, sizes, rtol=0.08)
