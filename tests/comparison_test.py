"""Tests of `archcomp_tf.comparison`."""

import findings
import markup
import pytest

from archcomp_tf.comparison import (
    answer_section,
    classes_section,
    controls_section,
    files_section,
    network_marks,
    networks_legend,
)
from archcomp_tf.results import file_table, networks


def _networks():
    return networks(findings.results())


def test_the_answer_in_large_figures():
    results = findings.results()
    student, teacher = results["student"], results["teacher"]
    found = markup.elements(answer_section(results))
    tiles = [element.text for element in found if element.tag == "li"]
    assert tiles == [
        f"{student['compression_ratio']:.1f}×smaller{student['num_params']:,} "
        f"parameters; the teacher has {teacher['num_params']:,}",
        "90.00%test accuracythe teacher has 93.00%",
        f"{teacher['num_flops'] / student['num_flops']:.1f}×less work"
        f"{student['num_flops'] / 1e6:.2f} MFLOPs an image; the teacher has "
        f"{teacher['num_flops'] / 1e6:.2f}",
        "60.0×smaller file15.0 kB in int8; the teacher in float32 900.0 kB",
        "12.0×less RAM5.0 kB in int8; the teacher in float32 60.0 kB",
        "8.0×faster0.100 ms in int8; the teacher in float32 0.800 ms",
    ]
    del results["files"]["teacher_float32"]  # nothing to hold them against
    assert _num_tiles(results) == 3
    results["files"] = {}
    assert _num_tiles(results) == 3


def _num_tiles(results):
    found = markup.elements(answer_section(results))
    return sum(element.tag == "li" for element in found)


def test_classes_stand_below_each_other_with_what_each_lost():
    ((_, *rows),) = markup.tables(classes_section(findings.results()))
    assert rows == [
        ["1", "40", "80.00%", "60.00%", "-20.00"],
        ["0", "1,200", "95.00%", "94.50%", "-0.50"],
        ["2", "3", "100.00%", "100.00%", "+0.00"],
    ]


def test_the_work_of_a_teacher_that_was_not_read_is_left_out():
    results = findings.results()
    results["teacher"]["num_flops"] = None
    assert "MFLOPs" not in answer_section(results)
    ((_, teacher, student, *_),) = markup.tables(controls_section(results))
    assert (teacher[3], student[3] != "") == ("", True)


def test_a_student_that_is_slower_is_called_slower():
    results = findings.results()
    for name, file in results["files"].items():
        file["latency_ms"] = 0.5 if name == "teacher_float32" else 5.0
    assert "10.0×</b><strong>slower</strong>" in answer_section(results)


def test_every_network_has_a_row_with_the_mean_of_its_trainings():
    ((_, *rows),) = markup.tables(controls_section(findings.results()))
    assert [row[0] for row in rows] == [
        *("teacher", "student", "teacher scaled in width"),
        *("best of random search", "tinynet"),
    ]
    # 90, 92 and 91: mean 91, deviation 1.
    assert [row[-1] for row in rows[:2]] == ["", "91.00 ± 1.00"]


def test_every_training_is_a_dot():
    found = markup.elements(controls_section(findings.results()))
    titles = [element.text for element in found if element.tag == "title"]
    singles = [title for title in titles if "one training" in title]
    assert singles[1:4] == [
        f"student, one training: {test:.2%}" for test in (0.90, 0.92, 0.91)
    ]
    # The others have one each, and all have their mark besides.
    assert len(singles) == 7 and len(titles) == 7 + 5


def test_the_student_is_told_how_it_stands_against_each_control():
    found = markup.elements(controls_section(findings.results()))
    verdicts = [
        element.text
        for element in found
        if element.tag == "li" and not element.is_in("ul", "legend")
    ]
    # By the mean of the student's trainings, 91%.
    assert [text.rsplit(", ", 1)[1] for text in verdicts] == [
        *("3.00 points below the student.", "as many as the student."),
        "0.50 points above the student.",
    ]
    rows = _networks()
    size = rows["tinynet"]["num_params"] / rows["student"]["num_params"]
    assert verdicts[2].startswith(
        f"Tinynet, with {size:.2f} times the student's parameters: 91.50% of"
    )


def test_every_file_has_a_row_if_there_are_any():
    files = findings.results()["files"]
    ((_, *rows),) = markup.tables(files_section(files))
    assert rows == file_table(files)[1]
    assert files_section({}) == ""


def test_a_large_file_is_told_in_megabytes():
    results = findings.results()
    results["files"]["teacher_float32"]["bytes"] = 80_300_000
    assert "the teacher in float32 80.30 MB" in answer_section(results)


def test_the_student_lies_above_the_others_and_each_looks_its_own_way():
    marks = network_marks(_networks(), "validation_accuracy")
    assert [mark.style for mark in marks] == [
        *("teacher", "width_scaled", "random_search", "other", "student")
    ]
    assert len({(mark.style, mark.shape) for mark in marks}) == 5
    assert marks[0].y == pytest.approx(0.94)
    assert marks[-1].text.startswith("student: 91.00%, ")
    found = markup.elements(networks_legend(_networks()))
    assert [e.text for e in found if e.tag == "li"][-1] == "tinynet"
