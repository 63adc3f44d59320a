"""Tests of `archcomp_tf.results`."""

import findings
import numpy as np
import pytest

from archcomp_tf import results


@pytest.mark.parametrize(
    ("test", "change"),
    [
        (0.90, "3.00 points of test accuracy lost"),
        (0.93, "0.00 points of test accuracy lost"),
        (0.95, "2.00 points of test accuracy gained"),
    ],
)
def test_the_answer_in_a_sentence(test, change):
    found = findings.results()
    found["student"]["test_accuracy"] = test
    ratio = found["student"]["compression_ratio"]
    assert results.headline(found) == f"{ratio:.1f} times smaller, {change}"


def test_what_was_asked_for_is_limits_or_an_objective():
    config = findings.results()["config"]
    assert results.wanted(config) == "Limits(max_params=20000)"
    config["limits"]["max_params"] = 0
    assert results.wanted(config) == "Budget(max_params=7)"


@pytest.mark.parametrize(
    ("size", "accuracies", "broken", "is_better"),
    [
        (1.0, [0.93, 0.92], [], True),
        (1.0, [0.93, 0.92], ["max_flops is 1 and it has 2"], False),
        (1.02, [0.93, 0.92], [], True),  # no width gives the same size
        (1.03, [0.93, 0.92], [], False),  # larger
        (0.5, [0.91, 0.90], [], False),  # smaller, and as good
        (0.5, [0.95, 0.80], [], False),  # one good training is luck
        (0.5, [0.95], [], True),
    ],
)
def test_a_control_is_better_by_all_trainings_and_within_all_limits(
    size, accuracies, broken, is_better
):
    found = findings.results()
    found["student"] |= {"num_params": 100_000}
    found["student"]["validation_accuracies"] = [0.90, 0.91]
    found["controls"] = {
        "random_search": found["controls"]["random_search"]
        | {
            "num_params": round(size * 100_000),
            "validation_accuracies": accuracies,
            "broken_limits": broken,
            "fingerprint": "beef",
        }
    }
    doubt, *sentences = results.doubts(found)
    assert doubt == found["doubts"][0]
    assert len(sentences) == is_better
    for sentence in sentences:
        assert "did better, the best of random search: " in sentence
        assert "the student 90.50%" in sentence
        assert "students/beef" in sentence


def test_the_networks_stand_in_their_order_under_their_titles():
    found = findings.results()
    networks = results.networks(found)
    assert [results.title(name) for name in networks] == [
        *("teacher", "student", "teacher scaled in width"),
        *("best of random search", "tinynet"),
    ]
    assert networks["teacher"] is found["teacher"]
    assert networks["tinynet"] is found["controls"]["tinynet"]


def test_of_a_network_that_was_trained_once_its_one_accuracy_is_known():
    found = findings.results()
    assert results.all_test_accuracies(found["teacher"]) == [0.93]
    assert results.all_test_accuracies(found["student"]) == [0.90, 0.92, 0.91]


@pytest.mark.parametrize(
    ("values", "mean", "spread"),
    [([3.0], 3, 0), ([1.0, 3.0], 2, 2**0.5), ([90, 92, 91], 91, 1)],
)
def test_the_spread_is_that_of_a_sample(values, mean, spread):
    assert results.mean_and_spread(values) == pytest.approx((mean, spread))


def test_work_that_is_not_known_is_left_out():
    assert results.megaflops({"num_flops": 1_234_567}) == "1.23"
    assert results.megaflops({"num_flops": None}) == ""


def test_the_spread_is_told_of_more_than_one():
    assert results.spread_text([90.0, 92.0, 91.0]) == "91.00 +- 1.00"
    assert (results.spread_text([89.0]), results.spread_text([])) == (
        *("89.00", ""),
    )


def test_every_network_has_a_row_with_its_numbers():
    found = findings.results()
    columns, rows = results.network_table(found)
    assert columns == [
        *("", "parameters", "smaller", "MFLOPs", "validation", "test"),
        "test of all seeds, %",
    ]
    assert [row[0] for row in rows] == [
        *("teacher", "student", "teacher scaled in width"),
        *("best of random search", "tinynet"),
    ]
    size = found["teacher"]["num_params"]
    assert rows[0][1:3] == [f"{size:,}", "1.0x"]
    student = found["student"]
    assert rows[1][1:3] == [
        f"{student['num_params']:,}",
        f"{student['compression_ratio']:.1f}x",
    ]
    assert rows[1][3] == f"{student['num_flops'] / 1e6:.2f}"
    assert [row[5:] for row in rows[:2]] == [
        ["93.00%", ""],
        ["90.00%", "91.00 +- 1.00"],
    ]


def test_files_stand_beside_the_teachers():
    files = findings.results()["files"]
    columns, rows = results.file_table(files)
    assert columns == [
        *("LiteRT file", "bytes", "smaller", "RAM, bytes"),
        *("test, 2,000 images", "ms an image", "faster"),
    ]
    assert rows[0] == [
        *("teacher, float32", "900,000", "1.0x", "60,000", "93.00%"),
        *("0.800", "1.0x"),
    ]
    assert rows[3] == [
        *("student, int8", "15,000", "60.0x", "5,000", "89.00%"),
        *("0.100", "8.0x"),
    ]
    del files["teacher_float32"]
    _, rows = results.file_table(files)
    assert rows[2] == [
        *("student, int8", "15,000", "", "5,000", "89.00%", "0.100", "")
    ]


def _trained(size, **fields):
    return {
        "architecture": f"conv3x3-{size}",
        "num_params": size,
        "num_flops": 2 * size,
        "validation_accuracy": 0.9,
        "seconds": 1.5,
        "environment": {},
    } | fields


def test_the_results_are_those_of_the_best_training_of_each_network():
    def seeds(best):
        return {
            "fingerprint": "f",
            "validation_accuracies": [0.9, 0.8],
            "best": best,
        }

    control = _trained(200, **seeds(0))
    stages = {
        "teacher": _trained(1000, doubts=["a"]),
        "corpus": {"doubts": ["by chance"]},
        "autoencoder": {"exact_reconstruction": 1.0, "params_mape": 0.1},
        "search": {
            **{"num_labels": 9, "num_known": 0, "num_rounds": 2},
            "accuracy_spearman": 0.5,
        },
        "students": _trained(
            100, predicted_accuracy=0.85, doubts=["b"], **seeds(1)
        ),
        "controls": {"networks": {"tinynet": control}},
    }
    for stage in stages.values():
        stage |= {"seconds": 1.5, "environment": {}}
    assert list(results.trained(stages)) == ["student", "tinynet"]
    right = {
        "teacher": [[1, 1, 1, 0]],
        "student": [[1, 0, 0, 0], [0, 1, 0, 1]],
        "tinynet": [[0, 1, 1, 1], [0, 0, 0, 0]],
    }
    found = results.assemble_results(
        {"seed": 3},
        "shapes",
        stages,
        {name: np.array(rows, bool) for name, rows in right.items()},
        np.array([0, 0, 0, 1]),
        {},
    )
    assert found["seed"] == 3 and found["files"] == {}
    assert found["doubts"] == ["a", "by chance", "b"]
    teacher, student, tinynet = results.networks(found).values()
    assert teacher["test_accuracy"] == 0.75
    assert "test_accuracies" not in teacher
    assert student["test_accuracy"] == 0.5
    assert student["test_accuracies"] == [0.25, 0.5]
    assert student["compression_ratio"] == 10
    assert student["predicted_accuracy"] == 0.85
    assert tinynet["test_accuracy"] == 0.75
    assert tinynet["predicted_accuracy"] is None
    assert found["classes"] == {
        "num_images": [3, 1],
        "teacher": [1.0, 0.0],
        "student": [1 / 3, 1.0],
    }


def test_classes_stand_in_the_order_of_what_they_lost():
    found = findings.results()
    assert [row[0] for row in results.class_changes(found)] == [1, 0, 2]
    assert results.classes_text(found) == (
        "Class by class, the student's test accuracy is from -20.00 points "
        "(class 1) to +0.00 (class 2) of the teacher's."
    )
