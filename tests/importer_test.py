"""Tests of `importer`: what `build` makes and what others make by hand."""

import collections

import keras
import numpy as np
import pytest
from keras import layers
from people_models import READ, REFUSED

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.importer import UnsupportedModelError, explain, from_keras
from archcomp_tf.layer import KINDS, Layer
from archcomp_tf.reading import Reading
from archcomp_tf.two_classes import as_two_classes

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
        *map(layers.Activation, ["tanh", "sigmoid", "softplus", "mish"]),
    ],
)
def test_every_common_activation_counts_as_relu(activation):
    assert str(from_keras(sequential(conv(8, 3), activation))) == "conv3x3-8"


@pytest.mark.parametrize(
    "head",
    [
        [layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten()],
        [layers.AveragePooling2D(8), layers.Flatten()],
        [lambda x: keras.ops.mean(x, axis=(1, 2))],
        [lambda x: keras.ops.mean(x, axis=(-3, -2), keepdims=True)],
        [layers.AveragePooling2D(8, strides=1), layers.Flatten()],
    ],
)
def test_a_pool_over_the_whole_map_is_implied(head):
    image = keras.Input((8, 8, 3))
    x = conv(6, 3, activation="relu")(image)
    for layer in head:
        x = layer(x)
    x = layers.Dense(CLASSES, activation="softmax")(x)
    assert str(from_keras(keras.Model(image, x))) == "conv3x3-6"


@pytest.mark.parametrize("apart", [False, True])
def test_a_sigmoid_a_class_ends_a_classifier_as_a_softmax_does(apart):
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(conv(6, 3, activation="relu")(image))
    x = layers.Dense(CLASSES, activation=None if apart else "sigmoid")(x)
    if apart:
        x = layers.Activation("sigmoid")(x)
    reading = explain(keras.Model(image, x))
    assert str(reading.architecture) == "conv3x3-6"
    assert reading.num_classes == CLASSES
    assert "sigmoid built" not in str(reading)


@pytest.mark.parametrize("axis", [1, (1, 3), None])
def test_another_mean_is_no_pool(axis):
    image = keras.Input((8, 8, 3))
    x = keras.ops.mean(conv(6, 3)(image), axis=axis, keepdims=True)
    x = layers.Dense(CLASSES)(layers.Flatten()(x))
    with pytest.raises(UnsupportedModelError, match=r"a mean over the axes"):
        from_keras(keras.Model(image, x))


def test_scaling_inside_a_model_is_left_out_and_said():
    def block(x):
        x = layers.Rescaling(2.0)(conv(3, 3, activation="relu")(x))
        y = conv(3, 3)(conv(3, 3, activation="relu")(x))
        return layers.ReLU()(x + 0.1 * y)

    model = graph(block)
    x = layers.Softmax()(model.output / 2.0)
    reading = explain(keras.Model(model.input, x))
    assert str(reading.architecture) == "conv3x3-3 residual3x3-3"
    remarks = [remark for row in reading.rows for remark in row.remarks]
    assert remarks == [
        "Rescaling left out",
        "Multiply left out",
        "TrueDivide left out",
    ]


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


def check(reading, model: keras.Model) -> None:
    """Every weight is in a row, and every row says why it differs."""
    built = cost.num_params(
        reading.architecture, reading.input_shape, reading.num_classes
    )
    rows = reading.rows
    assert sum(row.num_params for row in rows) == model.count_params()
    assert sum(row.built_params for row in rows) == built
    for row in rows:
        differences = row.built_params - row.num_params
        assert sum(row.causes.values()) == differences


def differences(reading) -> collections.Counter:
    """Weights built minus weights in the model, by cause."""
    total = collections.Counter()
    for row in reading.rows:
        total.update(row.causes)
    return total


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_a_built_model_differs_in_nothing_from_what_is_built_of_it(seed):
    model = build(random_architecture(seed), SHAPE, CLASSES)
    reading = explain(model)
    check(reading, model)
    assert [row.why for row in reading.rows] == [""] * len(reading.rows)
    assert (reading.input_shape, reading.num_classes) == (SHAPE, CLASSES)


@pytest.mark.parametrize("function", READ, ids=lambda f: f.__name__)
def test_a_model_as_people_write_it_is_read_and_explained(function):
    model = function()
    reading = explain(model)
    assert str(reading.architecture) == READ[function]
    check(reading, model)


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_a_model_of_other_layers_is_refused_by_the_name_of_one(function):
    name, needed = REFUSED[function]
    with pytest.raises(UnsupportedModelError) as error:
        from_keras(function())
    assert repr(name) in str(error.value)
    assert needed in str(error.value).partition("expected ")[2]


def application(name: str) -> tuple[keras.Model, Reading]:
    """A model of Keras', read, and held against what is built of it."""
    shape = 32, 32, 3
    function = getattr(keras.applications, name)
    model = function(input_shape=shape, weights=None, classes=9)
    reading = explain(model)
    check(reading, model)
    built = build(from_keras(model), shape, 9).count_params()
    total = sum(differences(reading).values())
    assert built - model.count_params() == total
    return model, reading


def test_vgg16_of_keras_lacks_the_batch_norms_alone():
    _, reading = application("VGG16")
    assert str(reading.architecture) == (
        "conv3x3-64 conv3x3-64 max_pool2x2/2 conv3x3-128 conv3x3-128 "
        "max_pool2x2/2 conv3x3-256 conv3x3-256 conv3x3-256 max_pool2x2/2 "
        "conv3x3-512 conv3x3-512 conv3x3-512 max_pool2x2/2 conv3x3-512 "
        "conv3x3-512 conv3x3-512 max_pool2x2/2 flatten dense-4096 dense-4096"
    )
    filters = (64 * 2 + 128 * 2 + 256 * 3) + 512 * 6
    assert differences(reading) == {"batch norm": 4 * filters}
    assert not any(row.remarks for row in reading.rows)


def test_mobilenet_of_keras_lacks_the_bias_of_its_first_convolution():
    _, reading = application("MobileNet")
    expected = ["conv3x3-32/2"]
    for filters, repeats, strides in (
        (64, 1, 1),
        (128, 2, 2),
        (256, 2, 2),
        (512, 6, 2),
        (1024, 2, 2),
    ):
        block = f"separable_conv3x3-{filters}"
        expected += [f"{block}/{strides}" if strides > 1 else block]
        expected += [block] * (repeats - 1)
    assert str(reading.architecture) == " ".join(expected)
    assert differences(reading) == {"bias": 32}
    assert reading.rows[0].causes == {"bias": 32}
    assert reading.rows[-1].remarks == ("a convolution of one pixel",)


def test_mobilenet_v2_of_keras_is_table_2_of_its_paper_but_for_two_biases():
    _, reading = application("MobileNetV2")
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
    assert str(reading.architecture) == expected + "conv1x1-1280"
    assert differences(reading) == {"bias": 32 + 1280}
    remarks = {text for row in reading.rows for text in row.remarks}
    assert remarks == {"ReLU(6) built as relu"}


def test_efficientnet_of_keras_is_table_1_of_its_paper_without_its_gates():
    _, reading = application("EfficientNetB0")
    expected = "conv3x3-32/2 "
    for expansion, size, filters, repeats, strides in (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ):
        block = f"inverted_residual{size}x{size}-{filters}x{expansion}"
        expected += f"{block}/2 " if strides == 2 else f"{block} "
        expected += f"{block} " * (repeats - 1)
    assert str(reading.architecture) == expected + "conv1x1-1280"
    gated = [row for row in reading.rows if "a gate left out" in row.remarks]
    assert len(gated) == 16
    # Two dense layers, to a quarter of the block's input and back.
    first, second = gated[:2]
    assert first.causes == {"kernel": -2 * 32 * 8, "bias": -(8 + 32)}
    assert second.causes == {"kernel": -2 * 96 * 4, "bias": -(4 + 96)}


def test_mobilenet_v3_of_keras_is_read_with_whole_expansions():
    _, reading = application("MobileNetV3Small")
    texts = str(reading.architecture).split()
    assert texts[0] == "conv3x3-16/2"
    assert texts[-2:] == ["conv1x1-576", "dense-1024"]
    (row,) = [
        row
        for row in reading.rows
        if any(text.startswith("expands") for text in row.remarks)
    ]
    assert row.read_as == "inverted_residual3x3-24x4"
    assert "expands to 88, built to 96" in row.remarks
    # 8 more channels, to and from 24, and a window of 9 of each.
    assert row.causes == {"kernel": 8 * (24 + 24 + 9), "batch norm": 8 * 8}


def test_resnet50_of_keras_has_biases_and_strides_elsewhere():
    model, reading = application("ResNet50")
    blocks = [
        f"bottleneck3x3-{filters}" + "/2" * (filters > 256 and index == 0)
        for filters, num in ((256, 3), (512, 4), (1024, 6), (2048, 3))
        for index in range(num)
    ]
    expected = ["conv7x7-64/2", "max_pool3x3/2", *blocks]
    assert str(reading.architecture) == " ".join(expected)
    convs = [x for x in model.layers if isinstance(x, layers.Conv2D)]
    biases = sum(layer.filters for layer in convs if layer.name != "conv1_conv")
    assert differences(reading) == {"bias": -biases}
    moved = [row.read_as for row in reading.rows if row.remarks]
    assert moved == [block for block in blocks if block.endswith("/2")]


def test_resnet50_v2_of_keras_is_read_too():
    _, reading = application("ResNet50V2")
    blocks = [
        f"bottleneck3x3-{filters}"
        + "/2" * (index == num - 1 and filters < 2048)
        for filters, num in ((256, 3), (512, 4), (1024, 6), (2048, 3))
        for index in range(num)
    ]
    assert str(reading.architecture).split()[2:] == blocks


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
        (layers.LayerNormalization(), "LayerNormalization"),
        (conv(4, (1, 3), activation="relu"), "square window"),
        (layers.MaxPooling2D(2, (1, 2), padding="same"), "square strides"),
        (conv(4, 3, dilation_rate=2, activation="relu"), "dilation_rate 1"),
        (conv(6, 3, groups=3, activation="relu"), "groups 1"),
        (
            layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2),
            "depth_multiplier 1",
        ),
        (layers.MaxPooling2D(3, data_format="channels_first"), "channels last"),
        (conv(4, 3, activation="softmax"), "the start of one of conv"),
        (conv(4, 3, activation="log_softmax"), "an activation such as relu"),
        (layers.Activation("glu"), "an activation such as relu"),
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


def test_grey_images_may_have_no_channel():
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )
    reading = explain(model)
    assert str(reading.architecture) == "flatten dense-32"
    assert reading.input_shape == (28, 28, 1)
    built = build(reading.architecture, reading.input_shape, 10)
    assert built.count_params() == model.count_params()


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


def test_of_a_subclassed_model_its_call_is_read():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(4, 3, padding="same", activation="relu")
            self.pool = layers.GlobalAveragePooling2D()
            self.classifier = layers.Dense(3)

        def call(self, images):
            return self.classifier(self.pool(self.conv(images)))

    model = Subclassed()
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3))
    expected = model(images)
    with pytest.raises(UnsupportedModelError, match=r"model\.call\(i\)"):
        from_keras(model)
    i = keras.Input((8, 8, 3))
    functional = keras.Model(i, model.call(i))
    np.testing.assert_allclose(functional(images), expected, atol=1e-6)
    assert str(from_keras(functional)) == "conv3x3-4"


def test_a_model_without_a_graph_is_refused():
    assert refused(keras.Sequential([layers.Dense(2)], name="open"), "open")
    assert refused(keras.Model(name="bare"), "bare")
    with pytest.raises(UnsupportedModelError, match="call or build it first"):
        from_keras(keras.Sequential([layers.Dense(2)]))


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="a Keras model.*got 'm.keras'"):
        from_keras("m.keras")


def test_padding_valid_is_read_as_same_and_said():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    reading = explain(model)
    check(reading, model)
    conv_row, flatten, classifier = reading.rows
    assert str(reading.architecture) == "conv3x3-4 flatten"
    assert conv_row.remarks == (
        "padding 'valid' built as 'same'",
        "gives 6x6x4, built 8x8x4",
    )
    assert flatten.remarks == ("gives 144 values, built 256 values",)
    assert classifier.causes == {"kernel": (256 - 144) * CLASSES}


def test_padding_is_not_worth_a_word_where_the_maps_are_the_same():
    model = sequential(
        layers.ZeroPadding2D(1), layers.Conv2D(4, 3, activation="relu")
    )
    assert not explain(model).rows[0].remarks


def test_a_convolution_of_the_whole_map_is_flatten_and_dense():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.Conv2D(6, 4, activation="relu"),
            layers.Conv2D(5, 1, activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    reading = explain(model)
    check(reading, model)
    assert str(reading.architecture) == "flatten dense-6 dense-5"
    assert not differences(reading)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_convolution_that_gives_the_classes_is_the_classifier(activation):
    image = keras.Input((8, 8, 3))
    x = conv(6, 3, activation="relu")(image)
    x = layers.Conv2D(CLASSES, 1, activation=activation)(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Softmax()(x))
    reading = explain(model)
    check(reading, model)
    assert str(reading.architecture) == "conv3x3-6"
    assert differences(reading) == {"batch norm": 4 * 6}
    left_out = "an activation left out" in reading.rows[-1].remarks
    assert left_out == (activation == "relu")


def test_an_activation_may_be_missing_or_stand_alone():
    lacking = explain(sequential(conv(4, 3)))
    assert str(lacking.architecture) == "conv3x3-4"
    assert lacking.rows[0].remarks == ("an activation added",)
    alone = explain(sequential(layers.Activation("relu")))
    assert str(alone.architecture) == ""
    assert alone.rows[0].remarks == ("an activation left out",)


def test_a_front_is_a_row_of_its_own():
    model = sequential(
        layers.Rescaling(1 / 255),
        layers.Normalization(),
        conv(4, 3, activation="relu"),
    )
    reading = explain(model)
    check(reading, model)
    front = reading.rows[0]
    means_variances_and_count = 3 + 3 + 1
    assert front.read_as == "front"
    assert front.causes == {"front": -means_variances_and_count}


def test_images_of_an_open_size_are_read_behind_a_resizing():
    image = keras.Input((None, None, 3))
    x = conv(4, 3, activation="relu")(layers.Resizing(8, 6)(image))
    x = layers.Dense(CLASSES)(layers.Flatten()(x))
    reading = explain(keras.Model(image, x))
    assert reading.input_shape == (8, 6, 3)
    assert str(reading.architecture) == "conv3x3-4 flatten"


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_classifier_with_one_output_says_how_it_is_read(activation):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.Flatten(),
            layers.Dense(1, activation=activation),
        ]
    )
    with pytest.raises(UnsupportedModelError, match="as_two_classes"):
        from_keras(model)
    read = from_keras(as_two_classes(model))
    assert str(read) == "conv3x3-4 flatten"
