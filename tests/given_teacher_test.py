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


class _Doubled(layers.Layer):
    """A layer of a person's own, which Keras is not told of."""

    def call(self, x):
        return 2 * x


def test_a_file_with_layers_that_are_not_known_says_who_knows_them(tmp_path):
    _teacher().save(tmp_path / "plain.keras")
    loaded = given_teacher.load_teacher(tmp_path / "plain.keras")
    assert loaded.output_shape == (None, tiny.NUM_CLASSES)
    _teacher(_Doubled()).save(tmp_path / "own.keras")
    with pytest.raises(ConfigError, match="own.keras .* class '_Doubled'"):
        given_teacher.load_teacher(tmp_path / "own.keras")


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


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        ((4, 4, 3), 2, "takes colour images of 3 channels; .* are grey images"),
        ((8, 4, 1), 2, r"inputs of shape \(8, 4, 1\); .* shape \(4, 4, 1\)"),
        ((16,), 2, r"inputs of shape \(16,\)"),
        ((4, 4, 1), 10, "has 10 outputs; sides has 2 classes"),
    ],
)
def test_a_classifier_that_does_not_fit_the_data_is_told_why(
    shape, outputs, message
):
    inputs = keras.Input(shape)
    x = layers.Flatten()(inputs)
    model = keras.Model(inputs, layers.Dense(outputs)(x))
    with pytest.raises(ValueError, match=message):
        given_teacher.checked(model, tiny.dataset(), 1)


def test_a_classifier_that_answers_with_a_map_is_told_what_to_add():
    inputs = keras.Input(tiny.SHAPE)
    x = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1)(x))
    with pytest.raises(ValueError, match=r"gives \(1, 1, 2\) .*Flatten\(\)"):
        given_teacher.checked(model, tiny.dataset(), 1)
    flat = keras.Sequential([model, layers.Flatten()])
    given_teacher.checked(flat, tiny.dataset(), 1)


class _Subclassed(keras.Model):
    def call(self, x):
        return x


def _of_several(num_inputs, num_outputs):
    images = [keras.Input(tiny.SHAPE) for _ in range(num_inputs)]
    x = layers.Flatten()(keras.ops.concatenate(images))
    outputs = [layers.Dense(2)(x) for _ in range(num_outputs)]
    return keras.Model(images, outputs)


@pytest.mark.parametrize(
    "model",
    [
        _Subclassed(),
        keras.Sequential([layers.Flatten(), layers.Dense(2)]),
        _of_several(2, 1),
        _of_several(1, 2),
    ],
)
def test_a_model_of_several_ends_or_without_a_graph_is_no_classifier(model):
    with pytest.raises(UnsupportedModelError, match="one input, one output"):
        given_teacher.checked(model, tiny.dataset(), 1)


def test_a_classifier_of_images_of_any_size_fits():
    inputs = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, layers.Dense(2)(x))
    given_teacher.checked(model, tiny.dataset(), 1)


class _Plain(layers.Layer):
    """Somebody's own layer, which Keras was not told of."""

    def call(self, x):
        return x


class _Silent(_Plain):
    """One that gives no reason either."""

    def get_config(self):
        raise NotImplementedError


def _own(x):
    return x


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (lambda: _Plain(name="mine"), "'mine' .*_Plain"),
        (lambda: _Silent(name="mine"), "'mine' .*_Silent"),
        (lambda: layers.Dense(3, activation=_own, name="d"), "'d' .Den"),
        (lambda: layers.Lambda(lambda x: 2 * x, name="l"), "'l' .*Lam"),
    ],
)
def test_a_layer_that_cannot_be_loaded_again_is_named(layer, name):
    inner = keras.Sequential([keras.Input((4,)), layer()], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2)])
    with pytest.raises(ValueError, match=f"its layer {name}"):
        given_teacher._check_loadable(model)


def test_layers_of_keras_and_registered_ones_can_be_loaded_again():
    @keras.saving.register_keras_serializable("given_teacher_test")
    class Registered(_Plain):
        pass

    given_teacher._check_loadable(_teacher())
    given_teacher._check_loadable(
        keras.Sequential([keras.Input((4,)), Registered()])
    )


def test_so_can_layers_that_are_made_of_others_which_alone_cannot():
    @keras.saving.register_keras_serializable("given_teacher_test")
    class Outer(_Plain):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = _Silent()

    given_teacher._check_loadable(
        keras.Sequential([keras.Input((4,)), Outer()])
    )
    lstm = layers.ConvLSTM2D(2, 3)  # and its cell
    given_teacher._check_loadable(
        keras.Sequential([keras.Input((3, 8, 8, 1)), lstm])
    )
