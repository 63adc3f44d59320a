"""Tests of `outcome`: on a teacher and students whose accuracy is known."""

import keras
import numpy as np
import pytest
import tiny

from archcomp_tf import measurement, outcome
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.litert import PRECISIONS, convert
from archcomp_tf.run import Run

NETWORK = Architecture.parse("conv3x3-4")
FOLDER = f"students/{NETWORK.fingerprint}"
STUDENT = {
    "fingerprint": NETWORK.fingerprint,
    "trainings": [f"{FOLDER}/seed_{seed}.keras" for seed in range(2)],
    "best": 1,
}


def _constant(label: int) -> keras.Model:
    """A network that puts every image in one class."""
    model = build(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    kernel, bias = model.get_layer("classifier").get_weights()
    bias[label] = 100
    model.get_layer("classifier").set_weights([kernel, bias])
    return model


@pytest.fixture
def run(tmp_path):
    test = tiny.split(32, 2)
    test.labels[:] = [0] * 24 + [1] * 8
    dataset = tiny.dataset()
    object.__setattr__(dataset, "test", test)
    run = Run(tiny.config(""), tmp_path, dataset=dataset)
    (tmp_path / "teacher").mkdir()
    _constant(0).save(tmp_path / "teacher/model.keras")
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for seed, label in enumerate((1, 0)):
        _constant(label).save(folder / f"seed_{seed}.keras")
    _constant(0).save(folder / "model.keras")
    return run


def _stages(run):
    return {"students": STUDENT, "controls": {"networks": {"other": STUDENT}}}


def test_every_training_of_every_network_is_judged(run):
    zeros = run.dataset.test.labels == 0
    right = outcome._correct(run, _stages(run))
    expected = {
        "teacher": [zeros],
        "student": [~zeros, zeros],
        "other": [~zeros, zeros],
    }
    assert right.keys() == expected.keys()
    for name, trainings in expected.items():
        np.testing.assert_array_equal(right[name], trainings)


def test_the_files_of_teacher_and_student_are_measured(run):
    files = outcome._files(run, STUDENT)
    assert set(files) == {
        "teacher_float32",
        "student_float32",
        "student_float16",
        "student_int8",
    }
    folder = run.workdir.path / FOLDER / "litert"
    for name, file in files.items():
        assert file["accuracy"] == 0.75
        assert file["latency_ms"] > 0
        assert file["ram_bytes"] > 0
        if name.startswith("student"):
            path = folder / f"{name.removeprefix('student_')}.tflite"
            assert file["bytes"] == path.stat().st_size


def test_files_take_images_from_0_to_1_whatever_the_teacher_takes(run):
    inputs = keras.Input(tiny.SHAPE)
    network = build(NETWORK, tiny.SHAPE, tiny.NUM_CLASSES)
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    teacher = keras.Model(inputs, network(scaled))
    teacher.save(run.workdir.path / "teacher/model.keras")
    images = run.dataset.test.images[:4]
    files = outcome._files(run, STUDENT)
    # Nothing of what scales is in the student's: it is what limits are of.
    bare = keras.models.load_model(run.path(STUDENT["trainings"][1]))
    alone = convert(bare, "int8", run.dataset.train.images)
    assert files["student_int8"]["bytes"] == len(alone)
    np.testing.assert_allclose(
        measurement.outputs(
            run.workdir.path / "teacher/litert/float32.tflite", images
        ),
        network(images),
        atol=1e-4,
    )


def test_a_teacher_that_litert_cannot_hold_costs_its_own_file_alone(
    run, caplog
):
    inputs = keras.Input(tiny.SHAPE)
    x = keras.layers.Dense(tiny.NUM_CLASSES)(keras.layers.Flatten()(inputs))
    teacher = keras.Model(inputs, keras.ops.erfinv(x))
    teacher.save(run.workdir.path / "teacher/model.keras")
    files = outcome._files(run, STUDENT)
    assert set(files) == {f"student_{kind}" for kind in PRECISIONS}
    assert "no LiteRT files of the teacher" in caplog.text


def test_where_litert_holds_neither_there_are_no_files(
    run, monkeypatch, caplog
):
    def refuse(*_, **__):
        raise outcome.ConversionError("too strange")

    monkeypatch.setattr(outcome, "export_litert", refuse)
    assert outcome._files(run, STUDENT) == {}
    for name in ("teacher", "student"):
        assert f"no LiteRT files of the {name}: too strange" in caplog.text


def test_a_file_that_breaks_a_limit_by_layers_in_front_is_named(run, caplog):
    run.config.limits.max_ram_bytes = 100
    outcome._warn_of_front(run, {"student_int8": {"ram_bytes": 100}})
    assert not caplog.messages
    outcome._warn_of_front(run, {"student_int8": {"ram_bytes": 1600}})
    (message,) = caplog.messages
    assert "max_ram_bytes is 100;" in message and "has 1,600" in message
