"""Tests of what a run says before it begins."""

import contextlib

import keras
import pytest
import tiny

from archcomp_tf import forecast
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.config import ConfigError, objective_config
from archcomp_tf.corpus import Corpus, Record
from archcomp_tf.progress import duration
from archcomp_tf.run import Run
from archcomp_tf.samples import initial_samples
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.workdir import STAGES

_FLOPS_A_SECOND, _VALUES_A_SECOND = 1e9, 1e8


@pytest.fixture(autouse=True)
def _known_speed(monkeypatch):
    monkeypatch.setattr(
        forecast, "_speeds", lambda: (_FLOPS_A_SECOND, _VALUES_A_SECOND)
    )


def _run(folder, teacher=None, **changes) -> Run:
    config = tiny.config("")
    config.update_from_flattened_dict(changes)
    return Run(config, folder, teacher=teacher, dataset=tiny.dataset())


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


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": objective_config("Tolerance", max_drop=0.1)},
        {"limits.max_accuracy_drop": 0.1},
    ],
)
def test_a_label_of_the_teachers_layers_is_foretold(tmp_path, changes):
    (_, one, *_), (_, two, *_) = (
        forecast.forecast(_run(tmp_path / f"{len(c)}", **c))
        for c in ({}, changes)
    )
    assert "the teacher's own layers trained" in two.what
    assert "own layers" not in one.what and two.seconds > one.seconds


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
    # Both finalists from the first seed, the better one from the second, too.
    training = one["students"] / 2
    assert two["search"] - one["search"] == pytest.approx(3 * training)


@pytest.mark.parametrize(
    "limit",
    [
        {"limits.max_flops": 5000},
        {"limits.max_ram_bytes": 100},
        {"limits.max_params": 1000},
        {"objective": objective_config("Budget", max_params=1000)},
    ],
)
def test_proposals_are_foretold_to_be_as_small_as_is_wanted(tmp_path, limit):
    free = _seconds(_run(tmp_path / "free"))
    limited = _seconds(_run(tmp_path / "limited", **limit))
    assert limited["search"] < free["search"]
    assert limited["students"] < free["students"]
    # Of what the objective knows of samples may be anything.
    known = "limits.max_params" in limit or "objective" in limit
    assert (limited["corpus"] == free["corpus"]) == known


def test_what_has_to_be_measured_is_foretold(tmp_path):
    # No limit that any network breaks.
    huge = {"limits.max_file_bytes": 10**9, "limits.max_params": 10**9}
    free = _run(tmp_path / "free", **{"limits.max_params": 10**9})
    limited = _run(tmp_path / "limited", **huge)
    one, two = (
        {step.stage: step for step in forecast.forecast(run)}
        for run in (free, limited)
    )
    assert "16 networks measured, for max_file_bytes; " in two["corpus"].what
    assert "measured" not in one["corpus"].what
    for stage in ("corpus", "search"):
        assert two[stage].seconds > one[stage].seconds + 5
    assert two["students"].seconds == one["students"].seconds


def test_limits_foretell_the_networks_that_they_ask_for(tmp_path):
    def trained(name, **changes):
        return _seconds(_run(tmp_path / name, **changes))["students"]

    small = trained("params", **{"limits.max_params": 1000})
    # An int8 file has more than a byte for a weight.
    assert trained("bytes", **{"limits.max_file_bytes": 1000}) == small
    # What is asked for is the limits' alone, where there are any.
    flops = {"limits.max_flops": 10**9}
    budget = objective_config("Budget", max_params=1000)
    assert trained("flops", **flops) > small
    assert trained("both", **flops, objective=budget) == trained(
        "flops_too", **flops
    )


def test_where_nothing_is_as_small_any_sample_is_foretold(tmp_path):
    run = _run(tmp_path / "limited", **{"limits.max_params": 1})
    assert _seconds(run) == _seconds(_run(tmp_path / "free"))


def test_a_training_takes_its_arithmetic_and_its_memory_and_some_time_besides(
    tmp_path,
):
    run = _run(tmp_path, **{"teacher.recipe.epochs": 1000})
    step = forecast.forecast(run)[0]
    # Two convolutions of 16 filters on 4x4 images, a pool, the classifier.
    flops = 2 * (16 * 9 * 16 * (1 + 16) + 16 * tiny.NUM_CLASSES)
    # Each with batch norm and ReLU; the pool; the mean of its 2x2 pixels.
    values = 16 * (2 * 3 * 16 + 4 + 1) + tiny.NUM_CLASSES
    image = flops / _FLOPS_A_SECOND + values / _VALUES_A_SECOND
    assert 0 < step.seconds - 3 * 64 * 1000 * image < 20
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


@pytest.mark.parametrize(
    ("num_known", "what"),
    [
        (8, "no samples, beside 8 labels of "),
        # 3 lack to what the heads need.
        (5, "3 samples trained for 1 epochs of 64 images, beside 5 labels of "),
    ],
)
def test_labels_of_another_run_stand_in_for_the_samples(
    tmp_path, num_known, what
):
    path = tmp_path / "known.jsonl"
    teacher = Architecture.parse(tiny.config("").teacher.architecture)
    space = SearchSpace.around(
        teacher, tiny.SHAPE, tiny.NUM_CLASSES, num_widths=4
    )
    with contextlib.closing(Corpus(path)) as corpus:
        for sample in initial_samples(space, num_known, 0):
            corpus.append(Record(sample, 0.5, space.count_params(sample)))
    run = _run(
        tmp_path / "run",
        corpus=str(path),
        **{"labels.num_initial": 0, "labels.num_labels": 6},
    )
    (step,) = [s for s in forecast.forecast(run) if s.stage == "corpus"]
    assert step.what == f"{what}{path}"
    assert (step.seconds == 0) == (num_known == 8)


def test_labels_that_are_of_another_space_are_refused_at_once(tmp_path):
    path = tmp_path / "known.jsonl"
    with contextlib.closing(Corpus(path)) as corpus:
        other = Architecture.parse("conv3x3-999")
        corpus.append(Record(other, 0.5, 12_345))
    run = _run(tmp_path / "run", corpus=str(path))
    with pytest.raises(ConfigError, match="None of the 1 networks of "):
        forecast.forecast(run)


def test_the_header_says_what_is_wanted_and_where_it_goes_on(tmp_path):
    run = _run(tmp_path, **{"limits.max_params": 500})
    steps = forecast.forecast(run)
    first, wanted, *stages, last = forecast.forecast_lines(run, steps)
    assert first.startswith(
        "sides: 64 images to learn from, 32 to choose by, 32 to test with"
    )
    assert wanted == "wanted: Limits(max_params=500)"
    assert [line.partition(":")[0] for line in stages] == list(STAGES)
    total = duration(sum(step.seconds for step in steps))
    assert last.startswith(f"in all about {total}") and str(tmp_path) in last
    without = _run(tmp_path / "other")
    assert (
        forecast.forecast_lines(without, steps)[1]
        == "wanted: LogParams(weight=0.05)"
    )


def test_the_speed_of_this_machine_is_a_plausible_one(monkeypatch):
    monkeypatch.undo()
    flops_a_second, values_a_second = forecast._speeds()
    assert 1e7 < flops_a_second < 1e16
    assert 1e6 < values_a_second < 1e14
