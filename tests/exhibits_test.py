"""Tests of `archcomp_tf.exhibits`."""

import collections

import findings
import markup

from archcomp_tf.charts import Mark
from archcomp_tf.exhibits import (
    front_section,
    map_section,
    predictions_section,
)


def _marks(text):
    """Titles of the marks of each style."""
    marks = collections.defaultdict(list)
    for element in markup.elements(text):
        if element.tag == "title":
            marks[element.parent.styles[1]].append(element.text)
    return marks


def test_every_labelled_network_is_on_the_front_or_below_it():
    labelled = findings.labelled()
    finals = [Mark(500.0, 0.9, "a final one", "student", "star")]
    text = front_section(labelled, 2, finals, "")
    marks = _marks(text)
    assert len(marks["label"]) == len(labelled)
    assert marks["student"] == ["a final one"]
    for record in labelled:
        beaten = any(
            other.num_params <= record.num_params
            and other.accuracy > record.accuracy
            for other in labelled
        )
        named = any(
            str(record.architecture.compact) in title for title in marks["best"]
        )
        assert named != beaten
    front, everything = markup.tables(text)
    assert len(front) == 1 + len(marks["best"])
    assert [row[2] for row in everything[1:]] == [
        str(record.architecture.compact) for record in labelled
    ]
    assert "2 more failed" in text
    assert "failed" not in front_section(labelled, 0, finals, "")


def test_the_line_of_the_front_rises():
    text = front_section(findings.labelled(), 0, [], "")
    (line,) = (e for e in markup.elements(text) if "front" in e.styles)
    points = [
        tuple(map(float, point.split(",")))
        for point in line.attributes["points"].split()
    ]
    for (x, y), (next_x, next_y) in zip(points, points[1:], strict=False):
        assert (next_x > x) != (next_y < y)  # to the right, or up


def test_the_map_has_two_panels_with_every_network_and_the_descents():
    labelled, latent = findings.labelled(), findings.latent()
    student = findings.student().architecture.fingerprint
    text = map_section(labelled, latent, student)
    marks = _marks(text)
    colours = [marks[f"q{index}"] for index in range(5)]
    assert sum(map(len, colours)) == 2 * len(labelled)
    # A fifth has each colour, the worst the first.
    assert max(map(len, colours)) - min(map(len, colours)) <= 2
    worst = min(labelled, key=lambda record: record.accuracy)
    assert any(str(worst.architecture.compact) in title for title in colours[0])
    assert marks["student"] == ["student"] * 2
    assert marks["teacher"] == ["teacher"] * 2
    num_descents = latent.paths.shape[1]
    assert len(marks["end"]) == 2 * num_descents
    assert "75.00%, 1,000 parameters: conv3x3-7" in marks["end"][0]
    lines = [e for e in markup.elements(text) if e.tag == "polyline"]
    assert len(lines) == 2 * num_descents
    assert sum("first" in line.styles for line in lines) == 2


def test_a_descent_is_drawn_to_its_end_whatever_its_length():
    texts = [
        map_section(findings.labelled(), findings.latent(num_steps=num), "")
        for num in (9, 10)
    ]
    nine, ten = (
        [
            element.attributes["points"].split()
            for element in markup.elements(text)
            if element.tag == "polyline"
        ]
        for text in texts
    )
    # The same straight ways, in other steps.
    assert [line[-1] for line in nine] == [line[-1] for line in ten]
    assert {len(line) for line in nine} == {3}
    assert {len(line) for line in ten} == {4}


def test_predictions_stand_over_the_truth_beside_the_line_of_agreement():
    labelled, predictions = findings.labelled(), findings.predictions()
    text = predictions_section(labelled, predictions, 0.625)
    titles = _marks(text)["best"]
    assert len(titles) == len(predictions)
    first = labelled[findings.NUM_LABELLED // 2]
    assert titles[0].startswith(
        f"predicted {first.accuracy - 0.01:.2%}, {first.accuracy:.2%}"
    )
    assert "Rank correlation 0.62." in text
    assert any("same" in e.styles for e in markup.elements(text))
    assert "Rank" not in predictions_section(labelled, predictions, None)


def test_there_is_no_picture_of_no_predictions():
    assert predictions_section(findings.labelled(), {}, None) == ""
