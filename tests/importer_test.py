"""Tests of `importer`: what `build` makes and what others make by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.importer import UnsupportedModelError, from_keras
from archcomp_tf.layer import KINDS, Layer

SHAPE = (9, 8, 3)
CLASSES = 4
FIELD_VALUES = {
    "filters": (2, 3, 4, 6, 12),
    "kernel_size": (1, 2, 3, 5),
    "strides": (1, 2),
    "expansion": (1, 2, 3),
}


def random_layer(rng: np.random.Generator, kind: str) -> Layer:
    fields = KINDS[kind].fields
    return Layer(kind, **{f: int(rng.choice(FIELD_VALUES[f])) for f in fields})


def random_architecture(seed: int) -> Architecture:
    """One to six layers, among them one of the kind that `seed` points at."""
    rng = np.random.default_rng(seed)
    maps = [kind for kind, spec in KINDS.items() if spec.stage in (0, None)]
    kinds = [list(KINDS)[seed % len(KINDS)]]
    kinds += rng.choice(maps, rng.integers(0, 4)).tolist()
    kinds += ["flatten"] * int(rng.integers(2)) * ("flatten" not in kinds)
    kinds += ["dense"] * int(rng.integers(2))
    rng.shuffle(kinds)
    kinds.sort(key=lambda kind: KINDS[kind].stage or 0)
    return Architecture(tuple(random_layer(rng, kind) for kind in kinds))


def sequential(*hidden: keras.Layer) -> keras.Model:
    """A classifier of 8x8 images made of `hidden`, a pool and a Dense."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *hidden,
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES),
        ]
    )


def graph(function) -> keras.Model:
    """A classifier of 8x8 images around `function` of a tensor."""
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(function(image))
    return keras.Model(image, layers.Dense(CLASSES)(x))


def conv(filters: int, kernel_size: int, **kwargs) -> keras.Layer:
    return layers.Conv2D(filters, kernel_size, padding="same", **kwargs)


@pytest.mark.parametrize("seed", range(60))
def test_a_built_model_reads_back_as_its_architecture(seed):
    architecture = random_architecture(seed)
    model = build(architecture, SHAPE, CLASSES)
    read = from_keras(model)
    assert read == architecture.compact
    assert cost.num_params(read, SHAPE, CLASSES) == model.count_params()


@pytest.mark.parametrize("filters", [4, 6])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize(
    "kind", ["residual", "bottleneck", "inverted_residual"]
)
def test_a_block_reads_back_with_and_without_a_change_of_shape(
    kind, strides, filters
):
    architecture = Architecture(
        (Layer("conv", 4), Layer(kind, filters, 3, strides))
    )
    assert from_keras(build(architecture, SHAPE, CLASSES)) == architecture


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv1x1-6 separable_conv3x3-8",
        "conv1x1-6 inverted_residual3x3-8x1",
        "inverted_residual3x3-8x2 conv1x1-8 separable_conv3x3-8/2",
        "inverted_residual3x3-8x1/2 inverted_residual3x3-6x1",
        "separable_conv3x3-8 inverted_residual3x3-6x1 conv1x1-6",
        "conv1x1-4 residual1x1-8 bottleneck1x1-8 residual1x1-8",
        "max_pool1x1 avg_pool9x9/9",
        "avg_pool9x9/9 flatten",
        "dense-4",
        "flatten dense-4 dense-4",
    ],
)
def test_neighbours_that_look_alike_read_back(text):
    architecture = Architecture.parse(text)
    model = build(architecture, (9, 9, 3), CLASSES)
    assert str(from_keras(model)) == text


def test_a_hand_made_sequential_model_reads_as_its_structure():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.RandomFlip(),
            layers.Rescaling(1 / 255),
            conv(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.SpatialDropout2D(0.1),
            conv(12, 5, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.SeparableConv2D(16, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="gelu"),
            layers.Dropout(0.5),
            layers.Dense(CLASSES),
            layers.Softmax(),
        ]
    )
    assert str(from_keras(model)) == (
        "conv3x3-8 max_pool2x2/2 conv5x5-12/2 separable_conv3x3-16 flatten "
        "dense-10"
    )


def test_batch_norm_is_all_that_a_plain_convolution_lacks():
    model = sequential(conv(8, 3, activation="relu"))
    read = from_keras(model)
    batch_norm = 4 * 8
    assert (
        cost.num_params(read, (8, 8, 3), CLASSES)
        == model.count_params() + batch_norm
    )


@pytest.mark.parametrize(
    "activation",
    [
        layers.ReLU(max_value=6),
        layers.ELU(),
        layers.PReLU(),
        *map(layers.Activation, ["relu6", "swish", "gelu", "hard_silu"]),
    ],
)
def test_every_common_activation_counts_as_relu(activation):
    assert str(from_keras(sequential(conv(8, 3), activation))) == "conv3x3-8"


@pytest.mark.parametrize(
    "head",
    [
        [layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten()],
        [layers.AveragePooling2D(8), layers.Flatten()],
        [layers.AveragePooling2D(8, strides=1), layers.Flatten()],
    ],
)
def test_a_pool_over_the_whole_map_is_implied(head):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            conv(6, 3, activation="relu"),
            *head,
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    assert str(from_keras(model)) == "conv3x3-6"


def test_zero_padding_that_replaces_padding_same_is_left_out():
    model = sequential(
        layers.ZeroPadding2D(1), layers.Conv2D(4, 3, 2, activation="relu")
    )
    assert str(from_keras(model)) == "conv3x3-4/2"


def test_the_order_of_a_sum_does_not_matter():
    def block(x):
        shortcut = conv(6, 1)(x)
        x = conv(6, 3)(conv(6, 3, activation="relu")(x))
        return layers.ReLU()(shortcut + x)

    assert str(from_keras(graph(block))) == "residual3x3-6"


def test_a_model_inside_a_model_is_read_in_its_place():
    trunk = keras.Sequential(
        [keras.Input((8, 8, 3)), conv(6, 3), layers.ReLU()]
    )
    model = sequential(trunk, conv(8, 1, activation="relu"))
    assert str(from_keras(model)) == "conv3x3-6 conv1x1-8"


def test_mobilenet_v2_reads_as_table_2_of_its_paper():
    model = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=9)
    expected = "conv3x3-32/2 "
    for expansion, filters, repeats, strides in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        block = f"inverted_residual3x3-{filters}x{expansion}"
        expected += f"{block}/2 " if strides == 2 else f"{block} "
        expected += f"{block} " * (repeats - 1)
    assert str(from_keras(model)) == expected + "conv1x1-1280"


def test_without_the_biases_of_build_the_wider_block_is_read():
    model = sequential(
        conv(6, 1, activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        conv(4, 1),
    )
    assert str(from_keras(model)) == "inverted_residual3x3-4x2"


@pytest.mark.parametrize(
    ("layer", "needed"),
    [
        (layers.Conv2DTranspose(4, 3, activation="relu"), "Conv2DTranspose"),
        (layers.GlobalMaxPooling2D(keepdims=True), "GlobalMaxPooling2D"),
        (layers.LayerNormalization(), "LayerNormalization"),
        (conv(4, (1, 3), activation="relu"), "square window"),
        (layers.MaxPooling2D(2, (1, 2), padding="same"), "square strides"),
        (conv(4, 3, dilation_rate=2, activation="relu"), "dilation_rate 1"),
        (conv(6, 3, groups=3, activation="relu"), "groups 1"),
        (
            layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2),
            "depth_multiplier 1",
        ),
        (layers.Conv2D(4, 3, activation="relu"), "padding 'same'"),
        (layers.MaxPooling2D(3, data_format="channels_first"), "channels last"),
        (conv(4, 3), "relu next in conv3x3-4"),
        (conv(4, 3, activation="tanh"), "an activation such as relu"),
        (layers.Activation("relu"), "the start of one of conv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_that_cannot_be_described_is_named(layer, needed):
    with pytest.raises(UnsupportedModelError) as error:
        from_keras(sequential(layer))
    assert f"{layer.name!r} ({type(layer).__name__})" in str(error.value)
    assert needed in str(error.value)


def refused(model: keras.Model, name: str) -> bool:
    with pytest.raises(UnsupportedModelError) as error:
        from_keras(model)
    return repr(name) in str(error.value)


def test_paths_that_meet_elsewhere_than_in_a_sum_of_two_are_refused():
    def concatenate(x):
        return layers.Concatenate(name="join")([x, conv(4, 3)(x)])

    def three(x):
        return layers.Add(name="join")([x, conv(3, 3)(x), conv(3, 1)(x)])

    def nested(x):
        inner = layers.Add()([x, conv(3, 3)(x)])
        return layers.Add(name="join")([x, conv(3, 1)(inner)])

    def nested_in_a_model(x):
        image = keras.Input((8, 8, 3))
        inner = keras.Model(image, layers.Add()([image, conv(3, 3)(image)]))
        return layers.Add(name="join")([x, inner(x)])

    for function in (concatenate, three, nested, nested_in_a_model):
        assert refused(graph(function), "join")


def test_a_sum_that_is_no_kind_of_block_is_refused():
    model = graph(lambda x: layers.Add(name="join")([x, conv(3, 3)(x)]))
    assert refused(model, "join")


def test_a_layer_used_twice_is_refused():
    shared = conv(3, 3, activation="relu", name="shared")
    assert refused(graph(lambda x: shared(shared(x))), "shared")


def test_two_inputs_or_outputs_are_refused():
    model = sequential()
    image = keras.Input((8, 8, 3), name="second")
    x = layers.Add()([model.inputs[0], image])
    x = layers.Dense(CLASSES, name="first_out")(layers.Flatten()(x))
    assert refused(keras.Model([model.inputs[0], image], x), "second")
    assert refused(keras.Model(image, [image, image]), "second")


def test_a_text_classifier_is_refused():
    model = keras.Sequential(
        [keras.Input((8,)), layers.Embedding(9, 4), layers.LSTM(4)], name="text"
    )
    assert refused(model, "text")


def test_an_image_of_open_size_is_refused():
    image = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(image)
    assert refused(keras.Model(image, layers.Dense(2)(x), name="open"), "open")


def test_a_model_without_a_classifier_is_refused():
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(image)
    assert refused(keras.Model(image, x), "pool")
    x = layers.Dense(2, activation="relu", name="hidden")(x)
    assert refused(keras.Model(image, x), "hidden")
    assert refused(keras.Model(image, image, name="empty"), "empty")


def test_a_model_without_a_graph_is_refused():
    assert refused(keras.Sequential([layers.Dense(2)], name="open"), "open")
    assert refused(keras.Model(name="bare"), "bare")
