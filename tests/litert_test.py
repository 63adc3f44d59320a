"""Tests of `archcomp_tf.litert`."""

import re
import warnings

import fresh
import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import dtype_policy
from archcomp_tf.builder import build
from archcomp_tf.cost import num_params
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.images import unit
from archcomp_tf.litert import (
    PRECISIONS,
    ConversionError,
    convert,
    export_litert,
    file_bytes,
)
from archcomp_tf.measurement import ram_bytes
from archcomp_tf.training import Recipe, train

INPUT_SHAPE, NUM_CLASSES = (8, 8, 1), 10
# One of each kind.
ALL_KINDS = Architecture.parse(
    "conv3x3-6 separable_conv3x3-8 max_pool2x2/2 inverted_residual3x3-8x2 "
    "residual3x3-10 avg_pool2x2/2 bottleneck3x3-8 flatten dense-7"
)
# A student and the teacher of the demonstration.
STUDENT = Architecture.parse(
    "separable_conv3x3-22 separable_conv3x3-12 max_pool2x2/2 conv3x3-15 "
    "separable_conv3x3-14 max_pool2x2/2 separable_conv3x3-14"
)
TEACHER = Architecture.parse(
    "conv3x3-32 conv3x3-64 max_pool2x2/2 conv3x3-96 conv3x3-128 "
    "max_pool2x2/2 conv3x3-128"
)

# Classifies uint8 images, in the file of argv[1], with every other file.
_CLASSIFY = """
import sys

sys.modules["archcomp_tf"] = None  # importing it is an error
import numpy as np
import tensorflow as tf

pixels = np.load(sys.argv[1])
for path in sys.argv[2:]:
    classify = tf.lite.Interpreter(path).get_signature_runner()
    (details,) = classify.get_input_details().values()
    if details["dtype"] == np.int8:
        images = (pixels.astype(int) - 128).astype(np.int8)
    else:
        images = pixels.astype(np.float32) / 255
    scores = [classify(image=i[None])["outputs"] for i in images]
    np.save(path + ".npy", np.concatenate(scores).argmax(axis=-1))
"""


# The int8 outputs of the file of argv[1] for the pixels of argv[2], by the
# runtime for microcontrollers; it says on stderr what it needed.
_RUN_MICRO = """
import sys

import numpy as np
from tflite_micro import runtime

network = runtime.Interpreter.from_file(sys.argv[1], arena_size=2**20)
scores = []
for pixels in np.load(sys.argv[2]):
    network.set_input((pixels[None].astype(int) - 128).astype(np.int8), 0)
    network.invoke()
    scores.append(network.get_output(0)[0])
np.save(sys.argv[1] + ".npy", scores)
network.print_allocations()
"""


def _network(architecture):
    """A network with random weights, statistics of batch norms included."""
    keras.utils.set_random_seed(0)
    model = build(architecture, INPUT_SHAPE, NUM_CLASSES)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "variance" in variable.path:
            variable.assign(rng.uniform(0.1, 0.3, variable.shape))
        elif "gamma" in variable.path:
            variable.assign(rng.uniform(0.3, 1, variable.shape))
        elif len(variable.shape) == 1:  # biases and means
            variable.assign(rng.normal(0, 0.2, variable.shape))
    return model


def _images(num, shape=INPUT_SHAPE):
    """Noise of another brightness in each image."""
    rng = np.random.default_rng(1)
    brightness = np.linspace(0.1, 1, num, dtype=np.float32)
    noise = rng.random((num, *shape), np.float32)
    return brightness[:, None, None, None] * noise


def _keras_outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def _interpreter(content):
    """One that shows the operations of the file, not what replaces them."""
    types = tf.lite.experimental.OpResolverType
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter")
        return tf.lite.Interpreter(
            model_content=content,
            experimental_op_resolver_type=types.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )


def _outputs(content, images):
    """What a file gives for images in [0, 1], by the rules of its header."""
    classify = _interpreter(content).get_signature_runner()
    (source,) = classify.get_input_details().values()
    (target,) = classify.get_output_details().values()
    if source["dtype"] == np.int8:
        images = (np.round(images * 255) - 128).astype(np.int8)
    found = np.concatenate([classify(image=i[None])["outputs"] for i in images])
    if target["dtype"] == np.int8:
        scale, zero_point = target["quantization"]
        found = scale * (found.astype(np.float32) - zero_point)
    return found


@pytest.fixture(scope="module")
def digits():
    bunch = sklearn.datasets.load_digits()
    images = (bunch.images[..., None] / 16).astype(np.float32)
    splits = [
        Split(images[part], bunch.target[part].astype(np.int32))
        for part in np.split(np.arange(1500), [1000, 1250])
    ]
    return Dataset("digits", NUM_CLASSES, *splits)


@pytest.fixture(scope="module")
def student(digits):
    """A trained network."""
    keras.utils.set_random_seed(0)
    model = build(STUDENT, INPUT_SHAPE, NUM_CLASSES)
    train(model, digits, Recipe(epochs=12), seed=0)
    return model


@pytest.fixture(scope="module")
def files(student, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert") / "new" / "student"
    return export_litert(student, folder, digits.train.images)


def test_a_float32_file_gives_the_outputs_of_the_keras_model():
    model = _network(ALL_KINDS)
    images = _images(20)
    expected = _keras_outputs(model, images)
    assert expected.std(axis=0).min() > 1e-2  # they tell the images apart
    np.testing.assert_allclose(
        _outputs(convert(model), images), expected, atol=1e-4
    )


def test_batch_norms_and_activations_are_folded_into_the_convolutions():
    model = _network(STUDENT)
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    num_convolutions = sum(isinstance(layer, kinds) for layer in model.layers)
    details = _interpreter(convert(model))._get_ops_details()
    operations = [detail["op_name"] for detail in details]
    others = [name for name in operations if "CONV_2D" not in name]
    assert len(operations) - len(others) == num_convolutions == 9
    assert others == ["MAX_POOL_2D", "MAX_POOL_2D", "MEAN", "FULLY_CONNECTED"]


def test_a_model_of_somebody_else_keeps_its_layers_in_front_and_its_softmax():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((9, 7, 3)),
            layers.RandomFlip(),
            layers.Rescaling(2.0, -1.0),
            layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 3]),
            layers.Conv2D(8, 3, activation="silu"),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    images = _images(20, (9, 7, 3))
    expected = _keras_outputs(model, images)
    for precision, tolerance in (("float32", 1e-5), ("int8", 0.05)):
        found = _outputs(convert(model, precision, images), images)
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_a_model_for_mixed_precision_is_written_in_float32():
    with dtype_policy("mixed_float16"):
        mixed = _network(STUDENT)
    assert mixed.compute_dtype == "float16"
    float32 = convert(_network(STUDENT))
    assert convert(mixed) == float32


@pytest.mark.parametrize("has_input", [True, False])
def test_mixed_precision_may_be_that_of_a_nested_model(has_input):
    image = keras.Input(INPUT_SHAPE)
    with dtype_policy("mixed_float16"):
        layers = [keras.layers.Rescaling(1 / 255), _network(STUDENT)]
        nested = keras.Sequential([image] * has_input + layers)
        nested.build((None, *INPUT_SHAPE))
    model = keras.Model(image, nested(keras.layers.Rescaling(255.0)(image)))
    images = _images(20)
    expected = _keras_outputs(_network(STUDENT), images)
    for found in (nested, model):
        found = _outputs(
            convert(found), images * (255 if found is nested else 1)
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_is_as_large_as_its_weights_and_little_more():
    network = Architecture.parse("conv3x3-64 conv3x3-128 conv3x3-128")
    model = build(network, INPUT_SHAPE, NUM_CLASSES)
    for precision, width in zip(PRECISIONS, (4, 2, 1), strict=True):
        size = len(convert(model, precision, _images(4)))
        # Folding takes away three numbers a filter; int8 adds 28 bytes.
        assert size == pytest.approx(
            width * model.count_params(), abs=30 * 320 + 5_000
        )


def test_the_file_of_a_small_network_holds_no_names():
    content = convert(build(STUDENT, INPUT_SHAPE, NUM_CLASSES))
    strings = b" ".join(re.findall(rb"[ -~]{6,}", content)).decode()
    assert "serving_default" in strings
    assert not re.search("network|conv_|norm|relu|classifier", strings, re.I)


def test_the_student_of_the_demonstration_is_a_fortieth_of_its_teacher():
    teacher = convert(_network(TEACHER))
    for architecture in (STUDENT, Architecture.parse(_LARGER_STUDENT)):
        student = convert(_network(architecture), "int8", _images(10))
        assert len(student) < len(teacher) / 40
    assert num_params(architecture, INPUT_SHAPE, NUM_CLASSES) > 8_000


_LARGER_STUDENT = (
    "separable_conv3x3-32 separable_conv3x3-24 max_pool2x2/2 conv3x3-24 "
    "separable_conv3x3-20 max_pool2x2/2 separable_conv3x3-14"
)


def test_the_files_classify_in_a_process_that_has_nothing_of_ours(
    student, files, digits, tmp_path
):
    images = np.round(255 * digits.test.images).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    fresh.output(_CLASSIFY, "images.npy", *files.values(), cwd=tmp_path)
    expected = _keras_outputs(student, digits.test.images).argmax(axis=-1)
    # Or else agreement would mean little.
    assert np.mean(expected == digits.test.labels) > 0.85
    for precision, least in (("float32", 1), ("float16", 0.99), ("int8", 0.97)):
        classes = np.load(f"{files[precision]}.npy")
        assert np.mean(classes == expected) >= least


@pytest.mark.parametrize("architecture", [ALL_KINDS, STUDENT, TEACHER])
def test_a_microcontroller_gives_the_same_in_the_memory_that_was_counted(
    architecture, tmp_path
):
    pytest.importorskip("tflite_micro")
    path, images = tmp_path / "int8.tflite", _images(20)
    path.write_bytes(convert(_network(architecture), "int8", images))
    np.save(tmp_path / "pixels.npy", np.round(255 * images).astype(np.uint8))
    done = fresh.run(_RUN_MICRO, path.name, "pixels.npy", cwd=tmp_path)
    found = np.load(f"{path}.npy")
    classify = _interpreter(path.read_bytes()).get_signature_runner()
    (details,) = classify.get_output_details().values()
    scale, zero_point = details["quantization"]
    expected = _outputs(path.read_bytes(), images) / scale + zero_point
    assert found.std(axis=0).mean() > 1  # they tell the images apart
    np.testing.assert_allclose(found, expected, atol=2)
    (arena,) = re.findall(r"allocation head (\d+) bytes", done.stderr)
    # Of the whole arena this is what is not notes of the operations.
    assert ram_bytes(path) <= int(arena) <= 1.25 * ram_bytes(path)


def test_an_int8_file_takes_a_pixel_less_128_and_nothing_is_float_in_it(
    student, digits
):
    pale = 0.3 + 0.4 * digits.train.images  # no value near 0 or 1
    interpreter = _interpreter(convert(student, "int8", pale))
    (details,) = interpreter.get_input_details()
    assert details["dtype"] == np.int8
    assert details["quantization"] == (pytest.approx(1 / 255), -128)
    assert {d["dtype"] for d in interpreter.get_tensor_details()} <= {
        np.int8,
        np.int32,  # biases, axes
    }


def test_convolutions_have_a_scale_a_filter_and_dense_layers_one(files):
    interpreter = _interpreter(files["int8"].read_bytes())
    weights = [
        (details["shape"], details["quantization_parameters"]["scales"])
        for details in interpreter.get_tensor_details()
        if details["dtype"] == np.int8 and len(details["shape"]) in (2, 4)
    ]
    scales = {tuple(shape): len(scales) for shape, scales in weights}
    assert scales[15, 3, 3, 12] == 15  # filters come first
    assert scales[1, 3, 3, 22] == 22  # depthwise
    assert scales[NUM_CLASSES, 14] == 1


def test_bytes_of_an_untrained_network_are_those_of_the_trained_one(files):
    untrained = build(STUDENT, INPUT_SHAPE, NUM_CLASSES)
    before = untrained.get_weights()
    assert file_bytes(untrained) == files["int8"].stat().st_size
    for weights, kept in zip(untrained.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)


def test_bytes_calibrate_as_the_same_images_in_0_to_1_do():
    model = build(STUDENT, INPUT_SHAPE, NUM_CLASSES)
    pixels = np.round(255 * _images(4)).astype(np.uint8)
    assert convert(model, "int8", pixels) == convert(
        model, "int8", unit(pixels)
    )


def test_a_conversion_says_nothing_on_the_way(capfd):
    model = build(STUDENT, INPUT_SHAPE, NUM_CLASSES)
    capfd.readouterr()
    convert(model, "int8", _images(4))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (None, "got none"),
        (np.zeros((5, 8, 8, 3)), r"got shape \[5, 8, 8, 3\]"),
        (np.zeros((0, 8, 8, 1)), r"got shape \[0, 8, 8, 1\]"),
        (np.full((5, 8, 8, 1), 255.0), "got 255 to 255"),
    ],
)
def test_int8_without_fitting_images_is_an_error(images, got):
    model = build(STUDENT, INPUT_SHAPE, NUM_CLASSES)
    with pytest.raises(ConversionError, match=got):
        convert(model, "int8", images)


def test_an_unknown_precision_is_an_error():
    model = build(STUDENT, INPUT_SHAPE, NUM_CLASSES)
    with pytest.raises(ValueError, match="float32, float16, int8; got 'int4'"):
        convert(model, "int4")


def test_a_model_for_images_of_any_size_is_an_error():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(inputs))
    with pytest.raises(ConversionError, match="fixed input shape"):
        convert(model)


def test_what_litert_does_not_know_is_an_error_that_names_it():
    inputs = keras.Input(INPUT_SHAPE)
    model = keras.Model(inputs, keras.ops.erfinv(inputs), name="odd")
    with pytest.raises(ConversionError, match="odd cannot be .*Erfinv"):
        convert(model)
