"""Tests of `archcomp_tf.datasets` and `archcomp_tf.digits`."""

import dataclasses
import os
import pathlib

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_datasets as tfds

from archcomp_tf import datasets
from archcomp_tf.datasets import DataError, Dataset, Split

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


def test_float_images_are_kept_as_they_are(tmp_path):
    arrays = _arrays()
    path = _write(
        tmp_path, x_train=arrays["x_train"] / 255, x_test=arrays["x_test"] / 255
    )
    dataset = datasets.load(path)
    assert dataset.test.images.dtype == np.float32
    np.testing.assert_array_equal(
        dataset.test.images, (arrays["x_test"] / 255).astype(np.float32)
    )


def test_whatever_a_split_holds_is_made_float32_from_0_to_1():
    pixels = np.arange(256, dtype=np.uint8)
    found = datasets.unit(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.arange(256) / 255, rtol=1e-6)
    assert datasets.unit(found) is found


def test_without_test_images_the_rest_is_the_same(tmp_path):
    dataset = datasets.load(_write(tmp_path))
    rest = dataset.without_test
    assert len(rest.test) == 0 and len(dataset.test) > 0
    assert (rest.train, rest.validation) == (dataset.train, dataset.validation)


def test_integers_from_0_to_255_are_bytes(tmp_path):
    wide = {
        key: _arrays()[key].astype(np.int32) for key in ("x_train", "x_test")
    }
    read = datasets.load(_write(tmp_path, **wide))
    expected = datasets.load(_write(tmp_path))
    assert read.train.images.dtype == np.uint8
    np.testing.assert_array_equal(read.train.images, expected.train.images)


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


def test_floats_up_to_255_are_bytes(tmp_path):
    arrays = _arrays()
    path = _write(
        tmp_path,
        x_train=arrays["x_train"].astype(np.float32),
        x_test=np.maximum(arrays["x_test"] - 0.4, 0),
    )
    dataset, expected = datasets.load(path), datasets.load(_write(tmp_path))
    for name in ("train", "validation", "test"):
        one, other = getattr(dataset, name), getattr(expected, name)
        assert one.images.dtype == np.uint8
        np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.parametrize(
    "form",
    [
        lambda labels: labels[:, None],
        lambda labels: labels.astype(np.float32),
        lambda labels: labels[:, None].astype(np.float32),
        lambda labels: np.eye(NUM_CLASSES)[labels],
    ],
)
def test_labels_may_be_a_column_floats_or_one_hot(tmp_path, form):
    labels = np.arange(NUM_TRAIN) % NUM_CLASSES
    dataset = datasets.load(_write(tmp_path, y_train=form(labels)))
    expected = datasets.load(_write(tmp_path, y_train=labels))
    np.testing.assert_array_equal(dataset.train.labels, expected.train.labels)


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
            {"y_test": None},
            "expected the keys x_train, y_train, x_test, y_test; y_test "
            "missing, x_train, y_train, x_test found",
        ),
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
            {"y_test": np.full((12, 4), 0.25)},
            r"test split: expected labels of shape \[12\].*; got \[12, 4\]",
        ),
        (
            _with("y_train", 0, 0.5, np.float64),
            "train split: expected integer labels; got float64",
        ),
        (
            _with("y_train", 0, np.nan, np.float32),
            "train split: expected integer labels; got float32",
        ),
        (
            _with("y_train", 0, "1", "<U1"),
            "train split: expected integer labels; got <U1, of which np.unique",
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
            _with("y_train", 0, 2_000_000_000),
            "train split: expected labels from 0 on, each with images; got "
            "labels from 0 to 2000000000",
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
            {"x_test": np.linspace(0, 1.04, 12 * 90).reshape(12, 6, 5, 3)},
            r"test split: expected .* in \[0, 1\] .*; got values from 0.0 to 1",
        ),
        (
            {"x_test": np.linspace(-1, 255, 12 * 90).reshape(12, 6, 5, 3)},
            r"test split: expected .* from 0 to 255; got values from -1.0 to 2",
        ),
        (
            {"x_train": _arrays()["x_train"].astype(np.int64) + 250},
            r"train split: expected integer images .* 255; got .* to \d{3}",
        ),
        (
            {"x_train": _arrays()["x_train"].astype(bool)},
            "train split: expected integer or float images; got bool",
        ),
        (
            {"y_train": _arrays()["y_train"] + 1},
            "none of 0. Labels start at 0.",
        ),
        (
            {"x_train": np.array([None] * NUM_TRAIN)},
            "not a readable .npz file: Object arrays",
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


def _overwritten(path: str) -> bytes:
    """The bytes of an .npz file, some of them wrong."""
    content = bytearray(pathlib.Path(path).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(255 - b for b in content[middle:][:4])
    return bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: b"x_train, y_train\n" * 10,
        lambda path: b"",
        lambda path: pathlib.Path(path).read_bytes()[:1000],
        lambda path: _overwritten(path),
    ],
    ids=["text", "empty", "cut short", "overwritten"],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, spoil):
    path = _write(tmp_path)
    pathlib.Path(path).write_bytes(spoil(path))
    with pytest.raises(DataError, match="not a readable .npz file") as error:
        datasets.load(path)
    assert path in str(error.value)


def test_a_single_array_under_the_name_of_a_file_of_arrays_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="not a readable .npz file"):
        datasets.load(str(path))


def test_a_path_without_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file .*none.npz"):
        datasets.load(str(tmp_path / "none.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="There is no file .*folder.npz"):
        datasets.load(str(tmp_path / "folder.npz"))


@pytest.mark.parametrize("name", ["cifra10", "no such name", "cifar10/wrong"])
def test_an_unknown_name_is_refused_with_what_is_known(tmp_path, name):
    with pytest.raises(
        DataError, match=f"'{name}': expected 'digits', the path"
    ):
        datasets.load(name, data_dir=str(tmp_path))


def test_a_data_set_that_cannot_be_fetched_says_what_to_do(
    tmp_path, monkeypatch
):
    def no_network(self, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "download_and_prepare", no_network
    )
    with pytest.raises(DataError, match="no route to host") as error:
        datasets.load("mnist", data_dir=str(tmp_path))
    for part in ("'mnist'", str(tmp_path), "TFDS_DATA_DIR", "an .npz file"):
        assert part in str(error.value)


@pytest.fixture(scope="module")
def digits_dir(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("tfds"))


def test_digits_are_those_of_scikit_learn(digits_dir):
    dataset = datasets.load("digits", data_dir=digits_dir)
    assert len(dataset.train) + len(dataset.validation) == 1297
    assert len(dataset.test) == 500
    assert (dataset.num_classes, dataset.input_shape) == (10, (8, 8, 1))

    bunch = sklearn.datasets.load_digits()
    expected = np.round(bunch.images * (255 / 16)).reshape(-1, 64)
    expected = np.column_stack([bunch.target, expected])
    splits = (dataset.train, dataset.validation, dataset.test)
    loaded = np.concatenate(
        [
            np.column_stack([split.labels, split.images.reshape(-1, 64)])
            for split in splits
        ]
    )
    # Every image once, with its label, in whatever order.
    assert sorted(map(tuple, loaded)) == sorted(map(tuple, expected))


def test_each_digit_has_its_share_of_the_test_split(digits_dir):
    labels = datasets.load("digits", data_dir=digits_dir).test.labels
    share = np.bincount(sklearn.datasets.load_digits().target) * (500 / 1797)
    assert np.all(np.abs(np.bincount(labels) - share) < 1)


def test_the_test_split_of_digits_is_the_same_for_every_seed(digits_dir):
    one = datasets.load("digits", data_dir=digits_dir, seed=1)
    other = datasets.load("digits", data_dir=digits_dir, seed=2)
    np.testing.assert_array_equal(one.test.images, other.test.images)
    assert not np.array_equal(one.validation.images, other.validation.images)


@pytest.mark.parametrize(
    ("name", "num_examples", "num_classes"),
    [("cifar100", 2000, 100), ("svhn_cropped", 200, 10)],
)
def test_a_mocked_tfds_name_gives_its_three_splits(
    name, num_examples, num_classes
):
    with tfds.testing.mock_data(num_examples=num_examples):
        dataset = datasets.load(name, validation_fraction=0.25)
    assert (dataset.num_classes, dataset.input_shape) == (
        num_classes,
        (32, 32, 3),
    )
    assert len(dataset.train) == 0.75 * num_examples
    assert len(dataset.validation) == 0.25 * num_examples
    assert len(dataset.test) == num_examples


def _write_metadata(name: str, data_dir: pathlib.Path, **splits: int) -> None:
    """Writes what TFDS records of a prepared data set, without its images."""
    builder = tfds.builder(name, data_dir=data_dir)
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[num_examples],
            num_bytes=1,
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=builder.data_dir,
                dataset_name=name,
                split=split,
                filetype_suffix="tfrecord",
            ),
        )
        for split, num_examples in splits.items()
    ]
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    pathlib.Path(builder.data_dir).mkdir(parents=True)
    builder.info.write_to_directory(builder.data_dir)


@pytest.mark.parametrize(
    ("name", "num_examples", "splits"),
    [
        ("cifar100", 2000, {"train": 2000, "test": 2000}),
        ("svhn_cropped", 200, {"train": 200, "test": 200, "extra": 900}),
    ],
)
def test_of_a_prepared_tfds_name_only_train_and_test_are_read(
    tmp_path, name, num_examples, splits
):
    _write_metadata(name, tmp_path, **splits)
    with tfds.testing.mock_data(num_examples=num_examples, data_dir=tmp_path):
        dataset = datasets.load(name)
    assert len(dataset.train) + len(dataset.validation) == splits["train"]
    assert len(dataset.test) == splits["test"]


@pytest.mark.parametrize(
    ("name", "splits", "message"),
    [
        ("cifar10", {"train": 50}, r"got the splits \['train'\]"),
        (
            "imdb_reviews",
            {"train": 50, "test": 50},
            r"expected .* of \(image, label\); got .* of \('text', 'label'\)",
        ),
    ],
)
def test_a_tfds_name_of_another_form_is_refused(
    tmp_path, name, splits, message
):
    _write_metadata(name, tmp_path, **splits)
    with (
        tfds.testing.mock_data(num_examples=50, data_dir=tmp_path),
        pytest.raises(DataError, match=message),
    ):
        datasets.load(name)


def test_a_tfds_name_with_images_of_many_shapes_is_refused():
    def as_dataset(self, *args, **kwargs):
        del self, args, kwargs
        return _data_of_sizes(5, 6).map(lambda x, y: {"image": x, "label": y})

    with (
        tfds.testing.mock_data(as_dataset_fn=as_dataset),
        pytest.raises(
            DataError, match="tf_flowers, train .* of one shape; got"
        ),
    ):
        datasets.load("tf_flowers")


def _data_of_sizes(*heights: int) -> tf.data.Dataset:
    """40 images of 4 classes, whose heights are these in turn."""
    return tf.data.Dataset.range(40).map(
        lambda i: (
            tf.zeros([tf.gather(heights, i % len(heights)), 4, 3], tf.uint8),
            i % 4,
        )
    )


def _is_prepared(name: str) -> bool:
    folder = os.environ.get("TFDS_DATA_DIR")
    return bool(folder) and (pathlib.Path(folder) / name).is_dir()


@pytest.mark.skipif(
    not _is_prepared("fashion_mnist"),
    reason="TFDS_DATA_DIR names no folder with a prepared fashion_mnist",
)
def test_prepared_fashion_mnist_is_read_without_a_network():
    dataset = datasets.load("fashion_mnist")
    assert (dataset.num_classes, dataset.input_shape) == (10, (28, 28, 1))
    # Each class has 6,000 training and 1,000 test images.
    for split, each in (
        (dataset.train, 4800),
        (dataset.validation, 1200),
        (dataset.test, 1000),
    ):
        np.testing.assert_array_equal(np.bincount(split.labels), [each] * 10)


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


@pytest.mark.parametrize("dtype", [float, np.uint8, bool])
def test_one_hot_labels_are_read_as_classes(dtype):
    images = np.zeros((40, 2, 2, 1), np.float32)
    labels = np.arange(40) % 4
    one, other = (
        datasets.of((images, given))
        for given in (labels, np.eye(4, dtype=dtype)[labels])
    )
    np.testing.assert_array_equal(one.test.labels, other.test.labels)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_tf_data_set_is_read_batched_or_not(batch_size, one_hot):
    images = np.random.default_rng(0).random((40, 2, 2, 1), np.float32)
    labels = np.arange(40) % 4
    given = np.eye(4)[labels] if one_hot else labels
    data = tf.data.Dataset.from_tensor_slices((images, given))
    if batch_size:
        data = data.batch(batch_size)
    read = datasets.of(data)
    label_of = dict(zip(images[:, 0, 0, 0], labels, strict=True))
    seen = []
    for split in (read.train, read.validation, read.test):
        firsts = split.images[:, 0, 0, 0]
        seen += firsts.tolist()
        assert [label_of[first] for first in firsts] == split.labels.tolist()
    assert sorted(seen) == sorted(label_of)


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


def test_a_data_set_that_never_ends_is_refused():
    data = tf.data.Dataset.from_tensor_slices((np.zeros((4, 2, 2)), range(4)))
    with pytest.raises(DataError, match="repeats without an end"):
        datasets.of(data.batch(2).repeat())


def test_a_data_set_of_keras_is_read_once():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            labels = np.arange(8) % 4
            return np.full((8, 2, 2, 1), index % 5 / 5, np.float32), labels

    read = datasets.of(Batches())
    splits = (read.train, read.validation, read.test)
    assert sum(map(len, splits)) == 5 * 8


@pytest.mark.parametrize("channels", [1, 3])
def test_images_as_high_as_there_are_classes_are_images(channels):
    images = np.random.default_rng(0).random((80, 4, 4, channels), np.float32)
    labels = np.eye(4)[np.arange(80) % 4]
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    read = datasets.of(data)
    assert (read.input_shape, read.num_classes) == ((4, 4, channels), 4)


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
    with pytest.raises(DataError, match="got a dict of x_train, y_train"):
        datasets.of({"x_train": train[0], "y_train": train[1]}, **cut)


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


def test_a_tf_data_set_with_images_of_many_shapes_is_refused():
    message = r"one shape; got \(5, 4, 3\), \(6, 4, 3\), \(7, 4, 3\) and others"
    with pytest.raises(DataError, match=message):
        datasets.of(_data_of_sizes(5, 6, 7, 8))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "the data set is empty"),
        ([np.zeros(3)], r"\(images, labels\); got elements of type ndarray"),
        ([(np.zeros((2, 2, 2)), [0, 1], [1, 1])], "type tuple of 3"),
        ([(np.zeros((4, 2, 2)), np.array([0, 1, 3, 3]))], "none of 2"),
    ],
)
def test_data_that_is_no_data_set_is_refused(batches, message):
    with pytest.raises(DataError, match=message):
        datasets.of(batches)


def test_classes_may_be_false_and_true():
    images = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2)
    read = datasets.of((images, np.arange(40) % 2 == 1))
    assert read.num_classes == 2
    assert read.train.labels.dtype == np.int32


def test_an_npz_may_have_a_validation_split(tmp_path):
    parts = {}
    for name, num, shade in (("train", 40, 1), ("val", 8, 2), ("test", 8, 3)):
        parts[f"x_{name}"] = np.full((num, 2, 2), shade, np.uint8)
        parts[f"y_{name}"] = np.arange(num) % 4
    np.savez(tmp_path / "mine.npz", **parts)
    dataset = datasets.load(str(tmp_path / "mine.npz"))
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [len(split) for split in splits] == [40, 8, 8]
    assert [split.images.max() for split in splits] == [1, 2, 3]


def test_a_class_that_is_too_rare_to_be_cut_is_named():
    labels = np.repeat(np.arange(3), (60, 5, 35))
    images = np.zeros((100, 2, 2), np.uint8)
    with pytest.raises(DataError, match="test split cut from.* none of 1"):
        datasets.of((images, labels))


def test_a_list_of_three_pairs_may_be_two_things():
    with pytest.raises(DataError, match="as a tuple, or batches"):
        datasets.of([*_thirds("tuples")])


def test_floats_up_to_255_are_bytes_batch_by_batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (40, 4, 4, 1)).astype(np.float32)
    images[:8] /= 255  # a batch that might be of images in [0, 1]
    labels = np.arange(40) % 4
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    one, other = datasets.of(data), datasets.of((images, labels))
    assert one.train.images.dtype == other.train.images.dtype == np.uint8
    for split in ("train", "validation", "test"):
        assert len(getattr(one, split)) == len(getattr(other, split))
    everything = np.concatenate(
        [getattr(one, s).images for s in ("train", "validation", "test")]
    )
    assert sorted(everything.ravel()) == sorted(np.rint(images).ravel())


def test_equal_images_of_different_classes_come_in_one_order():
    images = np.zeros((40, 2, 2, 1), np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(40) % 2))
    one, other = (
        datasets.of(data.shuffle(40, seed=seed).batch(8)) for seed in (1, 2)
    )
    assert one.digest == other.digest


def test_batches_that_are_too_dim_to_tell_change_nothing():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (41, 4, 4, 1)).astype(np.float32)
    images[::3] /= 9  # dim, but not in [0, 1]
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(41) % 2))
    read = [
        datasets.of(data.shuffle(41, seed=seed).batch(4)) for seed in range(9)
    ]
    assert {part.train.images.dtype for part in read} == {np.dtype(np.uint8)}
    assert len({part.digest for part in read}) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (([np.zeros((2, 2)), np.zeros((3, 2))], [0, 1]), "one shape.* list"),
        ([({"image": np.zeros((2, 2, 2))}, [0, 1])], "one shape.* dict"),
        ((None, [0, 1]), "one shape.* NoneType"),
    ],
)
def test_what_is_no_array_is_named(data, message):
    with pytest.raises(DataError, match=message):
        datasets.of(data)


def test_names_of_classes_in_a_tf_data_set_are_refused_as_in_arrays():
    names = np.array(["cat", "dog"])[np.arange(40) % 2]
    images = np.zeros((40, 4, 4, 1), np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, names)).batch(8)
    for given in (data, (images, names)):
        with pytest.raises(DataError, match="np.unique"):
            datasets.of(given)
