"""Tests of `archcomp_tf.architecture`."""

import fresh
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import KINDS, Layer


@given(strategies.architectures())
def test_from_json_inverts_to_json(architecture):
    assert Architecture.from_json(architecture.to_json()) == architecture


@given(strategies.architectures())
def test_json_is_one_line(architecture):
    assert "\n" not in architecture.to_json()


@given(strategies.architectures())
def test_from_dict_inverts_to_dict(architecture):
    assert Architecture.from_dict(architecture.to_dict()) == architecture


@given(strategies.architectures())
def test_parse_inverts_str(architecture):
    assert Architecture.parse(str(architecture)) == architecture


def test_an_architecture_has_its_documented_text():
    layers = [
        Layer("conv", 32),
        Layer("max_pool", kernel_size=2, strides=2),
        Layer("dense", 64),
    ]
    text = "conv3x3-32 max_pool2x2/2 dense-64"
    assert str(Architecture(layers)) == text


def test_layers_given_as_a_list_become_a_tuple():
    layer = Layer("conv", 8)
    architecture = Architecture([layer])
    assert architecture.layers == (layer,)
    assert hash(architecture) == hash(Architecture((layer,)))


@given(strategies.architectures(), st.data())
def test_identities_do_not_change_the_fingerprint(architecture, data):
    place = data.draw(st.integers(0, len(architecture.layers)))
    layers = list(architecture.layers)
    layers.insert(place, Layer("identity"))
    longer = Architecture(tuple(layers))
    assert longer != architecture
    assert longer.fingerprint == architecture.fingerprint
    assert longer.compact == architecture.compact


@given(strategies.architectures())
def test_compact_has_no_identity_and_keeps_the_other_layers(architecture):
    kept = [x for x in architecture.layers if x != Layer("identity")]
    assert architecture.compact.layers == tuple(kept)


@given(strategies.architectures(), strategies.architectures())
def test_different_networks_have_different_fingerprints(one, other):
    same = one.compact == other.compact
    assert (one.fingerprint == other.fingerprint) == same


@given(strategies.architectures())
def test_a_fingerprint_is_16_hexadecimal_digits(architecture):
    assert len(architecture.fingerprint) == 16
    assert set(architecture.fingerprint) <= set("0123456789abcdef")


def test_a_fingerprint_is_the_same_in_another_process():
    text = "conv3x3-8 residual3x3-16/2 flatten dense-4"
    code = (
        "from archcomp_tf.architecture import Architecture; "
        f"print(Architecture.parse({text!r}).fingerprint)"
    )
    output = fresh.output(code, PYTHONHASHSEED="1")
    assert output.strip() == Architecture.parse(text).fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flatten conv3x3-8", r"Layer 1 \(conv3x3-8\) cannot follow flatten"),
        ("dense-8 conv3x3-8", r"Layer 1 \(conv3x3-8\) cannot follow dense-8"),
        ("dense-8 max_pool2x2", r"Layer 1 .* cannot follow dense-8"),
        ("flatten avg_pool2x2", r"Layer 1 .* cannot follow flatten"),
        ("flatten flatten", r"Layer 1 \(flatten\) cannot follow flatten"),
        ("dense-8 flatten", r"Layer 1 \(flatten\) cannot follow dense-8"),
        ("flatten identity flatten", r"Layer 2 .* cannot follow flatten"),
        ("conv3x3-8 dense-8 identity conv3x3-8", r"Layer 3 .* dense-8"),
    ],
)
def test_a_layer_that_cannot_follow_is_refused_by_place(text, message):
    with pytest.raises(ValueError, match=message) as error:
        Architecture.parse(text)
    assert "feature maps come first" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "identity flatten identity dense-8 identity dense-4",
        "conv3x3-8 identity max_pool2x2/2 identity",
        "dense-8",
    ],
)
def test_an_identity_may_stand_anywhere_and_nothing_must_stand(text):
    assert str(Architecture.parse(text)) == text


def test_what_is_no_layer_is_refused_by_place():
    with pytest.raises(TypeError, match="Layer at position 1; got 'conv3x3-8'"):
        Architecture((Layer("conv", 8), "conv3x3-8"))


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "{}",
        "[]",
        '{"layers": 3}',
        '{"layers": [3]}',
        '{"layers": [{"filters": 8}]}',
        '{"layers": [{"kind": "conv", "width": 8}]}',
    ],
)
def test_json_of_another_form_is_refused_with_the_expected_form(text):
    with pytest.raises(ValueError, match="Expected {'layers': .*; got "):
        Architecture.from_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv3x3-8", "Expecting value"),
        ('{"layers": [{"kind": "lstm"}]}', "'lstm'; expected one of"),
        ('{"layers": [{"kind": "conv"}]}', "integer filters; got 0"),
    ],
)
def test_json_of_no_architecture_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_json(text)


@given(strategies.architectures(), strategies.input_shapes)
def test_blocks_have_unique_names_and_each_starts_where_one_ended(
    architecture, input_shape
):
    blocks = list(architecture.blocks(input_shape, 7))
    names = [name for name, _, _ in blocks]
    assert len(set(names)) == len(names)
    assert names[-1] == "classifier"
    shapes = [shape for _, _, shape in blocks]
    ends = [block.output_shape(shape) for _, block, shape in blocks]
    assert shapes == [input_shape, *ends[:-1]]
    assert ends[-1] == (7,)


@given(strategies.architectures(), strategies.input_shapes)
def test_features_are_pooled_once_and_only_where_no_flatten_stands(
    architecture, input_shape
):
    names = [name for name, _, _ in architecture.blocks(input_shape, 7)]
    flattened = Layer("flatten") in architecture.layers
    assert names.count("pool") == (0 if flattened else 1)
    kinds = [layer.kind for layer in architecture.compact.layers]
    vectors = [kind for kind in kinds if KINDS[kind].stage == 2]
    # The vector layers and the classifier, and the pool or flatten they need.
    assert names.index("classifier") == len(kinds) + (not flattened)
    if not flattened:
        assert names.index("pool") == len(kinds) - len(vectors)


@pytest.mark.parametrize("shape", [(28, 28), (None, None, 3)])
def test_a_network_has_no_blocks_on_what_is_no_image(shape):
    with pytest.raises(ValueError, match="height, width, channels"):
        next(Architecture.parse("conv3x3-8").blocks(shape, 10))


@given(strategies.architectures())
def test_a_width_factor_of_1_gives_the_architecture_itself(architecture):
    assert architecture.scale_width(1.0) == architecture


@given(strategies.architectures(), st.floats(0, 4))
def test_scaling_changes_widths_alone_and_keeps_them_positive(
    architecture, factor
):
    scaled = architecture.scale_width(factor)
    pairs = zip(architecture.layers, scaled.layers, strict=True)
    for before, after in pairs:
        expected = before.to_dict()
        if "filters" in expected:
            expected["filters"] = max(1, round(before.filters * factor))
        assert after.to_dict() == expected


@given(strategies.architectures())
def test_the_repr_is_how_it_is_written(architecture):
    names = {"Architecture": Architecture}
    assert eval(repr(architecture), names) == architecture
    assert len(repr(architecture)) < 30 + len(str(architecture))
