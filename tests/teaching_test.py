"""Tests of `archcomp_tf.teaching`; `pipeline_test` runs it as a stage."""

import re

import keras
import numpy as np
import pytest
import tiny

import archcomp_tf
from archcomp_tf import checkpoint
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.distillation import teacher_logits
from archcomp_tf.keras_graph import UnsupportedModelError
from archcomp_tf.run import Run
from archcomp_tf.teaching import forget_training, prepare_teacher
from archcomp_tf.training import Recipe, build_and_train


@pytest.fixture(autouse=True)
def _seeded():
    """A teacher that nobody trained is the same one each time."""
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("unseen", [False, True])
def test_a_teacher_that_seems_to_know_all_images_is_doubted(
    tmp_path, caplog, unseen
):
    model, _ = build_and_train(
        Architecture.parse("conv3x3-16"),
        tiny.dataset(),
        Recipe(epochs=40, batch_size=16),
        seed=0,
    )
    dataset = tiny.dataset()
    if unseen:  # it is wrong about a quarter of the images to choose by
        dataset.validation.labels[::4] = 1 - dataset.validation.labels[::4]
    run = Run(tiny.config(""), tmp_path, teacher=model, dataset=dataset)
    with caplog.at_level("WARNING", logger="archcomp_tf"):
        prepare_teacher(run)
    doubted = "as accurate on the 32 images to choose by" in caplog.text
    assert doubted == (not unseen)


def test_a_teacher_that_gives_no_numbers_is_refused(tmp_path):
    model = build(Architecture.parse("conv3x3-4"), tiny.SHAPE, 2)
    model.get_layer("classifier").bias.assign([0.0, np.nan])
    run = Run(
        tiny.config(""),
        tmp_path,
        teacher=model,
        dataset=tiny.dataset(),
    )
    with pytest.raises(ValueError, match="finite outputs .* NaN for 64 of 64"):
        prepare_teacher(run)


def test_a_directory_is_not_that_of_a_teacher_that_was_refused(tmp_path):
    image = keras.Input(tiny.SHAPE)
    x = keras.layers.Conv2D(4, 3)(image)
    x = keras.layers.Concatenate()([x, x])
    x = keras.layers.GlobalAveragePooling2D()(x)
    teacher = keras.Model(image, keras.layers.Dense(tiny.NUM_CLASSES)(x))

    def run(around):
        config = tiny.config("")
        config.space.around = around
        data = tiny.dataset()
        return Run(config, tmp_path, teacher=teacher, dataset=data)

    with pytest.raises(UnsupportedModelError, match="space.around names"):
        prepare_teacher(run(""))
    assert not (tmp_path / "teacher").exists()
    assert prepare_teacher(run("conv3x3-8"))["architecture"] == "conv3x3-8"


def test_a_teacher_with_one_output_answers_with_two(tmp_path):
    layers = keras.layers
    teacher = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    run = Run(
        tiny.config(""),
        tmp_path,
        teacher=teacher,
        dataset=tiny.dataset(),
    )
    record = prepare_teacher(run)
    assert record["architecture"] == "conv3x3-4"
    validation = run.dataset.validation
    probability = teacher.predict(validation.images, verbose=0)[:, 0]
    expected = np.mean((probability > 0.5) == validation.labels)
    assert record["validation_accuracy"] == expected
    logits = np.load(tmp_path / "teacher/logits.npy")
    probability = teacher.predict(run.dataset.train.images, verbose=0)[:, 0]
    np.testing.assert_allclose(
        logits[:, 1] - logits[:, 0],
        np.log(probability / (1 - probability)),
        atol=1e-3,
    )


@pytest.mark.parametrize("mirror", [False, True])
def test_that_a_teacher_saw_mirrored_images_is_said_where_students_do_not(
    tmp_path, caplog, mirror
):
    network = build(Architecture.parse("conv3x3-4"), tiny.SHAPE, 2)
    inputs = keras.Input(tiny.SHAPE)
    flipped = keras.layers.RandomFlip("horizontal")(inputs)
    config = tiny.config("")
    config.student.recipe.mirror = mirror
    run = Run(
        config,
        tmp_path,
        teacher=keras.Model(inputs, network(flipped)),
        dataset=tiny.dataset(),
    )
    with caplog.at_level("WARNING", logger="archcomp_tf"):
        prepare_teacher(run)
    assert ("recipe.mirror = True" in caplog.text) == (not mirror)


def _sides(low: float, high: float) -> keras.Model:
    """Tells the sides apart, of images from `low` to `high`."""
    layers = keras.layers
    teacher = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            layers.Flatten(),
            layers.Dense(tiny.NUM_CLASSES),
        ]
    )
    # It adds up the eight pixels of the right half, which one class has
    # brighter, and holds them against a threshold.
    kernel = np.zeros((*tiny.SHAPE[:2], tiny.NUM_CLASSES), np.float32)
    kernel[:, 2:, 1] = 1
    threshold = np.array([8 * low + (high - low) * 2.0, 0.0], np.float32)
    teacher.set_weights([kernel.reshape(-1, tiny.NUM_CLASSES), threshold])
    return teacher


def _given(teacher: keras.Model, folder) -> Run:
    config = tiny.config("")
    config.space.around = "conv3x3-16"
    return Run(config, folder, teacher=teacher, dataset=tiny.dataset())


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1)])
def test_a_teacher_that_learnt_other_values_than_it_is_given_is_refused(
    tmp_path, low, high
):
    teacher = _sides(low, high)
    layer = f"Rescaling({high - low}, offset={low})"
    with pytest.raises(ValueError, match=re.escape(f"put {layer} in front")):
        prepare_teacher(_given(teacher, tmp_path / "one"))
    wrapped = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            keras.layers.Rescaling(high - low, offset=low),
            teacher,
        ]
    )
    record = prepare_teacher(_given(wrapped, tmp_path / "other"))
    assert record["validation_accuracy"] == 1


def test_a_teacher_that_scales_what_was_scaled_before_is_refused(tmp_path):
    teacher = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            keras.layers.Rescaling(1 / 255),
            _sides(0, 1 / 255),
        ]
    )
    with pytest.raises(
        ValueError, match=r"from 0 to 255, .* put Rescaling\(1 / 255, offset=0"
    ):
        prepare_teacher(_given(teacher, tmp_path))


def test_so_is_one_whose_layers_in_front_leave_the_values_as_they_are(
    tmp_path,
):
    teacher = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            keras.layers.Resizing(*tiny.SHAPE[:2]),
            keras.layers.RandomFlip(),
            _sides(0, 255),
        ]
    )
    with pytest.raises(ValueError, match=r"put Rescaling\(255, offset=0\) in"):
        prepare_teacher(_given(teacher, tmp_path))


@pytest.mark.parametrize("doubtful", [False, True])
def test_a_teacher_that_is_right_by_chance_alone_is_doubted(
    tmp_path, caplog, doubtful
):
    teacher = _sides(0, 1)
    if doubtful:  # it always says the same
        kernel, threshold = teacher.get_weights()
        teacher.set_weights([0 * kernel, threshold])
    with caplog.at_level("WARNING", logger="archcomp_tf"):
        record = prepare_teacher(_given(teacher, tmp_path))
    doubted = "given values from 0 to 1: if it was trained" in caplog.text
    assert doubted == doubtful
    assert all(doubt in caplog.text for doubt in record["doubts"])
    assert any("by chance" in doubt for doubt in record["doubts"]) == doubtful
    assert ("as accurate on the" in caplog.text) != doubtful


@pytest.mark.parametrize("unsmooth_epochs", [0, 10])
def test_a_teacher_trained_on_smoothed_labels_is_named_or_mended(
    tmp_path, caplog, unsmooth_epochs
):
    config = archcomp_tf.default_config()
    with config.unlocked():
        config.teacher.architecture = "conv3x3-32 max_pool2x2/2 conv3x3-64"
        config.teacher.recipe.update(epochs=20, label_smoothing=0.1)
        config.teacher.unsmooth_epochs = unsmooth_epochs
    with caplog.at_level("WARNING", logger="archcomp_tf"):
        run = Run(config, tmp_path)
        prepare_teacher(run)
    warned = "trained with a label smoothing of 0." in caplog.text
    assert warned == (not unsmooth_epochs)
    # Students learn from the copy; what they are held against is the teacher.
    teacher = keras.models.load_model(tmp_path / "teacher/model.keras")
    own = teacher_logits(teacher, run.dataset.train.images)
    answers = np.load(tmp_path / "teacher/logits.npy")
    assert np.allclose(own, answers, atol=1e-3) == (not unsmooth_epochs)
    forget_training(run)
    assert sorted(p.name for p in (tmp_path / "teacher").iterdir()) == [
        *("logits.npy", "model.keras"),
    ]


def test_a_training_goes_on_from_no_state_of_other_images(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, "_MIN_SECONDS", 0.0)
    config = tiny.config("")
    with config.unlocked():
        config.teacher.architecture = "conv3x3-4"
        config.teacher.recipe.epochs = 3
    prepare_teacher(Run(config, tmp_path, dataset=tiny.dataset()))
    dataset = tiny.dataset()
    dataset.train.images[:] = dataset.train.images[::-1]
    dataset.train.labels[:] = dataset.train.labels[::-1]
    for folder in ("alone", "."):  # the last one has a state of the others
        other = Run(config, tmp_path / folder, dataset=dataset)
        prepare_teacher(other)
    np.testing.assert_array_equal(
        np.load(tmp_path / "alone/teacher/logits.npy"),
        np.load(tmp_path / "teacher/logits.npy"),
    )
