"""Tests of `archcomp_tf.sources`."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from archcomp_tf.images import DataError, digest_of
from archcomp_tf.sources import in_memory, read_npz, read_tfds


def _write(folder: pathlib.Path, **changes) -> str:
    """Writes an .npz file with some arrays changed, or left out where None."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, num in (("train", 40), ("test", 12)):
        images = rng.integers(0, 256, (num, 6, 5, 3), dtype=np.uint8)
        arrays |= {f"x_{split}": images, f"y_{split}": np.arange(num) % 4}
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"y_test": None},
            "expected the keys x_train, y_train, x_test, y_test; y_test "
            "missing, x_train, y_train, x_test found",
        ),
        (
            {"x_train": np.array([None] * 40)},
            "is not a readable .npz file: Object arrays",
        ),
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path, changes, message):
    path = _write(tmp_path, **changes)
    with pytest.raises(DataError, match=f"{path}.* {message}"):
        read_npz(path)


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
        read_npz(path)
    assert path in str(error.value)


def test_a_single_array_under_the_name_of_a_file_of_arrays_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="not a readable .npz file"):
        read_npz(str(path))


def test_a_path_without_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file .*none.npz"):
        read_npz(str(tmp_path / "none.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="There is no file .*folder.npz"):
        read_npz(str(tmp_path / "folder.npz"))


@pytest.mark.parametrize("name", ["cifra10", "no such name", "cifar10/wrong"])
def test_an_unknown_name_is_refused_with_what_is_known(tmp_path, name):
    with pytest.raises(
        DataError, match=f"'{name}': expected 'digits', the path"
    ):
        read_tfds(name, str(tmp_path))


def test_a_data_set_that_cannot_be_fetched_says_what_to_do(
    tmp_path, monkeypatch
):
    def no_network(self, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "download_and_prepare", no_network
    )
    with pytest.raises(DataError, match="no route to host") as error:
        read_tfds("mnist", str(tmp_path))
    for part in ("'mnist'", str(tmp_path), "TFDS_DATA_DIR", "an .npz file"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "num_examples", "num_classes"),
    [("cifar100", 2000, 100), ("svhn_cropped", 200, 10)],
)
def test_a_mocked_tfds_name_gives_its_two_splits(
    name, num_examples, num_classes
):
    with tfds.testing.mock_data(num_examples=num_examples):
        splits, num = read_tfds(name, None)
    assert num == num_classes and [*splits] == ["train", "test"]
    for images, labels in splits.values():
        assert images.shape == (num_examples, 32, 32, 3)
        assert images.dtype == np.uint8 and labels.shape == (num_examples,)


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
        read, _ = read_tfds(name, None)
    assert {n: len(labels) for n, (_, labels) in read.items()} == {
        name: splits[name] for name in ("train", "test")
    }


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
        read_tfds(name, None)


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
        read_tfds("tf_flowers", None)


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
    splits, num_classes = read_tfds("fashion_mnist", None)
    assert num_classes == 10
    for name, each in (("train", 6000), ("test", 1000)):
        images, labels = splits[name]
        assert images.shape == (10 * each, 28, 28, 1)
        np.testing.assert_array_equal(np.bincount(labels), [each] * 10)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_tf_data_set_is_read_batched_or_not(batch_size, one_hot):
    images = np.random.default_rng(0).random((40, 2, 2, 1), np.float32)
    labels = np.arange(40) % 4
    given = np.eye(4)[labels] if one_hot else labels
    data = tf.data.Dataset.from_tensor_slices((images, given))
    if batch_size:
        data = data.batch(batch_size)
    found, classes = in_memory(data)["train"]
    assert found.shape == images.shape and found.dtype == np.float32
    assert sorted(found[:, 0, 0, 0]) == sorted(images[:, 0, 0, 0])
    if one_hot:
        classes = np.argmax(classes, axis=-1)
    label_of = dict(zip(images[:, 0, 0, 0], labels, strict=True))
    assert [label_of[i] for i in found[:, 0, 0, 0]] == classes.tolist()


def test_a_data_set_that_never_ends_is_refused():
    data = tf.data.Dataset.from_tensor_slices((np.zeros((4, 2, 2)), range(4)))
    with pytest.raises(DataError, match="repeats without an end"):
        in_memory(data.batch(2).repeat())


def test_a_data_set_of_keras_is_read_once():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            labels = np.arange(8) % 4
            return np.full((8, 2, 2, 1), index % 5 / 5, np.float32), labels

    images, labels = in_memory(Batches())["train"]
    assert len(images) == len(labels) == 5 * 8


@pytest.mark.parametrize("channels", [1, 3])
def test_images_as_high_as_there_are_classes_are_images(channels):
    images = np.random.default_rng(0).random((80, 4, 4, channels), np.float32)
    labels = np.eye(4)[np.arange(80) % 4]
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    found, classes = in_memory(data)["train"]
    assert (found.shape, classes.shape) == (images.shape, labels.shape)


def test_a_tf_data_set_with_images_of_many_shapes_is_refused():
    message = r"one shape; got \(5, 4, 3\), \(6, 4, 3\), \(7, 4, 3\) and others"
    with pytest.raises(DataError, match=message):
        in_memory(_data_of_sizes(5, 6, 7, 8))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "the data set is empty"),
        ([np.zeros(3)], r"\(images, labels\); got elements of type ndarray"),
        ([(np.zeros((2, 2, 2)), [0, 1], [1, 1])], "type tuple of 3"),
        ({"x_train": 1, "y_train": 2}, "got a dict of x_train, y_train"),
    ],
)
def test_data_that_is_no_data_set_is_refused(batches, message):
    with pytest.raises(DataError, match=message):
        in_memory(batches)


def test_an_npz_may_have_a_validation_split(tmp_path):
    images = np.full((8, 6, 5, 3), 7, np.uint8)
    assert [*read_npz(_write(tmp_path))] == ["train", "test"]
    path = _write(tmp_path, x_val=images, y_val=np.arange(8) % 4)
    read = read_npz(path)
    assert {name: len(labels) for name, (_, labels) in read.items()} == {
        "train": 40,
        "test": 12,
        "validation": 8,
    }
    np.testing.assert_array_equal(read["validation"][0], images)


@pytest.mark.parametrize("num_splits", [2, 3])
def test_a_tuple_of_pairs_is_the_splits(num_splits):
    names = {2: ["train", "test"], 3: ["train", "validation", "test"]}
    pairs = [
        (np.full((n, 2, 2), n), np.arange(n)) for n in range(4, 4 + num_splits)
    ]
    read = in_memory(tuple(pairs))
    assert [*read] == names[num_splits]
    for (images, labels), given in zip(read.values(), pairs, strict=True):
        assert images is given[0] and labels is given[1]


def test_a_list_of_three_pairs_may_be_two_things():
    with pytest.raises(DataError, match="as a tuple, or batches"):
        in_memory([(np.zeros((4, 2, 2)), np.arange(4))] * 3)


def test_floats_up_to_255_are_bytes_batch_by_batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (40, 4, 4, 1)).astype(np.float32)
    images[:8] /= 255  # a batch that might be of images in [0, 1]
    labels = np.arange(40) % 4
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    found, classes = in_memory(data)["train"]
    assert found.dtype == np.uint8
    assert sorted(found.ravel()) == sorted(np.rint(images).ravel())
    assert sorted(classes) == sorted(labels)


def test_equal_images_of_different_classes_come_in_one_order():
    images = np.zeros((40, 2, 2, 1), np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(40) % 2))
    one, other = (
        digest_of(*in_memory(data.shuffle(40, seed=seed).batch(8))["train"])
        for seed in (1, 2)
    )
    assert one == other


def test_batches_that_are_too_dim_to_tell_change_nothing():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (41, 4, 4, 1)).astype(np.float32)
    images[::3] /= 9  # dim, but not in [0, 1]
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(41) % 2))
    read = [
        in_memory(data.shuffle(41, seed=seed).batch(4))["train"]
        for seed in range(9)
    ]
    assert {found.dtype for found, _ in read} == {np.dtype(np.uint8)}
    assert len({digest_of(*arrays) for arrays in read}) == 1


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
        in_memory(data)
