"""Tests of what is asked of a teacher that a run is given."""

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf import given_teacher
from archcomp_tf.config import ConfigError
from archcomp_tf.importer import from_keras
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
    # Here, shared by two processes that label and by two that train for long,
    # and in each of the latter, in four bytes a value.
    needed = 5 * 4 * 128 * 512 * 512
    monkeypatch.setattr(given_teacher, "physical_memory", lambda: needed)
    given_teacher.checked(teacher, tiny.dataset(), 2)
    monkeypatch.setattr(given_teacher, "physical_memory", lambda: needed - 1)
    with pytest.raises(
        ConfigError, match=r"\(512, 512, 1\) of each of 128, .* 5 copies"
    ):
        given_teacher.checked(teacher, tiny.dataset(), 2)
    given_teacher.checked(teacher, tiny.dataset(), 1)


@pytest.mark.parametrize("front", [[], [layers.Rescaling(2.0)]])
def test_a_teacher_of_images_of_any_size_is_one_of_the_datas(front):
    teacher = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            *front,
            layers.Conv2D(4, 3, 2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(tiny.NUM_CLASSES),
        ]
    )
    with pytest.raises(UnsupportedModelError, match="images of one size"):
        from_keras(teacher)
    model = given_teacher.checked(teacher, tiny.dataset(), 1)
    assert model.input_shape == (None, *tiny.SHAPE)
    assert str(from_keras(model)) == "conv3x3-4/2"
    images = tiny.dataset().test.images
    np.testing.assert_allclose(model(images), teacher(images), atol=1e-6)
    # Which a front of its own may have.
    fixed = keras.Sequential(
        [keras.Input((None, None, 1)), layers.Resizing(4, 4), *model.layers[1:]]
    )
    assert given_teacher.checked(fixed, tiny.dataset(), 1) is fixed


def test_the_one_output_of_a_teacher_may_have_a_name():
    teacher = _teacher()
    named = keras.Model(teacher.inputs, {"class": teacher.outputs[0]})
    model = given_teacher.checked(named, tiny.dataset(), 1)
    images = tiny.dataset().test.images
    np.testing.assert_allclose(model(images), teacher(images), atol=1e-6)


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


def test_a_front_that_gives_another_size_than_it_says_is_refused():
    height, width, channels = tiny.SHAPE
    crop = layers.RandomCrop(height - 1, width - 1)
    with pytest.raises(ValueError, match="Put a keras.layers.CenterCrop"):
        given_teacher.checked(_teacher(crop), tiny.dataset(), 1)
    crop = layers.CenterCrop(height - 1, width - 1)
    given_teacher.checked(_teacher(crop), tiny.dataset(), 1)
