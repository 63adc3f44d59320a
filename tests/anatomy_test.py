"""Tests of `archcomp_tf.anatomy`."""

import findings
import markup
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from archcomp_tf import cost
from archcomp_tf.anatomy import anatomy, change, layers_section
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.layer import Layer


def _parts(architecture):
    return anatomy(architecture, findings.SHAPE, findings.NUM_CLASSES)


@given(strategies.architectures(), strategies.input_shapes, st.integers(2, 6))
def test_the_parts_sum_to_the_network(architecture, input_shape, num_classes):
    parts = anatomy(architecture, input_shape, num_classes)
    network = architecture, input_shape, num_classes
    assert [p.layer for p in parts] == [*architecture.layers, None]
    assert sum(p.num_params for p in parts) == cost.num_params(*network)
    assert sum(p.num_flops for p in parts) == cost.num_flops(*network)
    assert parts[-1].output_shape == (num_classes,)


def test_a_part_has_the_shape_and_the_cost_of_its_layer():
    architecture = Architecture.parse("conv3x3-4/2 identity dense-5")
    conv, removed, dense, classifier = anatomy(architecture, (9, 7, 2), 3)
    assert conv.output_shape == removed.output_shape == (5, 4, 4)
    # Weights, bias and four numbers of batch norm a channel.
    assert conv.num_params == 9 * 2 * 4 + 4 + 4 * 4
    # A multiply and an add for each weight of a kernel at each place.
    assert conv.num_flops == 2 * 5 * 4 * 9 * 2 * 4
    assert (removed.num_params, removed.num_flops) == (0, 0)
    assert (dense.output_shape, dense.num_params) == ((5,), 4 * 5 + 5)
    assert (classifier.layer, classifier.num_params) == (None, 5 * 3 + 3)


def test_the_shapes_are_those_of_the_keras_model():
    architecture = Architecture.parse(
        "residual3x3-4/2 max_pool3x3/2 separable_conv3x3-6 flatten dense-7"
    )
    outputs = {
        layer.output.shape[1:]
        for layer in build(architecture, (12, 10, 3), 5).layers
    }
    for part in anatomy(architecture, (12, 10, 3), 5):
        assert part.output_shape in outputs


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("conv3x3-64", "conv3x3-64", "kept"),
        ("conv3x3-64", "identity", "removed"),
        ("conv3x3-64", "conv3x3-16", "narrowed to 25%"),
        ("conv3x3-16", "conv3x3-32", "widened to 200%"),
        ("conv3x3-64", "separable_conv3x3-64", "swapped"),
        (
            "residual3x3-64/2",
            "inverted_residual1x1-32x2/2",
            "swapped, narrowed to 50%, kernel size 3 to 1",
        ),
        (
            "inverted_residual5x5-8x6",
            "inverted_residual5x5-8x2",
            "expansion 6 to 2",
        ),
        ("max_pool2x2/2", "avg_pool2x2/2", "swapped"),
    ],
)
def test_a_change_is_told_in_words(before, after, text):
    assert change(Layer.parse(before), Layer.parse(after)) == text


@given(strategies.layers(0), strategies.layers(0))
def test_whatever_changed_there_is_a_word_for_it(before, after):
    assert (change(before, after) == "kept") == (before == after)
    assert change(before, after)


def test_layers_stand_beside_each_other_slot_by_slot():
    student = findings.student()
    text = layers_section(
        _parts(findings.TEACHER), _parts(student.architecture), 0
    )
    (table,) = markup.tables(text)
    _, _, *rows, total = table
    assert [row[0] for row in rows] == [
        *("conv3x3-328×8×32", "conv3x3-648×8×64", "max_pool2x2/24×4×64"),
        *("conv3x3-1284×4×128", "conv3x3-1284×4×128", "classifier10"),
    ]
    assert [row[2] for row in rows] == [
        *("narrowed to 25%", "removed", "kept"),
        *("swapped, narrowed to 12%, kernel size 3 to 1", "narrowed to 25%"),
        "",
    ]
    assert rows[1][1] == "removed" and rows[1][4] == "0"
    titles = [
        e.attributes["title"]
        for e in markup.elements(text)
        if e.is_in("tfoot") and "title" in e.attributes
    ]
    assert titles[:2] == [
        f"{findings.BENCHMARK.count_params(findings.TEACHER):,}",
        f"{student.num_params:,}",
    ]
    assert len(total) == len(rows[0]) == 7
    assert "beside these" not in text


def test_a_block_is_as_large_as_its_layer_has_channels():
    parts = _parts(findings.TEACHER)
    found = markup.elements(layers_section(parts, parts, 0))
    sides = [
        float(e.attributes["style"].removeprefix("--side:"))
        for e in found
        if e.tag == "i"
    ]
    # Teacher and student by turns; the widest has 128 channels.
    channels = [32, 64, 64, 128, 128, 10]
    assert sides[::2] == sides[1::2]
    assert [side**2 * 128 for side in sides[::2]] == pytest.approx(
        channels, rel=1e-2
    )


def test_parameters_outside_of_the_layers_are_told():
    parts = _parts(findings.TEACHER)
    assert "itself has 1,234 parameters more" in layers_section(
        parts, parts, 1234
    )


def test_what_is_searched_around_is_not_called_the_teacher():
    parts = _parts(findings.TEACHER)
    text = layers_section(parts, parts, None)
    heads = [e.text for e in markup.elements(text) if e.tag == "th"]
    assert heads.count("searched around") == 3
    assert "teacher" not in text
