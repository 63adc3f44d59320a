"""Tests of `archcomp_tf.datasets`."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from archcomp_tf import datasets
from archcomp_tf.datasets import Dataset, Split
from archcomp_tf.images import DataError

NUM_TRAIN, NUM_TEST, NUM_CLASSES = 40, 12, 4


def _arrays() -> dict[str, np.ndarray]:
    """Colour images of 6x5 pixels; those of the training set all differ."""
    rng = np.random.default_rng(0)
    x_train = rng.integers(0, 256, (NUM_TRAIN, 6, 5, 3), dtype=np.uint8)
    x_train[:, 0, 0, 0] = np.arange(NUM_TRAIN)
    return {
        "x_train": x_train,
        "y_train": np.arange(NUM_TRAIN) % NUM_CLASSES,
        "x_test": rng.integers(0, 256, (NUM_TEST, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(NUM_TEST) % NUM_CLASSES,
    }


def _write(folder: pathlib.Path, **changes) -> str:
    """Writes an .npz file with some arrays changed, or left out where None."""
    arrays = {
        key: value
        for key, value in (_arrays() | changes).items()
        if value is not None
    }
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


def _ids(split: datasets.Split) -> list[int]:
    """The numbers that `_arrays` gave the training images."""
    return split.images[:, 0, 0, 0].tolist()


def test_uint8_images_are_kept_as_they_are(tmp_path):
    arrays = _arrays()
    dataset = datasets.load(_write(tmp_path))
    np.testing.assert_array_equal(dataset.test.images, arrays["x_test"])
    np.testing.assert_array_equal(dataset.test.labels, arrays["y_test"])
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int32
        assert len(split) == len(split.images) == len(split.labels)
    assert dataset.name == str(tmp_path / "data.npz")
    assert dataset.num_classes == NUM_CLASSES
    assert dataset.input_shape == (6, 5, 3)


def test_without_test_images_the_rest_is_the_same(tmp_path):
    dataset = datasets.load(_write(tmp_path))
    rest = dataset.without_test
    assert len(rest.test) == 0 and len(dataset.test) > 0
    assert (rest.train, rest.validation) == (dataset.train, dataset.validation)


def test_grey_images_get_a_channel(tmp_path):
    arrays = _arrays()
    path = _write(
        tmp_path,
        x_train=arrays["x_train"][..., 0],
        x_test=arrays["x_test"][..., 0],
    )
    dataset = datasets.load(path)
    assert dataset.input_shape == (6, 5, 1)
    np.testing.assert_array_equal(
        dataset.test.images, arrays["x_test"][..., :1]
    )


def test_validation_is_cut_from_the_training_images(tmp_path):
    dataset = datasets.load(_write(tmp_path), validation_fraction=0.3)
    ids = _ids(dataset.train) + _ids(dataset.validation)
    assert sorted(ids) == list(range(NUM_TRAIN))
    assert len(dataset.validation) == 12
    for split in (dataset.train, dataset.validation):
        labels = np.array(_ids(split)) % NUM_CLASSES
        np.testing.assert_array_equal(split.labels, labels)


def test_the_cut_is_by_class(tmp_path):
    # 8, 12 and 20 images of three classes, a quarter of each.
    labels = np.repeat([0, 1, 2], [8, 12, 20])
    path = _write(tmp_path, y_train=labels, y_test=np.arange(NUM_TEST) % 3)
    dataset = datasets.load(path, validation_fraction=0.25)
    np.testing.assert_array_equal(
        np.bincount(dataset.validation.labels), [2, 3, 5]
    )
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [6, 9, 15])


def test_the_seed_decides_the_cut_and_not_the_test_split(tmp_path):
    path = _write(tmp_path)
    one, same, other = (datasets.load(path, seed=seed) for seed in (1, 1, 2))
    assert _ids(one.validation) == _ids(same.validation)
    assert _ids(one.train) == _ids(same.train)
    assert set(_ids(one.validation)) != set(_ids(other.validation))
    np.testing.assert_array_equal(one.test.images, other.test.images)
    np.testing.assert_array_equal(one.test.labels, other.test.labels)


@pytest.mark.parametrize("fraction", [-0.1, 0, 1, 1.5, float("nan")])
def test_a_fraction_that_leaves_a_split_empty_is_refused(tmp_path, fraction):
    with pytest.raises(DataError, match=f"between 0 and 1; got {fraction}"):
        datasets.load(_write(tmp_path), validation_fraction=fraction)


def _with(key: str, index, value, dtype=None) -> dict[str, np.ndarray]:
    array = _arrays()[key].astype(dtype or _arrays()[key].dtype)
    array[index] = value
    return {key: array}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_train": np.zeros((NUM_TRAIN, 30), np.uint8)},
            r"train split: expected images of shape .*; got \[40, 30\]",
        ),
        (
            {"x_test": np.zeros((NUM_TEST, 2, 6, 5, 3), np.uint8)},
            r"test split: expected images of shape .*; got \[12, 2, 6, 5, 3\]",
        ),
        (
            {
                "x_test": np.zeros((0, 6, 5, 3), np.uint8),
                "y_test": np.arange(0),
            },
            r"test split: expected images of shape .*; got \[0, 6, 5, 3\]",
        ),
        (
            {"x_train": np.zeros((NUM_TRAIN, 0, 0, 3), np.float32)},
            r"train split: expected images of shape .*; got \[40, 0, 0, 3\]",
        ),
        (
            {"x_test": np.zeros((NUM_TEST, 4, 4, 3), np.uint8)},
            r"training images are \(6, 5, 3\) but test images \(4, 4, 3\)",
        ),
        (
            {"y_train": np.arange(39) % 4},
            r"train split: expected labels of shape \[40\].*; got \[39\]",
        ),
        (
            {"y_test": np.arange(NUM_TEST) % 3},
            "test split: expected images of each of the 4 classes; there are "
            "none of 3",
        ),
        (
            {
                "y_train": 2 * (np.arange(NUM_TRAIN) % 2),
                "y_test": np.arange(12) % 3,
            },
            "train split: expected images of each of the 3 classes; there are "
            "none of 1",
        ),
        (
            _with("y_train", 0, -1),
            "train split: expected labels from 0 on, .* got labels from -1 to",
        ),
        (
            _with("y_test", 0, 4),
            "test split: expected labels from 0 to 3; got labels from 0 to 4",
        ),
        (
            _with("x_train", (3, 0, 0, 0), np.nan, np.float32),
            "train split: expected images of numbers; some are NaN",
        ),
        (
            {"y_train": _arrays()["y_train"] + 1},
            "none of 0. Labels start at 0.",
        ),
        (
            {"y_train": np.array([3] + [0, 1, 2] * 13)},
            "40 images cannot be cut .* by class",
        ),
    ],
)
def test_a_bad_array_is_refused_with_what_was_expected_and_what_came(
    tmp_path, changes, message
):
    path = _write(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as error:
        datasets.load(path)
    assert path in str(error.value)


def test_arrays_are_cut_into_three_splits_by_class():
    images = np.arange(80 * 4, dtype=np.uint8).reshape(80, 2, 2) % 251
    labels = np.arange(80) % 4
    dataset = datasets.of(
        (images, labels), validation_fraction=0.2, test_fraction=0.25
    )
    assert (dataset.name, dataset.input_shape) == ("arrays", (2, 2, 1))
    sizes = {"train": 11, "validation": 4, "test": 5}  # of each class
    for name, each in sizes.items():
        split = getattr(dataset, name)
        np.testing.assert_array_equal(np.bincount(split.labels), [each] * 4)
    together = np.concatenate([getattr(dataset, name).images for name in sizes])
    assert sorted(together.sum(axis=(1, 2, 3), dtype=int)) == sorted(
        images.sum(axis=(1, 2), dtype=int)
    )


def test_a_tf_data_set_that_shuffles_is_cut_alike_each_time():
    images = np.random.default_rng(0).random((40, 2, 2, 1), np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(40) % 4))
    one, other = (
        datasets.of(data.shuffle(40, seed=seed).batch(8)) for seed in (1, 2)
    )
    assert one.digest == other.digest
    assert one.digest != datasets.of(data, seed=1).digest


@pytest.mark.parametrize("num_splits", [2, 3])
def test_splits_that_shuffle_are_the_same_each_time(num_splits):
    images = np.random.default_rng(0).random((40, 2, 2, 1), np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(40) % 4))
    one, other = (
        datasets.of(
            (data.shuffle(40, seed=seed).batch(8),) * num_splits,
            validation_fraction=0.25,
            seed=0,
        )
        for seed in (1, 2)
    )
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.train.labels, other.train.labels)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((1.5, 0.1), "a validation_fraction between 0 and 1; got 1.5"),
        ((0.1, 0.0), "a test_fraction between 0 and 1; got 0.0"),
        ((0.6, 0.4), "leave images to learn from; got 0.4 and 0.6"),
    ],
)
def test_fractions_that_leave_nothing_are_refused(fractions, message):
    validation_fraction, test_fraction = fractions
    with pytest.raises(DataError, match=message):
        datasets.of(
            (np.zeros((40, 2, 2), np.uint8), np.arange(40) % 4),
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
        )


def test_what_keras_loads_keeps_its_own_test_split():
    images = np.arange(100 * 4, dtype=np.uint8).reshape(100, 2, 2)
    labels = (np.arange(100) % 4)[:, None]
    pairs = ((images[:80], labels[:80]), (images[80:], labels[80:]))
    read = datasets.of(pairs, validation_fraction=0.2, seed=0)
    assert tuple(map(len, (read.train, read.validation))) == (64, 16)
    np.testing.assert_array_equal(read.test.images[..., 0], images[80:])
    np.testing.assert_array_equal(read.test.labels, labels[80:, 0])


def _thirds(form: str) -> tuple:
    """Dark images to learn from, brighter ones to choose by and to test."""
    thirds = []
    for shade, num in ((10, 40), (20, 8), (30, 12)):
        images = np.full((num, 2, 2, 3), shade, np.uint8)
        labels = np.arange(num) % 4
        pair = (images, labels)
        if form == "tf.data":
            pair = tf.data.Dataset.from_tensor_slices(pair).batch(5)
        thirds.append([*pair] if form == "lists" else pair)
    return tuple(thirds)


@pytest.mark.parametrize("form", ["tuples", "lists", "tf.data"])
def test_splits_that_are_given_stay_what_they_are(form):
    train, validation, test = _thirds(form)
    cut = {"validation_fraction": 0.25, "seed": 0}
    read = datasets.of((train, validation, test), **cut)
    for split, shade, num in zip(
        *((read.train, read.validation, read.test), (10, 20, 30), (40, 8, 12)),
        strict=True,
    ):
        assert len(split) == num and np.all(split.images == shade)
    assert read.num_classes == 4
    # In an order of no meaning.
    assert read.train.labels.tolist() != [*range(4)] * 10

    read = datasets.of((train, test), **cut)
    assert tuple(map(len, (read.train, read.validation))) == (30, 10)
    assert np.all(read.test.images == 30) and len(read.test) == 12


def test_a_split_that_is_given_is_checked():
    train, validation, test = _thirds("tuples")
    cut = {"validation_fraction": 0.1, "seed": 0}
    few = (validation[0][:3], validation[1][:3])
    with pytest.raises(DataError, match="validation split: .* none of 3"):
        datasets.of((train, few, test), **cut)
    small = (np.zeros((8, 1, 2, 3), np.uint8), validation[1])
    with pytest.raises(DataError, match="training images are .* validation"):
        datasets.of((train, small, test), **cut)


def _made_by_hand(scale: float = 1.0, missing: int | None = None) -> Dataset:
    """Sorted by class, floats up to `scale`."""
    images = np.linspace(0, scale, 80 * 4, dtype=np.float32)
    labels = np.repeat(np.arange(4), 20)
    split = Split(images.reshape(80, 2, 2, 1), labels)
    return Dataset("mine", 4, split[labels != missing], split, split)


def test_a_data_set_made_by_hand_is_mixed():
    given = _made_by_hand()
    read = datasets.of(given, validation_fraction=0.1, seed=0)
    assert set(read.train.labels[:20].tolist()) == set(range(4))
    assert sorted(_ids(read.train)) == sorted(_ids(given.train))
    np.testing.assert_array_equal(read.test.images, given.test.images)


def test_a_data_set_made_by_hand_is_checked():
    read = datasets.of(_made_by_hand(255.0), validation_fraction=0.1, seed=0)
    assert read.train.images.dtype == read.test.images.dtype == np.uint8
    with pytest.raises(DataError, match="there are none of 2"):
        datasets.of(_made_by_hand(missing=2), validation_fraction=0.1, seed=0)
    other = _made_by_hand()
    test = Split(other.test.images.reshape(40, 4, 2, 1), other.test.labels[:40])
    data = dataclasses.replace(_made_by_hand(), test=test)
    with pytest.raises(DataError, match=r"are \(2, 2, 1\) but test images"):
        datasets.of(data, validation_fraction=0.1, seed=0)


def test_a_class_that_is_too_rare_to_be_cut_is_named():
    labels = np.repeat(np.arange(3), (60, 5, 35))
    images = np.zeros((100, 2, 2), np.uint8)
    with pytest.raises(DataError, match="test split cut from.* none of 1"):
        datasets.of((images, labels))


def test_names_of_classes_in_a_tf_data_set_are_refused_as_in_arrays():
    names = np.array(["cat", "dog"])[np.arange(40) % 2]
    images = np.zeros((40, 4, 4, 1), np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, names)).batch(8)
    for given in (data, (images, names)):
        with pytest.raises(DataError, match="np.unique"):
            datasets.of(given)
