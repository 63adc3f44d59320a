"""Tests of what a student is held against."""

import tiny

from archcomp_tf.architecture import Architecture
from archcomp_tf.controls import train_controls
from archcomp_tf.labeling import LabelError

TEACHER = Architecture.parse("conv3x3-8 conv3x3-8")
STUDENT = Architecture.parse("conv3x3-2 conv3x3-8")


def _run(folder, num_labels, **changes):
    """A run whose search labelled so many networks, and has its student."""
    changes = {
        "labels.distil": False,
        "student.num_seeds": 1,
        "student.num_tuning_trials": 1,
        "student.recipe.epochs": 1,
        **changes,
    }
    run = tiny.taught_run(folder, TEACHER, **changes)
    run.workdir.finish_stage("search", {"num_labels": num_labels})
    student = {
        "num_params": run.space.count_params(STUDENT),
        "recipe": run.config.student.recipe.to_dict(),
    }
    run.workdir.finish_stage("students", student)
    return run


def test_controls_are_what_can_be_made_and_say_which_limits_they_break(
    tmp_path, caplog
):
    changes = {
        "limits.max_flops": 1,
        "student.controls": ("conv", "separable_conv"),
    }
    # All was known, so that no random network is labelled either.
    run = _run(tmp_path, num_labels=0, **changes)
    controls = train_controls(run)["networks"]
    assert list(controls) == ["width_scaled", "separable_conv"]
    assert "no control of conv: no layer can become one" in caplog.text
    for name, control in controls.items():
        assert (name == "separable_conv") == (
            "separable_conv" in control["architecture"]
        )
        (broken,) = control["broken_limits"]
        flops = control["num_flops"]
        assert broken == f"max_flops is 1 and it has {flops:,}"


def test_where_most_random_networks_fail_they_are_no_control(tmp_path, caplog):
    run = _run(tmp_path, num_labels=4)
    run.labeler = lambda networks: [LabelError("no memory") for _ in networks]
    assert list(train_controls(run)["networks"]) == ["width_scaled"]
    assert "no control of random networks: 4 of 4 labels failed" in caplog.text
