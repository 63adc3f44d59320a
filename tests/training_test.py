"""Tests of `archcomp_tf.training`."""

import dataclasses

import keras
import numpy as np
import pytest

from archcomp_tf import checkpoint, inference, training
from archcomp_tf.architecture import Architecture
from archcomp_tf.backend import dtype_policy
from archcomp_tf.builder import build
from archcomp_tf.checkpoint import Checkpoint
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.images import unit
from archcomp_tf.training import DivergedError, Recipe

INPUT_SHAPE, NUM_CLASSES = (6, 6, 1), 4
ARCHITECTURE = Architecture.parse("conv3x3-4 flatten")
RECIPE = Recipe(epochs=10, batch_size=16)


def _split(num: int, seed: int) -> Split:
    """Class c is a bright quarter c: linearly separable."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % NUM_CLASSES
    images = rng.uniform(0, 0.3, (num, *INPUT_SHAPE))
    for image, label in zip(images, labels, strict=True):
        top, left = 3 * (label // 2), 3 * (label % 2)
        image[top : top + 3, left : left + 3] += 0.7
    return Split(images.astype(np.float32), labels.astype(np.int32))


DATASET = Dataset(
    "quarters", NUM_CLASSES, _split(64, 0), _split(32, 1), _split(32, 2)
)


def _train(recipe=RECIPE, seed=0, dataset=DATASET, **options):
    """A network, and what `train` gave back for it."""
    keras.utils.set_random_seed(seed)
    model = build(ARCHITECTURE, INPUT_SHAPE, NUM_CLASSES)
    result = training.train(model, dataset, recipe, seed=seed, **options)
    return model, result


def _same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# A teacher that takes every class for the next one, and is sure of it.
NEXT_CLASS = (np.arange(NUM_CLASSES) + 1) % NUM_CLASSES
TEACHER_LOGITS = (
    8 * np.eye(NUM_CLASSES, dtype=np.float32)[NEXT_CLASS[DATASET.train.labels]]
)


def test_bytes_are_trained_on_as_the_same_images_in_0_to_1_are():
    def changed(images_of):
        parts = ("train", "validation", "test")
        splits = {name: getattr(DATASET, name) for name in parts}
        return dataclasses.replace(
            DATASET,
            **{
                name: Split(images_of(split.images), split.labels)
                for name, split in splits.items()
            },
        )

    pixels = changed(lambda x: np.round(255 * x).astype(np.uint8))
    floats = changed(lambda x: unit(np.round(255 * x).astype(np.uint8)))
    recipe = dataclasses.replace(RECIPE, max_shift=1, mirror=True)
    one, result = _train(recipe, dataset=pixels)
    other, expected = _train(recipe, dataset=floats)
    assert _same_weights(one, other)
    assert result.validation_accuracy == expected.validation_accuracy


def _agreement(model: keras.Model, labels: np.ndarray) -> float:
    logits = inference.logits(model, DATASET.validation.images)
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def test_training_lowers_the_loss_and_learns_separable_classes():
    model, result = _train()
    assert len(result.losses) == RECIPE.epochs
    assert result.losses[-1] < result.losses[0] / 2
    assert result.validation_accuracy > 0.9
    assert result.validation_accuracy == inference.accuracy(
        model, DATASET.validation
    )
    assert result.seconds > 0


def test_the_same_seed_gives_identical_weights_and_another_does_not():
    one, _ = _train(seed=1)
    same, _ = _train(seed=1)
    assert _same_weights(one, same)

    # Same initial weights: the seed of `train` orders the images.
    keras.utils.set_random_seed(1)
    other = build(ARCHITECTURE, INPUT_SHAPE, NUM_CLASSES)
    training.train(other, DATASET, RECIPE, seed=2)
    assert not _same_weights(one, other)


def test_without_labels_a_student_learns_the_teachers_classes():
    # Guards against a loss on the logits in place of their softmax, as in
    # Keras' own LogitsDistillation by default: it learns next to nothing.
    recipe = dataclasses.replace(RECIPE, label_weight=0.0)
    model, result = _train(recipe, teacher_logits=TEACHER_LOGITS)
    labels = DATASET.validation.labels
    assert _agreement(model, NEXT_CLASS[labels]) > 0.9
    assert result.validation_accuracy == _agreement(model, labels) < 0.1


def test_a_teacher_changes_what_is_learnt_in_proportion_to_its_weight():
    plain, _ = _train()
    half, _ = _train(teacher_logits=TEACHER_LOGITS)
    assert not _same_weights(plain, half)
    recipe = dataclasses.replace(RECIPE, label_weight=1.0)
    unheard, _ = _train(recipe, teacher_logits=TEACHER_LOGITS)
    pairs = zip(plain.get_weights(), unheard.get_weights(), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_distillation_trains_the_model_itself_in_place():
    keras.utils.set_random_seed(0)
    model = build(ARCHITECTURE, INPUT_SHAPE, NUM_CLASSES)
    before = model.get_weights()
    layers = list(model.layers)
    training.train(
        model,
        DATASET,
        dataclasses.replace(RECIPE, epochs=1),
        seed=0,
        teacher_logits=TEACHER_LOGITS,
    )
    assert model.layers == layers
    changed = zip(before, model.get_weights(), strict=True)
    assert all(np.any(one != other) for one, other in changed)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("num_bad", [1, 64])
def test_a_loss_that_is_not_a_number_raises(epochs, num_bad):
    images = DATASET.train.images.copy()
    images[:num_bad] = np.nan
    dataset = dataclasses.replace(
        DATASET, train=Split(images, DATASET.train.labels)
    )
    recipe = dataclasses.replace(RECIPE, epochs=epochs)
    # In the first epoch, at once: the rest would be wasted.
    message = f"became nan in epoch 1 of {epochs}"
    with pytest.raises(DivergedError, match=message):
        _train(recipe, dataset=dataset)


def _keras_fit(model, inputs, trainee, rates):
    """Full batches by Keras' own trainer, by these learning rates."""
    trainee.compile(
        keras.optimizers.SGD(
            momentum=0.9,
            nesterov=True,
            weight_decay=RECIPE.weight_decay,
            global_clipnorm=training._MAX_GRADIENT,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    trainee.fit(
        inputs,
        DATASET.train.labels,
        batch_size=64,
        shuffle=False,
        epochs=len(rates),
        callbacks=[keras.callbacks.LearningRateScheduler(lambda e: rates[e])],
        verbose=0,
    )
    return model


class _Take(keras.layers.Layer):
    """One of several named inputs."""

    def __init__(self, key):
        super().__init__()
        self._key = key

    def call(self, inputs):
        return inputs[self._key]


@pytest.mark.parametrize("max_gradient", [0.01, 1e9])
@pytest.mark.parametrize("distilled", [False, True])
def test_steps_are_those_of_keras_own_optimizer_losses_and_distiller(
    distilled, max_gradient, monkeypatch
):
    monkeypatch.setattr(training, "_MAX_GRADIENT", max_gradient)
    recipe = dataclasses.replace(
        RECIPE, batch_size=64, epochs=5, temperature=3.0, label_weight=0.3
    )
    # A full batch a step, so that the order of the images does not matter.
    ours, _ = _train(
        recipe, teacher_logits=TEACHER_LOGITS if distilled else None
    )
    keras.utils.set_random_seed(0)
    model = build(ARCHITECTURE, INPUT_SHAPE, NUM_CLASSES)
    rates = training._learning_rates(recipe, 5)
    images = DATASET.train.images
    if distilled:
        inputs = {
            "image": keras.Input(INPUT_SHAPE, name="image"),
            "teacher": keras.Input((NUM_CLASSES,), name="teacher"),
        }
        trainee = keras.distillation.Distiller(
            teacher=keras.Model(inputs, _Take("teacher")(inputs)),
            student=keras.Model(inputs, model(_Take("image")(inputs))),
            distillation_losses=keras.distillation.LogitsDistillation(
                temperature=3.0, loss=keras.losses.KLDivergence()
            ),
            student_loss_weight=0.3,
        )
        arrays = {"image": images, "teacher": TEACHER_LOGITS}
        _keras_fit(model, arrays, trainee, rates)
    else:
        _keras_fit(model, images, model, rates)
    pairs = zip(ours.get_weights(), model.get_weights(), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_training_is_in_the_fastest_precision_and_its_network_in_float32(
    monkeypatch,
):
    trained = []

    def train(model, *args, **kwargs):
        trained.append(model)
        return real(model, *args, **kwargs)

    real = training.train
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(
        training, "fastest_dtype_policy", lambda: "mixed_bfloat16"
    )
    with dtype_policy("mixed_float16"):  # that of somebody's session
        model, result = training.build_and_train(
            ARCHITECTURE, DATASET, RECIPE, seed=0
        )
    assert [m.compute_dtype for m in trained] == ["bfloat16"]
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert {
        type(layer).__module__.partition(".")[0] for layer in model.layers
    } == {"keras"}
    assert result.validation_accuracy > 0.9
    # Of the network that is given, not of the one that was trained.
    own = inference.accuracy(model, DATASET.validation)
    assert result.validation_accuracy == own


def test_a_network_that_is_not_kept_comes_to_the_same_accuracy():
    _, result = training.build_and_train(ARCHITECTURE, DATASET, RECIPE, seed=3)
    accuracy = training.trained_accuracy(ARCHITECTURE, DATASET, RECIPE, seed=3)
    assert accuracy == result.validation_accuracy


def test_every_image_is_seen_as_often_as_there_are_epochs():
    recipe = Recipe(epochs=4, batch_size=16)
    order = training._order(40, recipe, seed=0)
    assert order.shape == (4, 2, 16)  # 2.5 batches an epoch, rounded
    counts = np.bincount(order.ravel(), minlength=40)
    assert counts.sum() == 128
    assert set(counts) == {3, 4}
    # Fewer images than a batch has: all of them, once an epoch.
    order = training._order(5, recipe, seed=0)
    assert order.shape == (4, 1, 5)
    assert all(sorted(batch) == list(range(5)) for (batch,) in order)


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_zero():
    rates = training._learning_rates(Recipe(learning_rate=0.4), 200)
    assert rates.shape == (200,)
    np.testing.assert_allclose(rates[:3], [0.02, 0.04, 0.06])
    assert np.argmax(rates) in (19, 20)
    assert rates.max() == np.float32(0.4)
    assert np.all(np.diff(rates[20:]) < 0)
    assert rates[-1] < 1e-4


def test_a_training_stops_between_epochs_when_its_time_is_over():
    with pytest.raises(training.TimeLimitError, match="for 1 of 10 epochs"):
        _train(max_seconds=1e-4)


class _KilledError(Exception):
    """Stands for the end of the process."""


def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, "_MIN_SECONDS", 0)
    recipe = dataclasses.replace(RECIPE, epochs=4, max_shift=1)
    whole, expected = _train(recipe)

    kept = Checkpoint(tmp_path / "state.npz", "this one")
    write = Checkpoint.write

    def killed_after_two(self, arrays, losses):
        write(self, arrays, losses)
        if len(losses) == 2:
            raise _KilledError

    monkeypatch.setattr(Checkpoint, "write", killed_after_two)
    with pytest.raises(_KilledError):
        _train(recipe, checkpoint=kept)
    monkeypatch.setattr(Checkpoint, "write", write)
    # Other first weights: those that count are in the file.
    keras.utils.set_random_seed(99)
    model = build(ARCHITECTURE, INPUT_SHAPE, NUM_CLASSES)
    result = training.train(model, DATASET, recipe, seed=0, checkpoint=kept)
    assert result.losses == expected.losses
    assert _same_weights(model, whole)


def test_changed_images_are_learnt_from_and_are_others_in_each_epoch():
    plain, _ = _train()
    recipe = dataclasses.replace(RECIPE, max_shift=1, mirror=False)
    model, result = _train(recipe)
    assert not _same_weights(plain, model)
    assert result.validation_accuracy > 0.9
    draws = [
        training._draws(recipe, (2, 3), INPUT_SHAPE, 0, epoch)
        for epoch in (0, 1)
    ]
    assert not np.array_equal(*draws)


def test_a_part_of_the_images_is_the_first_of_them():
    split = DATASET.train
    part = dataclasses.replace(
        DATASET, train=Split(split.images[:24], split.labels[:24])
    )
    recipe = dataclasses.replace(RECIPE, epochs=2)
    expected, _ = _train(
        recipe, dataset=part, teacher_logits=TEACHER_LOGITS[:24]
    )
    model, _ = _train(
        dataclasses.replace(recipe, num_images=24),
        teacher_logits=TEACHER_LOGITS,
    )
    assert _same_weights(model, expected)


def test_smoothed_labels_are_those_of_keras_own_loss():
    outputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1])
    ours = training._loss(Recipe(label_smoothing=0.2), outputs, labels, None)
    keras_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.2
    )
    assert float(ours) == pytest.approx(
        float(keras_loss(np.eye(3)[labels], outputs)), abs=1e-6
    )


def test_arrays_that_do_not_belong_together_are_named():
    short = dataclasses.replace(
        DATASET, train=Split(DATASET.train.images, DATASET.train.labels[:-1])
    )
    with pytest.raises(ValueError, match="64 images, 63 labels"):
        _train(dataset=short)
    with pytest.raises(ValueError, match="64 labels, 5 teacher's logits"):
        _train(teacher_logits=TEACHER_LOGITS[:5])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("num_images", -5, "whole number, of at least 0; got -5"),
        ("epochs", 0, "whole number, of at least 1; got 0"),
        ("epochs", 1.5, r"whole number, of at least 1; got 1\.5"),
        ("batch_size", 0, "whole number, of at least 1; got 0"),
        ("learning_rate", 0.0, "above 0"),
        ("weight_decay", -0.1, "of at least 0"),
        ("temperature", 0.0, "above 0"),
        ("label_weight", 3.0, "from 0 to 1"),
        ("label_smoothing", 1.5, "from 0 to 1"),
        ("max_shift", -1, "whole number, of at least 0"),
        ("cutout", -2, "whole number, of at least 0"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_none(field, value, expected):
    with pytest.raises(ValueError, match=f"{field}.* {expected}"):
        dataclasses.replace(RECIPE, **{field: value})


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(Recipe)]
)
def test_recipes_that_differ_in_any_field_have_different_names(field):
    value = 0.7 if field.startswith("label_") else 7
    changed = dataclasses.replace(RECIPE, **{field: value})
    assert changed.name != RECIPE.name
    assert dataclasses.replace(RECIPE).name == RECIPE.name
