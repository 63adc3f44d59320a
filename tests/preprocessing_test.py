"""Tests of `preprocessing`: a model's front, kept for its students."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from archcomp_tf import keras_graph
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import dtype_policy
from archcomp_tf.builder import build
from archcomp_tf.export import export_saved_model
from archcomp_tf.images import unit
from archcomp_tf.importer import from_keras
from archcomp_tf.keras_graph import UnsupportedModelError
from archcomp_tf.preprocessing import Preprocessing

SHAPE = (8, 8, 3)
CLASSES = 4
STUDENT = Architecture.parse("conv3x3-4 inverted_residual3x3-4x2 max_pool2x2/2")


def front_layers(model):
    front = keras_graph.front(keras_graph.calls(model))
    return tuple(call.layer for call in front)


def closed(image, x):
    """A small classifier of what `x` makes of an image."""
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES)(x))


def teacher(*front, shape=SHAPE, dtype="float32"):
    """A small classifier behind some layers or functions of a tensor."""
    image = x = keras.Input(shape, dtype=dtype)
    for layer in front:
        x = layer(x)
    return closed(image, x)


def images(shape=SHAPE, num=5):
    rng = np.random.default_rng(0)
    return rng.uniform(size=(num, *shape)).astype(np.float32)


def adapted(scale):
    layer = layers.Normalization()
    layer.adapt(scale * images(num=64))
    return layer


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize(
    ("front", "takes"),
    [
        ([], 1),
        ([layers.RandomFlip()], 1),
        ([layers.Rescaling(2.0, -1.0)], 1),
        ([layers.Normalization(mean=0.5, variance=0.05)], 1),
        ([lambda x: 1 - x], 1),
        ([layers.Rescaling(1 / 255)], 255),
        ([layers.Rescaling(1 / 127.5, -1.0)], 255),
        ([layers.Normalization(mean=[120.0] * 3, variance=[64.0**2] * 3)], 255),
        ([lambda x: 255 - x], 255),
        ([lambda x: x / 255.0], 255),
        ([keras.applications.resnet.preprocess_input], 255),
        ([keras.applications.mobilenet.preprocess_input], 255),
        ([keras.applications.densenet.preprocess_input], 255),
        ([layers.Resizing(4, 4), layers.Rescaling(1 / 255)], 255),
    ],
)
def test_a_front_tells_what_the_model_takes(front, takes):
    assert Preprocessing(teacher(*front)).max_pixel == takes


def test_what_was_adapted_tells_what_the_model_takes():
    for scale in (1, 255):
        assert Preprocessing(teacher(adapted(scale))).max_pixel == scale


def test_whole_numbers_are_pixels_of_255():
    model = teacher(layers.Rescaling(1 / 127.5, -1), dtype="uint8")
    preprocessing = Preprocessing(model)
    assert preprocessing.max_pixel == 255
    given = np.array([0, 1 / 255, 0.2, 1], np.float32)
    given = np.broadcast_to(given[:, None, None, None], (4, *SHAPE))
    assert preprocessing.scaled(given)[:, 0, 0, 0].tolist() == [0, 1, 51, 255]
    found = preprocessing.apply(given)[:, 0, 0, 0]
    np.testing.assert_allclose(found, [-1, -253 / 255, -0.6, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("front", "takes"),
    [
        ([], SHAPE),
        ([layers.Reshape((4, 16, 3))], (4, 16, 3)),
        ([layers.Resizing(4, 4)], (4, 4, 3)),
        ([lambda x: x[..., ::-1]], SHAPE),
        ([lambda x: keras.ops.cast(x, "float32")], SHAPE),
        ([layers.Rescaling(1 / 255)], SHAPE),
    ],
    ids=["none", "reshape", "resizing", "turned", "cast", "rescaling"],
)
def test_whole_numbers_reach_networks_as_0_to_1(front, takes, tmp_path):
    model = teacher(*front, layers.BatchNormalization(), dtype="uint8")
    preprocessing = Preprocessing(model)
    assert preprocessing.output_shape == takes
    given = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
    features = unit(preprocessing.apply(given))
    assert features.dtype == np.float32 and 0 <= features.min()
    assert 0.5 < features.max() <= 1
    network = build(STUDENT, takes, CLASSES)
    whole = preprocessing.in_front_of(network)
    assert whole.inputs[0].dtype == "uint8"
    expected = outputs(network, features)
    np.testing.assert_allclose(outputs(whole, given), expected, atol=1e-5)
    assert Preprocessing(whole).max_pixel == 255
    assert from_keras(whole) == STUDENT
    export_saved_model(whole, tmp_path / "saved", preprocessing.max_pixel)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(
        saved.classify(given), keras.ops.softmax(expected), atol=1e-5
    )


def test_the_front_is_what_stands_before_the_first_layer_that_counts():
    flip, scale, noise = (
        layers.RandomFlip(),
        layers.Rescaling(1 / 255),
        layers.GaussianNoise(0.1),
    )
    model = teacher(flip, scale, noise, layers.Rescaling(2.0))
    assert front_layers(model) == (flip, scale)
    assert front_layers(teacher()) == ()


def test_a_front_may_be_spread_over_nested_models():
    augmentation = keras.Sequential(
        [layers.RandomFlip(), layers.RandomRotation(0.1)]
    )
    image = keras.Input(SHAPE)
    scaled = layers.Rescaling(1 / 255)(image)
    backbone = closed(image, layers.Normalization()(scaled))
    outer = keras.Input(SHAPE)
    model = keras.Model(outer, backbone(augmentation(outer, training=True)))
    names = [type(layer).__name__ for layer in front_layers(model)]
    assert names == [
        "RandomFlip",
        "RandomRotation",
        "Rescaling",
        "Normalization",
    ]


def test_images_come_out_as_the_front_makes_them():
    x = images()
    scaled = Preprocessing(teacher(layers.Rescaling(1 / 127.5, -1.0))).apply(x)
    np.testing.assert_allclose(scaled, 2 * x - 1, atol=1e-6)
    caffe = Preprocessing(teacher(keras.applications.resnet.preprocess_input))
    means = [103.939, 116.779, 123.68]
    expected = 255 * x[..., ::-1] - means
    np.testing.assert_allclose(caffe.apply(x), expected, atol=1e-4)
    normal = Preprocessing(teacher(adapted(255))).apply(images(num=64))
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, atol=1e-4)
    for array in (scaled, normal):
        assert array.dtype == np.float32


def test_images_stay_as_they_are_without_a_front():
    x = images()
    preprocessing = Preprocessing(teacher())
    assert preprocessing.apply(x) is x
    assert preprocessing.scaled(x) is x
    assert preprocessing.input_shape == preprocessing.output_shape == SHAPE


@pytest.mark.parametrize(
    "front",
    [
        [layers.Rescaling(1 / 255)],
        [layers.RandomFlip(), lambda x: x / 255.0],
        [layers.RandomFlip()],
    ],
)
def test_images_that_are_only_brought_to_0_to_1_stay_as_they_are(front):
    x = np.round(255 * images()).astype(np.uint8)
    assert Preprocessing(teacher(*front)).apply(x) is x


@pytest.mark.parametrize(
    "front",
    [
        [layers.Rescaling(1 / 127.5, -1.0)],
        [layers.Rescaling(1 / 250)],
        [layers.Resizing(4, 4), layers.Rescaling(1 / 255)],
        [lambda x: x[..., ::-1] / 255.0],
        [lambda x: 1 - x],
        [layers.Normalization(mean=0.5, variance=0.05)],
    ],
)
def test_bytes_come_out_as_the_same_images_in_0_to_1_do(front):
    x = np.round(255 * images()).astype(np.uint8)
    preprocessing = Preprocessing(teacher(*front))
    found = preprocessing.apply(x)
    assert found.dtype == np.float32
    expected = preprocessing.apply(unit(x))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bytes_reach_a_model_of_0_to_1_as_they_are():
    x = np.round(255 * images()).astype(np.uint8)
    assert Preprocessing(teacher()).scaled(x) is x


@pytest.mark.parametrize(
    ("front", "mirrors"),
    [
        ([], False),
        ([layers.RandomFlip("horizontal"), layers.Rescaling(1 / 255)], True),
        ([keras.Sequential([layers.RandomFlip()])], True),
        ([layers.RandomFlip("vertical")], False),
        ([layers.RandomRotation(0.1)], False),
    ],
)
def test_a_front_tells_whether_images_were_mirrored(front, mirrors):
    assert Preprocessing(teacher(*front)).mirrors == mirrors


def test_random_layers_change_nothing():
    rotate = layers.RandomRotation(0.5)
    model = teacher(lambda x: rotate(x, training=True), layers.RandomFlip())
    x = images()
    preprocessing = Preprocessing(model)
    np.testing.assert_allclose(preprocessing.apply(x), x, atol=1e-6)
    network = build(STUDENT, SHAPE, CLASSES)
    whole = preprocessing.in_front_of(network)
    # Keras' own would be at work here, where nothing is said of training.
    np.testing.assert_allclose(whole(x), network(x), atol=1e-6)


@pytest.mark.parametrize("axis", [-1, None, (1, 2, 3)])
def test_what_was_adapted_stays_so_in_a_clone(axis):
    norm = layers.Normalization(axis=axis)
    norm.adapt(255 * images(num=64))
    network = build(STUDENT, SHAPE, CLASSES)
    whole = Preprocessing(teacher(norm)).in_front_of(network)
    assert whole.count_params() == network.count_params()
    clone = keras.models.clone_model(whole)
    clone.set_weights(whole.get_weights())
    x = 255 * images()
    np.testing.assert_allclose(outputs(clone, x), outputs(whole, x), atol=1e-5)
    np.testing.assert_allclose(
        outputs(clone, x), outputs(network, norm(x)), atol=1e-4
    )


@pytest.mark.parametrize(
    "front",
    [
        [layers.Rescaling(1 / 255)],
        [layers.RandomFlip(), layers.Rescaling(1 / 127.5), lambda x: x - 1],
        [adapted(255)],
        [keras.applications.resnet.preprocess_input],
        [layers.Resizing(6, 6), layers.Rescaling(1 / 255)],
        [layers.CenterCrop(6, 6), adapted(1)],
    ],
)
def test_a_network_behind_the_front_takes_what_the_model_takes(front):
    model = teacher(*front)
    preprocessing = Preprocessing(model)
    network = build(STUDENT, preprocessing.output_shape, CLASSES)
    whole = preprocessing.in_front_of(network)
    assert whole.input_shape == model.input_shape
    x = images()
    np.testing.assert_allclose(
        outputs(whole, preprocessing.scaled(x)),
        outputs(network, preprocessing.apply(x)),
        atol=1e-5,
    )
    assert from_keras(whole) == STUDENT
    assert Preprocessing(whole).max_pixel == preprocessing.max_pixel
    assert not any(isinstance(layer, keras.Model) for layer in whole.layers)


def test_a_network_with_a_front_lives_in_a_file(tmp_path):
    preprocessing = Preprocessing(
        teacher(keras.applications.resnet.preprocess_input, adapted(255))
    )
    network = build(STUDENT, SHAPE, CLASSES)
    whole = preprocessing.in_front_of(network)
    whole.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    x = preprocessing.scaled(images())
    np.testing.assert_allclose(outputs(read, x), outputs(whole, x), atol=1e-5)
    assert from_keras(read) == STUDENT


def test_the_front_is_a_copy_and_the_network_is_not():
    norm = adapted(255)
    model = teacher(norm)
    network = build(STUDENT, SHAPE, CLASSES)
    whole = Preprocessing(model).in_front_of(network)
    assert norm not in whole.layers
    assert network.get_layer("conv_0_0_conv") in whole.layers
    x = 255 * images()
    before = outputs(whole, x)
    norm.adapt(np.zeros((1, *SHAPE)))
    np.testing.assert_array_equal(outputs(whole, x), before)
    network.get_layer("classifier").bias.assign(np.full(CLASSES, 7.0))
    np.testing.assert_allclose(outputs(whole, x), before + 7, atol=1e-5)


def test_the_model_and_the_network_stay_as_they_are():
    model, network = teacher(adapted(255)), build(STUDENT, SHAPE, CLASSES)
    x = images()
    before = outputs(model, x), outputs(network, x)
    preprocessing = Preprocessing(model)
    preprocessing.apply(x)
    preprocessing.in_front_of(network)
    preprocessing.in_front_of(network)
    np.testing.assert_array_equal(outputs(model, x), before[0])
    np.testing.assert_array_equal(outputs(network, x), before[1])
    assert from_keras(network) == STUDENT
    assert front_layers(network) == ()


def test_without_a_front_a_network_is_itself():
    network = build(STUDENT, SHAPE, CLASSES)
    assert Preprocessing(teacher()).in_front_of(network) is network


def test_a_name_that_the_network_has_already_is_not_given_twice():
    network = build(STUDENT, SHAPE, CLASSES)
    name = network.layers[-1].name
    model = teacher(layers.Rescaling(1 / 255, name=name))
    whole = Preprocessing(model).in_front_of(network)
    assert whole.layers[1].name == f"{name}_in_front"
    assert whole.layers[-1].name == name


def test_a_resizing_lets_images_of_any_size_in():
    model = teacher(layers.Resizing(*SHAPE[:2]), shape=(None, None, 3))
    preprocessing = Preprocessing(model)
    assert preprocessing.input_shape == (None, None, 3)
    assert preprocessing.output_shape == SHAPE
    whole = preprocessing.in_front_of(build(STUDENT, SHAPE, CLASSES))
    for side in (5, 16):
        x = np.full((2, side, side, 3), 0.5, np.float32)
        np.testing.assert_allclose(preprocessing.apply(x), 0.5, atol=1e-6)
        assert outputs(whole, x).shape == (2, CLASSES)


@pytest.mark.parametrize("side", [32, 20])  # one of them that of a probe
@pytest.mark.parametrize("layer", [layers.Resizing, layers.CenterCrop])
def test_images_of_any_size_come_out_in_one(layer, side):
    model = teacher(layer(side, side), shape=(None, None, 3))
    preprocessing = Preprocessing(model)
    assert not preprocessing.is_unit
    assert preprocessing.apply(images((40, 36, 3))).shape == (5, side, side, 3)


@pytest.mark.parametrize("front", [[], [layers.Rescaling(2.0)]])
def test_images_may_have_no_channel_behind_the_front(front):
    image = x = keras.Input((8, 6))
    for layer in front:
        x = layer(x)
    x = layers.Dense(CLASSES)(layers.GRU(4)(x))
    preprocessing = Preprocessing(keras.Model(image, x))
    shape = (8, 6, 1)
    assert preprocessing.output_shape == shape
    pixels = images(shape)
    seen = preprocessing.apply(pixels)
    np.testing.assert_allclose(seen, (2 if front else 1) * pixels)
    network = build(STUDENT, shape, CLASSES)
    whole = preprocessing.in_front_of(network)
    assert whole.input_shape == (None, 8, 6)
    np.testing.assert_allclose(
        outputs(whole, pixels[..., 0]), outputs(network, seen), atol=1e-5
    )


def test_a_channel_axis_may_be_added_in_front():
    model = teacher(layers.Reshape((8, 8, 1)), shape=(8, 8))
    preprocessing = Preprocessing(model)
    assert preprocessing.output_shape == (8, 8, 1)
    x = images((8, 8, 1))
    np.testing.assert_allclose(preprocessing.apply(x), x)


@pytest.mark.parametrize(
    ("front", "shape"),
    [
        ([], SHAPE),
        ([layers.RandomRotation(0.5), layers.Rescaling(1 / 255)], SHAPE),
        ([keras.applications.resnet.preprocess_input], SHAPE),
        ([layers.Reshape((8, 8, 1))], (8, 8)),
        ([layers.Reshape((8, 8, 1)), layers.Rescaling(1 / 255)], (8, 8)),
        ([layers.Resizing(6, 6)], (None, None, 3)),
    ],
)
def test_a_model_can_be_made_to_take_images_in_0_to_1(front, shape):
    model = teacher(*front, shape=shape)
    preprocessing = Preprocessing(model)
    x = images(SHAPE if None in shape else (*shape, 1)[:3])
    found = preprocessing.on_unit_images(model, x.shape[1:])
    expected = outputs(model, preprocessing.scaled(x))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found(x)), expected, atol=1e-4
    )
    assert (found is model) == (not front)
    assert found.input_shape[1:] == x.shape[1:]


@pytest.mark.parametrize("has_input", [True, False])
def test_a_front_made_for_mixed_precision_is_copied_in_float32(has_input):
    x = (255 * images()).astype(np.uint8)
    with dtype_policy("mixed_float16"):
        front = [layers.Rescaling(1 / 127.5, -1.0), layers.RandomFlip()]
        model = keras.Sequential(
            [keras.Input(SHAPE)] * has_input
            + [*front, layers.Conv2D(4, 3), layers.Flatten()]
        )
        model.build((None, *SHAPE))
        preprocessing = Preprocessing(model)
        found = preprocessing.apply(x)
        student = preprocessing.in_front_of(build(STUDENT, SHAPE, CLASSES))
        scaling = preprocessing.on_unit_images(model, SHAPE).layers[1]
    np.testing.assert_allclose(found, x / 127.5 - 1, atol=1e-6)
    copies = student.layers[:3]
    assert student.input.dtype == "float32"
    assert [layer.compute_dtype for layer in (*copies, scaling)] == 4 * [
        "float32"
    ]


def test_a_network_of_another_shape_is_refused():
    network = build(STUDENT, (4, 4, 3), CLASSES)
    for front in ([], [layers.Rescaling(1 / 255)]):
        with pytest.raises(ValueError, match=r"\(8, 8, 3\).*got \(4, 4, 3\)"):
            Preprocessing(teacher(*front)).in_front_of(network)


def test_a_model_without_a_graph_is_refused():
    with pytest.raises(UnsupportedModelError, match="open"):
        Preprocessing(keras.Sequential([layers.Dense(2)], name="open"))
