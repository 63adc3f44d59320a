"""Tests of `archcomp_tf.markdown_report`."""

import copy

from archcomp_tf import markdown_report
from archcomp_tf.results import (
    classes_text,
    file_table,
    headline,
    network_table,
)


def _network(num_params, num_flops, validation, test, **fields) -> dict:
    return {
        "architecture": f"conv3x3-{num_params}",
        "num_params": num_params,
        "num_flops": num_flops,
        "validation_accuracy": validation,
        "validation_accuracies": [validation, validation - 0.01],
        "test_accuracy": test,
        "broken_limits": [],
    } | fields


RESULTS = {
    "doubts": [],
    "config": {
        "limits": {"max_params": 0, "max_flops": 0},
        "objective": {"name": "Budget", "max_params": 50_000},
    },
    "dataset": "digits",
    "seed": 3,
    "seconds": {"teacher": 12.4, "search": 99.6},
    "teacher": _network(1_000_000, 20_000_000, 0.975, 0.9625),
    "student": _network(
        *(50_000, 1_250_000, 0.95, 0.93),
        compression_ratio=20.0,
        test_accuracies=[0.93, 0.91],
    ),
    "controls": {
        "width_scaled": _network(
            *(40_000, 2_500_000, 0.9, 0.89), test_accuracies=[0.89]
        ),
        "random_search": _network(8_000, 500_000, 0.8, 1.0),
    },
    "search": {"num_labels": 40, "num_rounds": 3},
    "classes": {
        "num_images": [10, 20],
        "teacher": [0.9, 0.95],
        "student": [0.9, 1.0],
    },
    "files": {
        name: {
            "bytes": num_bytes,
            "ram_bytes": ram_bytes,
            "accuracy": accuracy,
            "num_images": 2000,
            "latency_ms": latency,
        }
        for name, num_bytes, ram_bytes, accuracy, latency in (
            ("teacher_float32", 4_000_000, 90_000, 0.96, 1.0),
            ("student_int8", 80_000, 7_000, 0.925, 0.25),
        )
    },
}


def _changed(network: str, **fields) -> dict:
    results = copy.deepcopy(RESULTS)
    results[network] |= fields
    return results


def _cells(table: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    ]


def test_the_columns_of_a_table_line_up_and_the_student_stands_out():
    text = markdown_report.results_text(RESULTS)
    lines = [line for line in text.splitlines() if line.startswith("|")][:6]
    bars = {
        tuple(i for i, char in enumerate(line) if char == "|") for line in lines
    }
    assert len(bars) == 1
    header, rule, *rows = _cells("\n".join(lines))
    assert all(set(cell) == {"-"} for cell in rule)
    columns, expected = network_table(RESULTS)
    assert [header, *rows] == [
        columns,
        expected[0],
        ["**student**", *expected[1][1:]],
        *expected[2:],
    ]


def test_the_text_says_what_was_run_for_how_long_and_what_came_out():
    text = markdown_report.results_text(RESULTS)
    assert text.startswith(f"# digits, seed 3\n\n{headline(RESULTS)}.\n")
    assert markdown_report.markdown_table(*file_table(RESULTS["files"])) in text
    assert classes_text(RESULTS) in text
    assert "\n\n\n" not in text
    without = markdown_report.results_text({**RESULTS, "files": {}})
    assert "LiteRT" not in without and "\n\n\n" not in without
    assert "Student: `conv3x3-50000`\n" in text
    assert "Teacher: `conv3x3-1000000`\n" in text
    assert "Asked for: `Budget(max_params=50000)`.\n" in text
    assert "Labels: 40 in 3 rounds. Time: teacher 12 s, search 100 s.\n" in text
    assert text.endswith("\n") and not text.endswith("\n\n")
    begun = RESULTS | {"search": RESULTS["search"] | {"num_known": 36}}
    text = markdown_report.results_text(begun)
    assert "Labels: 40 beside 36 known ones in 3 rounds." in text


def test_a_control_that_did_better_stands_beside_the_answer():
    results = copy.deepcopy(RESULTS)
    results["controls"]["width_scaled"] |= {
        "validation_accuracies": [0.96, 0.95],
        "fingerprint": "beef",
    }
    assert markdown_report.results_text(results).split("\n")[2] == (
        f"{headline(RESULTS)}. A control did better, the teacher scaled in "
        "width: 95.50% on validation data, the student 94.50%, each the mean "
        "of its trainings. It is in students/beef."
    )


def test_the_summary_averages_runs_and_says_how_they_differ():
    def run(seed, teacher, student):
        def network(size, test):
            return {"num_params": size, "test_accuracy": test}

        return {
            "seed": seed,
            "teacher": network(1000, teacher),
            "student": network(10 * (seed + 1), student),
            "controls": {
                "width_scaled": network(10, 0.5),
                "random_search": network(10, 0.6),
            },
        }

    runs = [run(0, 0.99, 0.98), run(1, 0.97, 0.98)]
    lines = markdown_report.summary_table(runs).splitlines()
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    # Sizes 10 and 20 of 1000: 15 in the mean.  Lost: 1 and -1 points.
    assert cells[3] == [
        "**student**",
        "15",
        "66.7x",
        "98.00 +- 0.00",
        "0.00 +- 1.41",
    ]
    assert cells[2] == ["teacher", "1,000", "1.0x", "98.00 +- 1.41", ""]
    # A control that not all runs have is left out, whichever has it.
    del runs[0]["controls"]["random_search"]
    del runs[1]["controls"]["width_scaled"]
    assert (
        len(markdown_report.summary_table(runs).splitlines()) == len(lines) - 2
    )
    # Of several trainings in a run the mean counts.
    runs[0]["student"]["test_accuracies"] = [0.99, 0.95]
    (student,) = (
        line
        for line in markdown_report.summary_table(runs).splitlines()
        if "student" in line
    )
    assert "97.50 +- 0.71" in student


def test_what_is_searched_around_is_not_called_the_teacher():
    text = markdown_report.results_text(_changed("teacher", num_flops=None))
    assert "Teacher: `" not in text
    assert "not the teacher's own: `conv3x3-1000000`" in text
