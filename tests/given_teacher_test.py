"""Tests of what is asked of a teacher that a run is given."""

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf import given_teacher
from archcomp_tf.config import ConfigError
from archcomp_tf.keras_graph import UnsupportedModelError

layers = keras.layers


def _teacher(*front):
    return keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            *front,
            layers.Conv2D(4, 3, 2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(tiny.NUM_CLASSES),
        ]
    )


def test_images_that_do_not_fit_into_memory_are_refused(monkeypatch):
    teacher = _teacher(layers.Resizing(512, 512))
    # Here, in two processes that label and in two that train for long, in four
    # bytes a value.
    needed = 5 * 4 * 128 * 512 * 512
    monkeypatch.setattr(given_teacher, "physical_memory", lambda: needed)
    given_teacher.checked(teacher, tiny.dataset(), 2)
    monkeypatch.setattr(given_teacher, "physical_memory", lambda: needed - 1)
    with pytest.raises(
        ConfigError, match=r"\(512, 512, 1\) of each of 128, .* 5 processes"
    ):
        given_teacher.checked(teacher, tiny.dataset(), 2)
    given_teacher.checked(teacher, tiny.dataset(), 1)


def test_a_model_without_a_graph_is_named_as_such_and_not_as_unsaveable():
    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(UnsupportedModelError, match="graph|functional"):
        given_teacher.checked(Mine(), tiny.dataset(), 1)


def test_a_model_is_told_from_others_by_its_layers_and_weights():
    one = _teacher(layers.Rescaling(2.0))
    again = _teacher(layers.Rescaling(2.0))  # under other names
    assert one.name != again.name
    again.set_weights(one.get_weights())
    digest = given_teacher.model_digest(one)
    assert given_teacher.model_digest(again) == digest
    other = _teacher(layers.Rescaling(3.0))
    other.set_weights(one.get_weights())
    assert given_teacher.model_digest(other) != digest
    again.set_weights([w + np.float32(1) for w in one.get_weights()])
    assert given_teacher.model_digest(again) != digest


def test_a_file_is_told_from_others_by_its_bytes(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    one, same, other = map(given_teacher.file_digest, paths)
    assert one == same != other
