"""Tests of `archcomp_tf.layer`."""

import dataclasses

import numpy as np
import pytest
import strategies
from hypothesis import given

from archcomp_tf.layer import KINDS, Layer, Op, image_shape

# A layer of each kind, its text, and its output on a (9, 6, 4) feature map
# or, behind a flatten, on a vector of 10 features.
EXAMPLES = [
    (Layer("conv", 64), "conv3x3-64", (9, 6, 64)),
    (Layer("conv", 8, 1, 2), "conv1x1-8/2", (5, 3, 8)),
    (Layer("separable_conv", 32, 5), "separable_conv5x5-32", (9, 6, 32)),
    (Layer("residual", 4), "residual3x3-4", (9, 6, 4)),
    (Layer("residual", 16, 3, 2), "residual3x3-16/2", (5, 3, 16)),
    (Layer("bottleneck", 16), "bottleneck3x3-16", (9, 6, 16)),
    (
        Layer("inverted_residual", 32, 5, 2, 6),
        "inverted_residual5x5-32x6/2",
        (5, 3, 32),
    ),
    (
        Layer("inverted_residual", 4, 3, 1, 1),
        "inverted_residual3x3-4x1",
        (9, 6, 4),
    ),
    (Layer("max_pool", 0, 2, 2), "max_pool2x2/2", (5, 3, 4)),
    (Layer("avg_pool", 0, 3, 4), "avg_pool3x3/4", (3, 2, 4)),
    (Layer("flatten"), "flatten", (9 * 6 * 4,)),
    (Layer("identity"), "identity", (9, 6, 4)),
    (Layer("dense", 10), "dense-10", (10,)),
]


def test_the_examples_cover_every_kind():
    assert {layer.kind for layer, _, _ in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize(("layer", "text", "output_shape"), EXAMPLES)
def test_a_layer_has_its_documented_text(layer, text, output_shape):
    del output_shape
    assert str(layer) == text
    assert Layer.parse(text) == layer


@pytest.mark.parametrize(("layer", "text", "output_shape"), EXAMPLES)
def test_same_padding_divides_sizes_by_the_stride_and_rounds_up(
    layer, text, output_shape
):
    del text
    input_shape = (10,) if layer.kind == "dense" else (9, 6, 4)
    block = layer.expand(input_shape[-1])
    assert block.output_shape(input_shape) == output_shape


@given(strategies.layers())
def test_parse_inverts_str(layer):
    assert Layer.parse(str(layer)) == layer


@given(strategies.layers())
def test_the_constructor_inverts_to_dict(layer):
    assert Layer(**layer.to_dict()) == layer


@given(strategies.layers())
def test_to_dict_holds_the_kind_and_the_fields_it_uses(layer):
    assert set(layer.to_dict()) == {"kind", *KINDS[layer.kind].fields}


@given(strategies.layers(0))
def test_every_shortcut_ends_in_the_shape_of_its_branch(layer):
    input_shape = (7, 5, 4)
    block = layer.expand(4)
    shape = input_shape
    for op in block.shortcut or ():
        shape = op.output_shape(shape)
    if block.shortcut is not None:
        assert shape == block.output_shape(input_shape)


@pytest.mark.parametrize("kind", ["residual", "bottleneck"])
def test_a_shortcut_is_projected_only_where_the_shape_changes(kind):
    assert Layer(kind, 8).expand(8).shortcut == ()
    wider, halved = Layer(kind, 8).expand(4), Layer(kind, 8, 3, 2).expand(8)
    assert wider.shortcut[0] == Op("conv", 8, 1, 1)
    assert halved.shortcut[0] == Op("conv", 8, 1, 2)


def test_an_inverted_residual_has_a_shortcut_only_where_the_shape_stays():
    assert Layer("inverted_residual", 8).expand(8).shortcut == ()
    assert Layer("inverted_residual", 8).expand(4).shortcut is None
    assert Layer("inverted_residual", 8, 3, 2).expand(8).shortcut is None


@pytest.mark.parametrize(
    ("name", "input_shape", "output_shape"),
    [
        ("global_avg_pool", (4, 5, 6), (6,)),
        ("flatten", (4, 5, 6), (120,)),
        ("batch_norm", (4, 5, 6), (4, 5, 6)),
        ("batch_norm", (6,), (6,)),
        ("relu", (6,), (6,)),
        ("dense", (6,), (3,)),
    ],
)
def test_an_operation_knows_its_output_shape(name, input_shape, output_shape):
    filters = 3 if name == "dense" else 0
    assert Op(name, filters).output_shape(input_shape) == output_shape


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match="'convolution'; expected one of conv,"
    ):
        Layer("convolution", 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "conv"}, "conv layer needs .* integer filters; got 0"),
        ({"kind": "conv", "filters": -1}, "integer filters; got -1"),
        ({"kind": "conv", "filters": 8.0}, "integer filters; got 8.0"),
        ({"kind": "conv", "filters": "8"}, "integer filters; got '8'"),
        ({"kind": "conv", "filters": None}, "integer filters; got None"),
        # Its text, "conv3x3-True", could not be read back.
        ({"kind": "conv", "filters": True}, "integer filters; got True"),
        (
            {"kind": "max_pool", "kernel_size": 0},
            "max_pool layer needs .* integer kernel_size; got 0",
        ),
        (
            {"kind": "avg_pool", "strides": 0},
            "avg_pool layer needs .* integer strides; got 0",
        ),
        (
            {"kind": "inverted_residual", "filters": 8, "expansion": 0},
            "integer expansion; got 0",
        ),
    ],
)
def test_a_used_field_must_be_a_positive_integer(fields, message):
    with pytest.raises(ValueError, match=message):
        Layer(**fields)


def test_an_integer_of_numpy_is_one_of_python():
    layer = Layer("conv", np.int64(8), strides=np.uint8(2))
    assert repr(layer) == repr(Layer("conv", 8, strides=2))
    assert type(layer.filters) is int
    with pytest.raises(ValueError, match="positive integer filters"):
        Layer("conv", np.bool_(True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "max_pool", "filters": 8}, "max_pool .* no filters; got 8"),
        ({"kind": "dense", "filters": 8, "strides": 2}, "no strides; got 2"),
        ({"kind": "flatten", "kernel_size": 5}, "no kernel_size; got 5"),
        ({"kind": "conv", "filters": 8, "expansion": 2}, "no expansion; got 2"),
        ({"kind": "identity", "filters": 8}, "identity .* no filters; got 8"),
    ],
)
def test_a_field_that_the_kind_does_not_use_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Layer(**fields)


@pytest.mark.parametrize(
    "text", ["", "conv3x5-8", "Conv3x3-8", "conv3x3-8 ", "3x3-8", "conv3x3-8/"]
)
def test_what_is_no_layer_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="Expected a layer such as") as error:
        Layer.parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["conv", "conv3x3-8x2", "flatten-8", "conv-0"])
def test_a_text_with_wrong_fields_is_refused(text):
    with pytest.raises(ValueError, match="needs a positive|layer has no"):
        Layer.parse(text)


def test_a_layer_cannot_be_changed_and_is_its_own_key():
    layer = Layer("conv", 8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.filters = 16
    assert {layer: "value"}[Layer("conv", 8)] == "value"


@pytest.mark.parametrize(
    "shape",
    [(28, 28), (None, None, 3), (8, 8, 0), (8.0, 8, 1), (8, 8, True), 28, "88"],
)
def test_a_shape_of_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="height, width, channels") as error:
        image_shape(shape)
    assert str(error.value).endswith(f"got {shape!r}.")


def test_the_shape_of_an_image_may_be_of_any_row_of_integers():
    assert image_shape([8, np.int32(6), 3]) == (8, 6, 3)
