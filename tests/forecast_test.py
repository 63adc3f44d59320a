"""Tests of what a run says before it begins."""

import keras
import pytest
import tiny

from archcomp_tf import forecast
from archcomp_tf.builder import build
from archcomp_tf.pipeline import STAGES
from archcomp_tf.run import Run

_SPEED = 1e9


@pytest.fixture(autouse=True)
def _known_speed(monkeypatch):
    monkeypatch.setattr(forecast, "_flops_a_second", lambda: _SPEED)


def _run(folder, teacher=None, **changes) -> Run:
    config = tiny.config("")
    config.update_from_flattened_dict(changes)
    return Run(config, folder, STAGES, teacher=teacher, dataset=tiny.dataset())


def _seconds(run) -> dict[str, float]:
    return {step.stage: step.seconds for step in forecast.forecast(run)}


def test_every_stage_is_foretold_in_its_order(tmp_path):
    assert list(_seconds(_run(tmp_path))) == list(STAGES)


def test_what_is_done_is_not_foretold(tmp_path):
    run = _run(tmp_path)
    for name in ("autoencoder", "report"):
        run.workdir.finish_stage(name, {})
    assert set(STAGES) - set(_seconds(run)) == {"autoencoder", "report"}


def test_twice_the_labels_take_twice_as_long(tmp_path):
    one = _run(tmp_path / "one")
    two = _run(
        tmp_path / "two",
        **{"labels.num_initial": 16, "labels.num_labels": 26},
    )
    assert _seconds(two)["corpus"] == 2 * _seconds(one)["corpus"]
    assert _seconds(two)["search"] > _seconds(one)["search"]


def test_a_single_finalist_is_foretold_as_the_student_it_becomes(tmp_path):
    one, two = (
        _seconds(
            _run(
                tmp_path / f"{n}",
                **{
                    "student.num_finalists": n,
                    "student.num_tuning_trials": 1,
                },
            )
        )
        for n in (1, 2)
    )
    assert two["students"] == 0 < one["students"]
    assert one["students"] == pytest.approx((two["search"] - one["search"]) / 2)


def test_no_proposal_is_foretold_to_do_more_work_than_it_may(tmp_path):
    free, limited, more = (
        _seconds(_run(tmp_path / str(n), **{"limits.max_flops": n}))
        for n in (0, 500, 1500)
    )
    # Two proposals, and twice two finalists, are trained for these images.
    num_images = 2 * 64 * 1 + 4 * 64 * 2
    arithmetic = 3 * num_images * 1000 / (0.6 * _SPEED)
    assert more["search"] - limited["search"] == pytest.approx(arithmetic)
    assert more["search"] < free["search"]
    # Samples may be anything.
    assert limited["corpus"] == free["corpus"]


def test_a_training_takes_its_arithmetic_and_what_stands_around_it(tmp_path):
    run = _run(tmp_path, **{"teacher.recipe.epochs": 1000})
    step = forecast.forecast(run)[0]
    # Two convolutions of 16 filters on 4x4 images, a pool, the classifier.
    flops = 2 * (16 * 9 * 16 * (1 + 16) + 16 * tiny.NUM_CLASSES)
    arithmetic = 3 * 64 * 1000 * flops / (0.6 * _SPEED)
    assert 0 < step.seconds - arithmetic < 20
    assert "1000 epochs of 64 images" in step.what


def test_a_trained_teacher_is_used_as_it_is(tmp_path):
    layers = keras.layers
    teacher = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            layers.Conv2D(8, 3, activation="relu"),  # padding valid: smaller
            layers.Flatten(),
            layers.Dense(tiny.NUM_CLASSES),
        ]
    )
    run = _run(tmp_path, teacher)
    step = forecast.forecast(run)[0]
    assert step.what == f"{teacher.count_params():,} parameters, used as it is"


def test_epochs_of_a_copy_without_smoothing_are_foretold(tmp_path):
    plain = forecast.forecast(_run(tmp_path / "plain"))[0]
    changes = {"teacher.unsmooth_epochs": 7}
    step = forecast.forecast(_run(tmp_path / "copy", **changes))[0]
    assert step.what.endswith("trained on for 7 without label smoothing")
    assert step.seconds > plain.seconds


def test_a_teacher_that_does_not_fit_is_named_before_anything_is_foretold(
    tmp_path,
):
    network = forecast.Architecture.parse("conv3x3-8")
    run = _run(tmp_path, build(network, (4, 4, 3), tiny.NUM_CLASSES))
    with pytest.raises(ValueError, match="colour"):
        forecast.forecast(run)


def test_a_space_around_another_network_is_named(tmp_path):
    run = _run(tmp_path, **{"space.around": "mobilenet_v1"})
    texts = {step.stage: step.what for step in forecast.forecast(run)}
    assert "around mobilenet_v1, none" in texts["autoencoder"]
    own = _seconds(_run(tmp_path / "own"))
    assert own["corpus"] < _seconds(run)["corpus"]
    assert own["teacher"] == _seconds(run)["teacher"]


def test_labels_of_another_run_stand_in_for_the_samples(tmp_path):
    run = _run(tmp_path, corpus="known.jsonl")
    assert _seconds(run)["corpus"] == 0
    assert forecast.forecast(run)[1].what.endswith("labels of known.jsonl")


def test_the_header_says_what_is_wanted_and_where_it_goes_on(tmp_path):
    run = _run(tmp_path, **{"limits.max_params": 500})
    steps = forecast.forecast(run)
    first, wanted, *stages, last = forecast.forecast_lines(run, steps)
    assert first.startswith(
        "sides: 64 images to learn from, 32 to choose by, 32 to test with"
    )
    assert wanted == "wanted: Limits(max_params=500)"
    assert [line.partition(":")[0] for line in stages] == list(STAGES)
    total = forecast.duration(sum(step.seconds for step in steps))
    assert last.startswith(f"in all about {total}") and str(tmp_path) in last
    without = _run(tmp_path / "other")
    assert (
        forecast.forecast_lines(without, steps)[1]
        == "wanted: LogParams(weight=0.05)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (700, "12 min"), (9000, "2.5 h")],
)
def test_durations_are_rounded_as_people_say_them(seconds, text):
    assert forecast.duration(seconds) == text


def test_the_speed_of_this_machine_is_a_plausible_one(monkeypatch):
    monkeypatch.undo()
    assert 1e7 < forecast._flops_a_second() < 1e16
