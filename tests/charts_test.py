"""Tests of `archcomp_tf.charts`."""

import re

import markup
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archcomp_tf.charts import (
    LOG,
    Axis,
    Line,
    Mark,
    count_text,
    legend,
    scatter,
)

_X = Axis("width <&>", 0.0, 10.0)
_Y = Axis("height", 0.0, 1.0)


def _places(svg):
    """Title of each mark -> where it is drawn."""
    found = {}
    for element in markup.elements(svg):
        if element.tag == "title":
            place = element.parent.attributes["transform"]
            x, y = re.fullmatch(r"translate\((\S+) (\S+)\)", place).groups()
            found[element.text] = float(x), float(y)
    return found


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7, "7"),
        (950, "950"),
        (999.6, "1k"),
        (1000, "1k"),
        (1234, "1.23k"),
        (36_000, "36k"),
        (999_999, "1M"),
        (1_570_000, "1.57M"),
        (2_000_000_000, "2G"),
    ],
)
def test_a_count_is_told_in_three_digits(number, text):
    assert count_text(number) == text


@given(
    st.lists(st.floats(1, 1e9), min_size=1, max_size=9),
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
)
@example(counts=[1.0, np.nextafter(1.0, 2.0)], shares=[0.5])
def test_an_axis_holds_its_values_in_order_and_names_some(counts, shares):
    for axis, values in (
        (Axis.around("n", counts), counts),
        (Axis.around("n", counts, LOG), counts),
        (Axis.of_accuracies("a", shares), shares),
    ):
        places = [axis.place(value) for value in sorted(values)]
        assert places == sorted(places)
        assert places[0] > 0 and places[-1] < 1
        ticks = axis.ticks
        assert 1 <= len(ticks) <= 9
        assert ticks == sorted(set(ticks))
        assert all(0 <= axis.place(tick) <= 1 for tick in ticks)
        assert all(axis.scale.text(tick) for tick in ticks)


def test_on_a_logarithmic_axis_tenfold_is_as_far_everywhere():
    axis = Axis.around("parameters", [1e2, 1e6], LOG)
    assert axis.place(1e3) - axis.place(1e2) == pytest.approx(
        axis.place(1e6) - axis.place(1e5)
    )
    assert [axis.scale.text(tick) for tick in axis.ticks] == [
        *("100", "1k", "10k", "100k", "1M")
    ]


def test_accuracies_are_spread_by_the_logarithm_of_the_error():
    axis = Axis.of_accuracies("accuracy", [0.5, 0.99])
    assert axis.place(0.99) - axis.place(0.98) == pytest.approx(
        axis.place(0.9) - axis.place(0.8)
    )
    texts = [axis.scale.text(tick) for tick in axis.ticks]
    assert texts == ["50%", "80%", "90%", "95%", "98%", "99%"]


def test_no_error_at_all_stands_where_half_the_least_one_does():
    axis = Axis.of_accuracies("accuracy", [0.5, 0.98, 1.0])
    assert axis.place(1.0) == pytest.approx(axis.place(0.99))
    texts = [axis.scale.text(tick) for tick in axis.ticks]
    # No other tick than its own is where it stands.
    assert texts == ["50%", "80%", "90%", "95%", "98%", "100%"]


def test_a_mark_stands_to_the_right_by_x_and_up_by_y():
    marks = [
        Mark(0.0, 0.0, "origin", "label"),
        Mark(5.0, 0.0, "right", "label"),
        Mark(10.0, 1.0, "far", "label", "star"),
    ]
    places = _places(scatter(marks, _X, _Y, description="three marks"))
    assert places["right"][1] == places["origin"][1]
    middle = (places["origin"][0] + places["far"][0]) / 2
    assert places["right"][0] == pytest.approx(middle, abs=0.1)
    assert places["far"][1] < places["origin"][1]


def test_a_line_goes_through_its_points_below_the_marks():
    marks = [Mark(2.0, 0.3, "here", "label")]
    lines = [Line([(2.0, 0.3), (4.0, 0.3)], "front")]
    svg = scatter(marks, _X, _Y, description="a line", lines=lines)
    found = markup.elements(svg)
    (line,) = (e for e in found if e.tag == "polyline")
    assert line.styles == ["front"]
    first, second = (
        tuple(map(float, point.split(",")))
        for point in line.attributes["points"].split()
    )
    assert first == _places(svg)["here"]
    assert first[0] < second[0] and first[1] == second[1]
    tags = [element.tag for element in found]
    assert tags.index("polyline") < tags.index("title")


def test_a_chart_says_what_it_is_and_escapes_what_it_is_given():
    marks = [Mark(1.0, 1.0, "<script>&", "label")]
    svg = scatter(marks, _X, _Y, description='a "chart" of <marks>')
    image, *rest = markup.elements(svg)
    assert image.attributes["role"] == "img"
    assert image.attributes["aria-label"] == 'a "chart" of <marks>'
    texts = [element.text for element in rest if element.tag == "text"]
    assert {"width <&>", "height"} <= set(texts)
    assert "<script>&" in _places(svg)
    assert "script" not in {element.tag for element in rest}


def test_an_axis_may_have_no_numbers():
    marks = [Mark(1.0, 1.0, "one", "label")]
    for with_ticks in (True, False):
        svg = scatter(marks, _X, _Y, description="", with_ticks=with_ticks)
        texts = [e.text for e in markup.elements(svg) if e.tag == "text"]
        assert ("2" in texts) == with_ticks


def test_a_legend_has_each_name_beside_its_mark():
    text = legend(
        [("one & only", "student", "star"), ("all", "label", "circle")]
    )
    items = [e for e in markup.elements(text) if e.tag == "li"]
    assert [item.text for item in items] == ["one & only", "all"]
    styles = [e.styles for e in markup.elements(text) if e.tag == "g"]
    assert styles == [["mark", "student"], ["mark", "label"]]
