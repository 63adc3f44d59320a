"""Tests of `archcomp_tf.builder`."""

import collections

import fresh
import keras
import numpy as np
import pytest

from archcomp_tf import cost, layer
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import dtype_policy
from archcomp_tf.builder import build
from archcomp_tf.encoding import Encoding
from archcomp_tf.layer import Block, Kind, Op
from archcomp_tf.search_space import SearchSpace

INPUT_SHAPE = (9, 7, 3)
NUM_CLASSES = 5

# Every kind, with strides, with and without projected shortcuts.
MAPS = (
    "conv3x3-4 separable_conv3x3-6/2 residual3x3-6 residual3x3-8 "
    "bottleneck3x3-8 inverted_residual3x3-8x2 max_pool2x2 avg_pool2x2/2"
)
TEXTS = ["", MAPS, f"{MAPS} flatten dense-6", f"{MAPS} dense-6 dense-4"]


def _images(num: int = 4, shape=INPUT_SHAPE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(size=(num, *shape)).astype(np.float32)


def _outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


@pytest.mark.parametrize("text", TEXTS)
def test_a_network_gives_one_number_a_class_for_each_image(text):
    model = build(Architecture.parse(text), INPUT_SHAPE, NUM_CLASSES)
    assert model.input_shape == (None, *INPUT_SHAPE)
    assert model.output_shape == (None, NUM_CLASSES)
    assert _outputs(model, _images(3)).shape == (3, NUM_CLASSES)


@pytest.mark.parametrize("text", TEXTS)
def test_outputs_are_logits_linear_in_the_classifier(text):
    model = build(Architecture.parse(text), INPUT_SHAPE, NUM_CLASSES)
    classifier = model.get_layer("classifier")
    kernel, bias = classifier.get_weights()
    bias = bias + np.arange(NUM_CLASSES)
    classifier.set_weights([kernel, bias])
    before = _outputs(model, _images())
    classifier.set_weights([3 * kernel, 3 * bias])
    np.testing.assert_allclose(
        _outputs(model, _images()), 3 * before, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("text", TEXTS)
def test_layer_names_are_unique(text):
    model = build(Architecture.parse(text), INPUT_SHAPE, NUM_CLASSES)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert {"image", "classifier"} <= set(names)


def test_a_network_is_named_after_its_fingerprint():
    architecture = Architecture.parse(MAPS)
    model = build(architecture, INPUT_SHAPE, NUM_CLASSES)
    assert architecture.fingerprint in model.name


@pytest.mark.parametrize("text", TEXTS)
def test_a_saved_network_gives_the_same_outputs_after_loading(text, tmp_path):
    model = build(Architecture.parse(text), INPUT_SHAPE, NUM_CLASSES)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        _outputs(loaded, _images()), _outputs(model, _images())
    )


def test_a_saved_network_loads_where_this_package_is_missing(tmp_path):
    model = build(
        Architecture.parse(f"{MAPS} flatten dense-6"), INPUT_SHAPE, NUM_CLASSES
    )
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", _images())
    code = (
        "import sys; sys.modules['archcomp_tf'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('outputs.npy', model(np.load('images.npy')))\n"
    )
    fresh.output(code, cwd=tmp_path)
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"), _outputs(model, _images()), rtol=1e-5
    )


def test_an_identity_builds_nothing():
    with_identities = build(
        Architecture.parse("identity conv3x3-4 identity dense-4 identity"),
        INPUT_SHAPE,
        NUM_CLASSES,
    )
    without = build(
        Architecture.parse("conv3x3-4 dense-4"), INPUT_SHAPE, NUM_CLASSES
    )
    assert with_identities.get_config() == without.get_config()


@pytest.mark.parametrize(
    ("text", "last_batch_norm", "block_output"),
    [
        ("residual3x3-3", "residual_0_4_batch_norm", keras.ops.relu),
        ("bottleneck3x3-3", "bottleneck_0_7_batch_norm", keras.ops.relu),
        (
            "inverted_residual3x3-3x2",
            "inverted_residual_0_7_batch_norm",
            lambda x: x,
        ),
    ],
)
def test_a_block_whose_branch_gives_zero_gives_its_shortcut(
    text, last_batch_norm, block_output
):
    model = build(Architecture.parse(text), (4, 4, 3), 3)
    scale, *rest = model.get_layer(last_batch_norm).get_weights()
    model.get_layer(last_batch_norm).set_weights([0 * scale, *rest])
    model.get_layer("classifier").set_weights([np.eye(3), np.zeros(3)])
    images = _images(2, (4, 4, 3)) - 0.5
    expected = np.mean(block_output(images), axis=(1, 2))
    np.testing.assert_allclose(_outputs(model, images), expected, atol=1e-6)


def test_two_builds_share_no_weights():
    architecture = Architecture.parse("conv3x3-4")
    one = build(architecture, INPUT_SHAPE, NUM_CLASSES)
    other = build(architecture, INPUT_SHAPE, NUM_CLASSES)
    before = _outputs(other, _images())
    one.set_weights([0 * weights for weights in one.get_weights()])
    assert not np.any(_outputs(one, _images()))
    np.testing.assert_array_equal(_outputs(other, _images()), before)


def test_the_same_seed_builds_the_same_weights():
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        models.append(build(Architecture.parse(MAPS), INPUT_SHAPE, NUM_CLASSES))
    pairs = zip(*(model.get_weights() for model in models), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_an_operation_without_a_keras_layer_is_refused(monkeypatch):
    kind = Kind((), lambda layer, channels: Block((Op("fourier"),)))
    monkeypatch.setitem(layer.KINDS, "fourier", kind)
    with pytest.raises(ValueError, match="No Keras layer .*'fourier'"):
        build(Architecture.parse("fourier"), INPUT_SHAPE, NUM_CLASSES)


def test_one_entry_in_kinds_is_all_that_a_new_kind_takes(monkeypatch):
    def expand(layer, channels):
        del channels
        return Block((Op("conv", layer.filters, use_bias=True), Op("relu")))

    monkeypatch.setitem(layer.KINDS, "pointwise", Kind(("filters",), expand))
    space = SearchSpace.uniform(
        num_slots=2,
        kinds=("pointwise", "conv"),
        filters=(2, 4),
        input_shape=INPUT_SHAPE,
        num_classes=NUM_CLASSES,
    )
    architecture = Architecture.parse("pointwise-4 conv3x3-2")
    encoding = Encoding(space)
    assert encoding.decode(encoding.encode([architecture])) == [architecture]
    assert Architecture.from_json(architecture.to_json()) == architecture
    model = build(architecture, INPUT_SHAPE, NUM_CLASSES)
    num_params = cost.num_params(architecture, INPUT_SHAPE, NUM_CLASSES)
    assert model.count_params() == num_params


def test_other_layers_take_the_place_of_keras_own():
    class OtherNorm(keras.layers.BatchNormalization):
        pass

    class OtherConv(keras.layers.Conv2D):
        pass

    architecture = Architecture.parse("conv3x3-4 separable_conv3x3-4")
    model = build(architecture, (8, 8, 3), 10)
    kinds = collections.Counter(type(layer) for layer in model.layers)
    assert kinds[keras.layers.BatchNormalization] == 3
    assert kinds[keras.layers.Conv2D] == 2
    model = build(
        *(architecture, (8, 8, 3), 10), conv=OtherConv, batch_norm=OtherNorm
    )
    others = collections.Counter(type(layer) for layer in model.layers)
    assert others[OtherNorm] == 3
    assert others[OtherConv] == 2
    assert others[keras.layers.Conv2D] == 0


def test_logits_are_float32_in_mixed_precision_too():
    with dtype_policy("mixed_bfloat16"):
        model = build(Architecture.parse("conv3x3-4 dense-8"), (8, 8, 3), 10)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_channels_are_last_whatever_keras_is_set_to():
    architecture = Architecture.parse(f"{MAPS} flatten dense-6")
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model = build(architecture, INPUT_SHAPE, NUM_CLASSES)
    finally:
        keras.config.set_image_data_format(before)
    expected = cost.num_params(architecture, INPUT_SHAPE, NUM_CLASSES)
    assert model.count_params() == expected
