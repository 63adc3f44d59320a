"""Tests of `archcomp_tf.cost`."""

import keras
import numpy as np
import pytest
import strategies
import tensorflow as tf
from hypothesis import given, settings

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.layer import KINDS
from archcomp_tf.litert import export_litert
from archcomp_tf.measurement import ram_bytes
from archcomp_tf.search_space import SearchSpace

VGG19 = " max_pool2x2/2 ".join(
    " ".join([f"conv3x3-{width}"] * depth)
    for width, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
)
RESNET18 = (
    "conv3x3-64 residual3x3-64 residual3x3-64 "
    "residual3x3-128/2 residual3x3-128 residual3x3-256/2 residual3x3-256 "
    "residual3x3-512/2 residual3x3-512"
)

# Between them they hold every kind, with and without strides and shortcuts.
MIXED = [
    "conv3x3-8 conv5x5-6/2 max_pool2x2/2 avg_pool3x3/2",
    "separable_conv3x3-8 separable_conv5x5-12/2 identity separable_conv1x1-8",
    "residual3x3-3 residual3x3-8 residual5x5-8/2",
    "bottleneck3x3-8 bottleneck3x3-8 bottleneck5x5-12/2 bottleneck3x3-2",
    "inverted_residual3x3-8x1 inverted_residual5x5-8x4 "
    "inverted_residual3x3-12x2/2",
    "conv3x3-4 flatten dense-7 identity dense-5",
    "max_pool3x3/2 dense-9",
]


def test_the_mixed_examples_cover_every_kind():
    kinds = {x.kind for text in MIXED for x in Architecture.parse(text).layers}
    assert kinds == set(KINDS)


def _bn(channels: int) -> int:
    return 4 * channels


# On images of 5x5x3 and for 2 classes, whose classifier is counted apart.
@pytest.mark.parametrize(
    ("text", "layers", "classifier"),
    [
        ("", 0, (3 + 1) * 2),
        ("conv3x3-8", 9 * 3 * 8 + 8 + _bn(8), (8 + 1) * 2),
        (
            "separable_conv5x5-8/2",
            25 * 3 + _bn(3) + 3 * 8 + _bn(8),
            (8 + 1) * 2,
        ),
        ("residual3x3-3", 2 * (9 * 3 * 3 + _bn(3)), (3 + 1) * 2),
        (
            "residual3x3-8",
            9 * 3 * 8 + 9 * 8 * 8 + 3 * 8 + 3 * _bn(8),
            (8 + 1) * 2,
        ),
        (
            "bottleneck3x3-8",
            3 * 2 + 9 * 2 * 2 + 2 * 8 + 3 * 8 + 2 * _bn(2) + 2 * _bn(8),
            (8 + 1) * 2,
        ),
        (
            "inverted_residual3x3-8x4",
            3 * 12 + 9 * 12 + 12 * 8 + 2 * _bn(12) + _bn(8),
            (8 + 1) * 2,
        ),
        (
            "inverted_residual3x3-8x1",
            9 * 3 + 3 * 8 + _bn(3) + _bn(8),
            (8 + 1) * 2,
        ),
        ("max_pool2x2/2", 0, (3 + 1) * 2),
        ("avg_pool2x2/2", 0, (3 + 1) * 2),
        ("flatten", 0, (5 * 5 * 3 + 1) * 2),
        ("max_pool2x2/2 flatten", 0, (3 * 3 * 3 + 1) * 2),
        ("dense-4", (3 + 1) * 4, (4 + 1) * 2),
        ("flatten dense-4", (5 * 5 * 3 + 1) * 4, (4 + 1) * 2),
        ("identity", 0, (3 + 1) * 2),
    ],
)
def test_parameters_of_each_kind_follow_its_formula(text, layers, classifier):
    architecture = Architecture.parse(text)
    assert cost.num_params(architecture, (5, 5, 3), 2) == layers + classifier


@pytest.mark.parametrize(
    ("text", "trainable"),
    [
        # Simonyan and Zisserman's convolutions, batch norm, one classifier.
        (VGG19, 20_040_522),
        # The well-known 11,173,962, and the bias of the first convolution.
        (RESNET18, 11_173_962 + 64),
    ],
)
def test_well_known_networks_have_their_published_size(text, trainable):
    architecture = Architecture.parse(text)
    # Moving mean and variance, half of batch norm, are not trained.
    statistics = sum(
        op_count
        for _, block, shape in architecture.blocks((32, 32, 3), 10)
        for op_count in _statistics(block, shape)
    )
    total = cost.num_params(architecture, (32, 32, 3), 10)
    assert total - statistics == trainable


def _statistics(block, shape):
    for ops in (block.branch, block.shortcut or ()):
        inner = shape
        for op in ops:
            if op.name == "batch_norm":
                yield 2 * inner[-1]
            inner = op.output_shape(inner)


@settings(max_examples=25, deadline=None)
@given(strategies.spaces(), strategies.seeds)
def test_parameters_are_those_that_keras_counts(space, seed):
    architecture = space.sample(np.random.default_rng(seed))
    model = build(architecture, space.input_shape, space.num_classes)
    assert (
        cost.num_params(architecture, space.input_shape, space.num_classes)
        == model.count_params()
    )


@pytest.mark.parametrize("text", MIXED)
def test_parameters_of_mixed_networks_are_those_that_keras_counts(text):
    architecture = Architecture.parse(text)
    model = build(architecture, (9, 7, 3), 5)
    assert cost.num_params(architecture, (9, 7, 3), 5) == model.count_params()


def _profiled_flops(model, input_shape) -> int:
    """TensorFlow's own count: two operations a multiply-add."""
    forward = tf.function(lambda image: model(image, training=False))
    graph = forward.get_concrete_function(
        tf.TensorSpec((1, *input_shape), tf.float32)
    ).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(
        profiler.ProfileOptionBuilder.float_operation()
    )
    options = options.with_empty_output().build()
    options["account_type_regexes"] = [
        "Conv2D",
        "DepthwiseConv2dNative",
        "MatMul",
    ]
    return profiler.profile(graph, options=options).total_float_ops


@pytest.mark.parametrize("text", MIXED)
def test_operations_are_those_that_the_tensorflow_profiler_counts(text):
    architecture = Architecture.parse(text)
    model = build(architecture, (9, 7, 3), 5)
    flops = cost.num_flops(architecture, (9, 7, 3), 5)
    assert flops == _profiled_flops(model, (9, 7, 3))
    assert flops == 2 * cost.num_multiply_adds(architecture, (9, 7, 3), 5)


@pytest.mark.parametrize("text", MIXED)
def test_activations_are_the_outputs_of_all_keras_layers_but_sums(text):
    network = Architecture.parse(text), (9, 9, 3), 5
    outputs = [
        np.prod(layer.output.shape[1:])
        for layer in build(*network).layers
        if not isinstance(layer, keras.layers.InputLayer | keras.layers.Add)
    ]
    assert cost.num_activations(*network) == sum(outputs)


@given(strategies.architectures(), strategies.input_shapes)
def test_a_removed_layer_costs_nothing(architecture, input_shape):
    for function in (
        cost.num_params,
        cost.num_multiply_adds,
        cost.num_activations,
        cost.peak_activations,
    ):
        assert function(architecture, input_shape, 3) == function(
            architecture.compact, input_shape, 3
        )


# Peaks counted by hand for a 4x4x2 image, 32 values, and 10 classes.
@pytest.mark.parametrize(
    ("text", "values"),
    [
        # Pooling reads the image and writes its two channel means.
        ("", 32 + 2),
        # Input and output of the convolution; batch norm works in place.
        ("conv3x3-8", 32 + 4 * 4 * 8),
        ("conv3x3-8/2", 32 + 2 * 2 * 8),
        # The second convolution: 128 in and out, that is 256.
        ("conv3x3-8 conv3x3-8", 128 + 128),
        # Depthwise 32 + 32, then pointwise 32 + 128.
        ("separable_conv3x3-8", 32 + 128),
        # The second convolution, while the input waits for the sum.
        ("residual3x3-2", 32 + 32 + 32),
        # The sum of branch and projection is not written over either.
        ("residual3x3-8", 128 + 128 + 128),
        # First convolution 32 + 8 * 4; second 32 + 32 and 32 waiting.
        ("residual3x3-8/2", 32 + 32 + 32),
        ("bottleneck3x3-8", 128 + 128 + 128),
        # Depthwise on the 8 expanded channels; nothing waits: no shortcut.
        ("inverted_residual3x3-4x4", 128 + 128),
        # The same, with the input waiting for the sum.
        ("inverted_residual3x3-2x4", 128 + 128 + 32),
        ("max_pool2x2/2", 32 + 8),
        # Flatten is a copy; 32 features into the dense layer, 100 out.
        ("flatten dense-7", 32 + 32),
        ("flatten dense-100", 32 + 100),
        # The dense layer, not the image, is the peak.
        ("dense-100 dense-50", 100 + 50),
        ("identity", 32 + 2),
    ],
)
def test_activation_memory_is_the_peak_counted_by_hand(text, values):
    architecture = Architecture.parse(text)
    assert cost.peak_activations(architecture, (4, 4, 2), 10) == values


@pytest.mark.parametrize("text", ["", *MIXED])
def test_activation_memory_is_that_of_the_file(text, tmp_path):
    network = Architecture.parse(text), (12, 9, 3), 5
    images = np.random.default_rng(0).random((4, 12, 9, 3), np.float32)
    files = export_litert(build(*network), tmp_path, images)
    assert ram_bytes(files["float32"]) == 4 * cost.peak_activations(*network)
    # In float16 are its weights alone.
    assert ram_bytes(files["float16"]) == 4 * cost.peak_activations(*network)
    assert ram_bytes(files["int8"]) == cost.peak_activations(*network)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_a_small_number_of_classes_does_not_overflow(kind):
    architecture = Architecture.parse("conv3x3-64 conv3x3-100 flatten")
    num = cost.num_params(architecture, (28, 28, 1), kind(100))
    assert num == cost.num_params(architecture, (28, 28, 1), 100) > 2**16
    space = SearchSpace.around(architecture, (28, 28, 1), kind(100))
    assert type(space.num_classes) is int
