"""Tests of `parts`: which layers a row of steps is."""

import keras
import pytest

from archcomp_tf.architecture import Architecture
from archcomp_tf.keras_graph import UnsupportedModelError
from archcomp_tf.layer import Op
from archcomp_tf.parts import ADDED, LEFT_OUT, parts_of, with_strays
from archcomp_tf.steps import POOL, RELU, Step

SHAPE = (8, 8, 4)
LAYER = keras.layers.Identity(name="here")


def row(*items):
    """Steps of items that all take SHAPE."""
    return [Step(item, LAYER, SHAPE, SHAPE) for item in items]


def read(*items):
    """The text form of each part, and all remarks."""
    parts = with_strays(parts_of(row(*items)))
    texts = [str(part.layer or "-") for part in parts]
    return " ".join(texts), [text for part in parts for text in part.remarks]


def conv(filters, size=3, strides=1):
    return Op("conv", filters, size, strides)


def depthwise(size=3, strides=1):
    return Op("depthwise_conv", 0, size, strides)


def total(branch, shortcut=()):
    return frozenset((tuple(branch), tuple(shortcut)))


@pytest.mark.parametrize(
    "text",
    [
        "conv3x3-6/2",
        "separable_conv5x5-6",
        "residual3x3-4",
        "residual3x3-6/2",
        "bottleneck3x3-8/2",
        "inverted_residual3x3-4x2",
        "inverted_residual3x3-6x1",
        "max_pool3x3/2",
        "flatten",
        "dense-3",
    ],
)
def test_a_layer_is_its_own_expansion(text):
    (layer,) = Architecture.parse(text).layers
    block = layer.expand(SHAPE[-1])
    items = block.branch
    if block.shortcut is not None:
        items = (total(block.branch, block.shortcut),)
    assert read(*items, *block.after) == (text, [])


def test_batch_norms_and_biases_count_where_all_of_them_are_there():
    norm, biased = Op("batch_norm"), Op("conv", 8, 1, 1, True)
    narrow = depthwise(), norm, RELU, conv(6, 1), norm
    built = biased, norm, RELU, *narrow
    assert read(*built)[0] == "conv1x1-8 inverted_residual3x3-6x1"
    other = conv(8, 1), norm, RELU, *narrow
    assert read(*other)[0] == "inverted_residual3x3-6x2"


def test_the_way_with_the_fewest_differences_is_taken():
    ops = depthwise(), RELU, conv(6, 1)
    assert read(*ops) == ("inverted_residual3x3-6x1", [])
    assert read(*ops, RELU) == ("separable_conv3x3-6", [])
    # With as many channels as before it, an inverted residual has a sum.
    same = depthwise(), RELU, conv(4, 1)
    assert read(*same) == ("separable_conv3x3-4", [ADDED])


def test_an_activation_behind_the_pool_is_another_place_for_it():
    text, remarks = read(conv(6), Op("max_pool", 0, 2, 2), RELU)
    assert text == "conv3x3-6 max_pool2x2/2"
    assert remarks == [ADDED, LEFT_OUT]


def test_an_activation_before_all_layers_goes_to_the_first():
    (part,) = with_strays(parts_of(row(RELU, conv(6), RELU)))
    assert [step.item for step in part.steps] == [RELU, conv(6), RELU]


def test_a_pool_keeps_its_part_when_an_activation_follows():
    parts = with_strays(parts_of(row(POOL, RELU, Op("dense", 3), RELU)))
    assert [len(part.steps) for part in parts] == [2, 2]


def test_strides_may_stand_on_other_convolutions():
    projection = (conv(8, 1, 2),)
    branch = conv(2, 1, 2), RELU, conv(2), RELU, conv(8, 1)
    text, remarks = read(total(branch, projection), RELU)
    assert text == "bottleneck3x3-8/2"
    assert remarks == ["strides on another convolution"]
    branch = conv(2, 1, 2), RELU, conv(2, 3, 2), RELU, conv(8, 1)
    text, remarks = read(total(branch, (conv(8, 1, 4),)), RELU)
    assert text == "bottleneck3x3-8/4"
    assert remarks == ["strides on another convolution"]


@pytest.mark.parametrize(
    ("shortcut", "said"),
    [
        ((Op("avg_pool", 0, 2, 2), conv(8, 1)), "(avg_pool2x2/2 conv1x1-8)"),
        ((Op("max_pool", 0, 1, 2),), "(max_pool1x1/2)"),
        ((conv(8, 1, 2), RELU), "(conv1x1-8/2 relu)"),
    ],
)
def test_a_shortcut_may_come_to_the_shape_in_another_way(shortcut, said):
    branch = conv(8, 3, 2), RELU, conv(8)
    text, remarks = read(total(branch, shortcut), RELU)
    assert text == "residual3x3-8/2"
    assert remarks == [f"shortcut {said} built as (conv1x1-8/2)"]


def test_a_shortcut_is_no_second_branch():
    branch = conv(8, 3, 2), RELU, conv(8)
    for shortcut in ((conv(8, 3, 2),), (conv(6, 1, 2), conv(8, 1))):
        with pytest.raises(UnsupportedModelError):
            read(total(branch, shortcut), RELU)


def test_an_activation_may_stand_in_front_of_each_convolution():
    text, remarks = read(total((RELU, conv(4), RELU, conv(4))))
    assert text == "residual3x3-4"
    assert sorted(remarks) == [ADDED, LEFT_OUT]


def test_the_error_names_the_kind_that_comes_closest():
    with pytest.raises(UnsupportedModelError) as error:
        read(conv(6), RELU, depthwise(), RELU, conv(6))
    assert "'here'" in str(error.value)
    assert "expected conv1x1-6 next in separable_conv3x3-6" in str(error.value)
    assert "got conv3x3-6" in str(error.value)


def test_the_error_at_a_sum_shows_the_sum_that_comes_closest():
    branch = conv(3, 1), RELU, conv(3), RELU, conv(4, 1)
    with pytest.raises(UnsupportedModelError) as error:
        read(total(branch), RELU)
    assert "conv1x1-4) and (nothing) as in bottleneck3x3-4" in str(error.value)


@pytest.mark.parametrize("item", [Op("softmax"), total((Op("max_pool"),))])
def test_the_error_lists_the_kinds_where_none_is_close(item):
    with pytest.raises(UnsupportedModelError, match="start of one of conv, "):
        read(item)


def test_an_expansion_by_a_fraction_is_read_as_the_nearest_whole_number():
    branch = [conv(10, 1), RELU, depthwise(), RELU, conv(4, 1)]
    text, remarks = read(total(branch))
    assert text == "inverted_residual3x3-4x2"
    assert remarks == ["expands to 10, built to 8"]
    branch[0] = conv(12, 1)
    assert read(total(branch)) == ("inverted_residual3x3-4x3", [])


def test_an_expansion_behind_a_relu_is_read():
    branch = [RELU, conv(10, 1), RELU, depthwise(), RELU, conv(4, 1)]
    text, remarks = read(total(branch))
    assert text == "inverted_residual3x3-4x2"
    assert "expands to 10, built to 8" in remarks
