"""Tests of what it takes to train a network for a label."""

import numpy as np
import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.task import Task
from archcomp_tf.training import Recipe

RECIPE = Recipe(epochs=1, batch_size=32)
ARCHITECTURE = Architecture.parse("conv3x3-2")


def test_a_task_travels_whole_but_for_the_test_images():
    logits = np.ones((64, 2), np.float32)
    for teacher_logits in (None, logits):
        whole = Task(tiny.dataset(), RECIPE, 7, teacher_logits, 12.5)
        copy = Task.from_bytes(whole.to_bytes())
        assert (copy.recipe, copy.seed, copy.max_seconds) == (RECIPE, 7, 12.5)
        if teacher_logits is None:
            assert copy.teacher_logits is None
        else:
            np.testing.assert_array_equal(copy.teacher_logits, logits)
        for name in ("train", "validation"):
            there, here = (
                getattr(copy.dataset, name),
                getattr(whole.dataset, name),
            )
            np.testing.assert_array_equal(there.images, here.images)
            np.testing.assert_array_equal(there.labels, here.labels)
        assert len(copy.dataset.test) == 0
