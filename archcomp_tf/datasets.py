"""A person's data -> train, validation and test splits in memory.

A name is "digits" (bundled, see `digits.py`), the path of an `.npz` file with
x_train, y_train, x_test and y_test, or any TFDS image classification data set
that has a train and a test split.  The validation split is cut from the
training data, by class, with a seed, where the file has no x_val and y_val; the
test split is never touched by it.  Arrays and `tf.data` have no test split: it
is cut from them in the same way.  A tuple of two or three of them has its own.

TensorFlow is loaded only for a TFDS name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sklearn.model_selection

from archcomp_tf.layer import Shape

MAX_PIXEL = 255  # of uint8
_SPLITS = ("train", "validation", "test")
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
# What `np.load` raises for a file that is not an .npz, whole and plain.
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
_READ_BATCH = 1024
_INFINITE = -1  # `tf.data`'s cardinality of a data set without an end


class DataError(ValueError):
    """A data set that cannot be found, read or used."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and their classes.

    Attributes:
      images: `[N, height, width, channels]`: float32 in [0, 1], or uint8 from 0
        to 255, a quarter of the memory, see `unit`.
      labels: int32 `[N]`, values in [0, number of classes).
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice | np.ndarray) -> Split:
        """Some of the images with their classes."""
        return Split(self.images[chosen], self.labels[chosen])


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits of a data set.

    Attributes:
      name: what it was loaded as.
      num_classes: number of classes.
      train: what networks are trained on.
      validation: what accuracy labels and all choices are made on.
      test: read once, for the report.
    """

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split

    @property
    def input_shape(self) -> Shape:
        """(height, width, channels) of an image."""
        return self.train.images.shape[1:]

    @property
    def splits(self) -> dict[str, Split]:
        """The three by their names."""
        return {name: getattr(self, name) for name in _SPLITS}

    @property
    def without_test(self) -> Dataset:
        """What a training needs: it is not to carry the test images along."""
        return dataclasses.replace(self, test=self.test[:0])

    @functools.cached_property
    def digest(self) -> str:
        """Of all images and labels, in their order."""
        arrays = [a for s in self.splits.values() for a in (s.images, s.labels)]
        return digest_of(*arrays)

    def map_images(
        self, function: Callable[[np.ndarray], np.ndarray]
    ) -> Dataset:
        """The data set with the function applied to the images of each split.

        Args:
          function: `[N, height, width, channels]` -> as many images.
        """
        changed = {
            name: Split(function(split.images), split.labels)
            for name, split in self.splits.items()
        }
        return dataclasses.replace(self, **changed)


def digest_of(*arrays: np.ndarray) -> str:
    """Tells arrays from others by shapes, types and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def unit(images: np.ndarray) -> np.ndarray:
    """Images of a `Split` as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / MAX_PIXEL
    return images


def load(
    name: str,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    data_dir: str | None = None,
) -> Dataset:
    """Loads a data set.

    Args:
      name: "digits", the path of an `.npz` file, or a TFDS name.
      validation_fraction: share of the training images, in (0, 1), that is
        cut off for validation.
      seed: of the cut.
      data_dir: where TFDS finds and puts prepared data; None is TFDS' own
        default, the environment variable TFDS_DATA_DIR first.

    Returns:
      The data set, all of it in memory.

    Raises:
      DataError: the data set is unknown, cannot be prepared, or holds
        something else than images with class labels.
    """
    if name.endswith(".npz"):
        given, num_classes = _read_npz(name), None
    else:
        given, num_classes = _read_tfds(name, data_dir)
    fractions = {"validation": validation_fraction}
    return _assembled(name, given, num_classes, fractions, seed)


def of(
    data: Dataset | tuple | Iterable,
    *,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Whatever a person has: a `Dataset`, arrays, or a `tf.data.Dataset`.

    What shuffles comes in another order in each process; the splits are the
    same all the same.

    Args:
      data: the data set itself; (images, labels): images
        `[N, height, width(, channels)]` in uint8, or in floats in [0, 1] or
        from 0 to 255, labels whole numbers `[N]` or `[N, 1]`, or one-hot
        `[N, num_classes]`; or a `tf.data.Dataset` of them, batched or not.  A
        tuple of two of these is training and test, as `load_data` of
        `keras.datasets` gives them; of three training, validation and test.
      validation_fraction: share of the images, in (0, 1), those of a split that
        is given left out; not used where validation is given.
      test_fraction: the same for the test.
      seed: of the cuts.

    Raises:
      DataError: it cannot be used.
    """
    name, num_classes = "arrays", None
    if isinstance(data, Dataset):
        name, num_classes = data.name, data.num_classes
    given = _given(data)
    fractions = {"test": test_fraction, "validation": validation_fraction}
    return _assembled(name, given, num_classes, fractions, seed)


def _assembled(
    name: str,
    given: Mapping[str, Sequence[np.ndarray]],
    num_classes: int | None,
    fractions: Mapping[str, float],
    seed: int,
) -> Dataset:
    """The splits that are given, and those that are cut from training.

    Args:
      name: of the data set.
      given: split -> (images, labels); "train" first.
      num_classes: where it is known; else the training split says it.
      fractions: split -> its share of training, in (0, 1), where it is not
        given.
      seed: of the cuts.
    """
    fractions = {n: f for n, f in fractions.items() if n not in given}
    for split, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise DataError(
                f"Expected a {split}_fraction between 0 and 1; got {fraction}."
            )
    if sum(fractions.values()) >= 1:
        raise DataError(
            "Expected fractions that leave images to learn from; got "
            f"{' and '.join(map(str, fractions.values()))}."
        )
    splits, num_classes = _checked_splits(name, given, num_classes)
    left = 1.0
    for split, fraction in fractions.items():
        splits["train"], splits[split] = _cut(
            name, splits["train"], fraction / left, seed
        )
        left -= fraction
        _check_classes(
            f"{name}, {split} split cut from training",
            splits[split].labels,
            num_classes,
        )
    if not fractions:
        # Brief trainings see the first images alone, which are to be of all
        # classes.
        order = np.random.default_rng(seed).permutation(len(splits["train"]))
        splits["train"] = splits["train"][order]
    return Dataset(name, num_classes, **splits)


def _checked_splits(
    name: str,
    arrays: Mapping[str, Sequence[np.ndarray]],
    num_classes: int | None,
) -> tuple[dict[str, Split], int]:
    """Splits by their names, and how many classes they are of.

    Where that is not known, the training split says it, which is the first.
    """
    splits: dict[str, Split] = {}
    for split, (images, labels) in arrays.items():
        found = _checked_split(name, split, images, labels, num_classes)
        if num_classes is None:
            num_classes = int(found.labels.max()) + 1
        splits[split] = found
    shape = splits["train"].images.shape[1:]
    for split, found in splits.items():
        if found.images.shape[1:] != shape:
            raise DataError(
                f"{name}: training images are {shape} but {split} images "
                f"{found.images.shape[1:]}."
            )
        _check_classes(f"{name}, {split} split", found.labels, num_classes)
    return splits, num_classes


def _given(data: Dataset | tuple | Iterable) -> dict[str, list[np.ndarray]]:
    """Split -> (images, labels), of whatever a person has."""
    if isinstance(data, Dataset):
        return {n: [s.images, s.labels] for n, s in data.splits.items()}
    names, parts = ("train",), [data]
    if isinstance(data, tuple | list) and all(map(_is_split, data)):
        if len(data) == 2:
            names, parts = ("train", "test"), data
        elif len(data) == 3:
            if isinstance(data, list):
                raise DataError(
                    "Expected three splits as a tuple, or batches as a "
                    "tf.data.Dataset; a list of three pairs may be either."
                )
            names, parts = _SPLITS, data
    return {
        name: _arrays(f"{name} split", part)
        for name, part in zip(names, parts, strict=True)
    }


def _is_split(part: Any) -> bool:
    """Whether it is (images, labels), or batches of them, and no array."""
    if isinstance(part, tuple | list):
        return len(part) == 2 and np.ndim(part[0]) >= 3
    return not hasattr(part, "shape") and hasattr(part, "__iter__")


def _arrays(where: str, data: Any) -> list[np.ndarray]:
    """All images and all labels, of a pair of arrays or of batches."""
    if isinstance(data, tuple | list) and len(data) == 2:
        return [_array(where, part) for part in data]
    images, labels = _gathered(where, data)
    # In one order, whatever order they came in.
    keys = [
        (digest_of(image), np.asarray(label).tobytes())
        for image, label in zip(images, labels, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [images[order], labels[order]]


def _gathered(
    where: str, batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """All images and all labels, of batches or of single images."""
    if isinstance(batches, Mapping):
        raise DataError(
            f"{where}: expected (images, labels), or a tuple of two of them, "
            "for training and for the test; got a dict of "
            f"{', '.join(map(str, batches))}."
        )
    cardinality = getattr(batches, "cardinality", None)
    if cardinality is not None and int(cardinality()) == _INFINITE:
        raise DataError(
            f"{where}: expected all images once; got a data set that repeats "
            "without an end."
        )
    if hasattr(batches, "__len__") and hasattr(batches, "__getitem__"):
        # Keras' own data sets start again behind their end.
        batches = map(batches.__getitem__, range(len(batches)))
    images, labels = [], []
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            size = f" of {len(batch)}" * isinstance(batch, tuple | list)
            raise DataError(
                f"{where}: expected (images, labels); got elements of type "
                f"{type(batch).__name__}{size}."
            )
        pair = [_array(where, part) for part in batch]
        if _is_single(*pair):
            pair = [part[None] for part in pair]
        images.append(_as_bytes(pair[0]))
        labels.append(pair[1])
    if not images:
        raise DataError(
            f"{where}: expected (images, labels); the data set is empty."
        )
    shapes = sorted({batch.shape[1:] for batch in images})
    if len(shapes) > 1:
        raise DataError(
            f"{where}: expected images of one shape; got "
            f"{', '.join(map(str, shapes[:3]))}"
            f"{' and others' if len(shapes) > 3 else ''}. Resize them: in a "
            "tf.data.Dataset by `map`, or into an .npz file with "
            f"{', '.join(_NPZ_KEYS)}."
        )
    # Some batches may have been too dim to tell by themselves.
    return _as_bytes(np.concatenate(images)), np.concatenate(labels)


def _array(where: str, part: Any) -> np.ndarray:
    """Images or labels, of a batch or all; DataError for what is no array."""
    array, reason = None, type(part).__name__
    try:
        array = np.asarray(part)
    except ValueError as error:  # rows of different lengths
        reason += f": {error}"
    # An object that is no sequence becomes an array of itself.
    if array is None or (array.dtype == object and array.ndim == 0):
        raise DataError(
            f"{where}: expected arrays of images of one shape and of labels; "
            f"got {reason}."
        )
    return array


def _as_bytes(images: np.ndarray) -> np.ndarray:
    """A batch as `_pixels` would have all, at once: in a quarter of the memory.

    As it is where it takes all of them to tell.
    """
    if np.issubdtype(images.dtype, np.floating) and images.size:
        if images.min() >= 0 and MAX_PIXEL / 2 <= images.max() <= MAX_PIXEL:
            return np.rint(images).astype(np.uint8)
    return images


def _is_single(image: np.ndarray, label: np.ndarray) -> bool:
    """Whether it is one image with its class, as a number or one-hot."""
    if label.ndim != 1 or image.ndim != 3:
        return label.ndim == 0 or image.ndim == 2
    # Else as many grey images, without a channel, as there are labels.
    return len(image) != len(label) or image.shape[-1] in (1, 3)


def _check_classes(where: str, labels: np.ndarray, num_classes: int) -> None:
    missing = sorted(set(range(num_classes)) - set(labels.tolist()))
    if missing:
        raise DataError(
            f"{where}: expected images of each of the {num_classes} classes; "
            f"there are none of {', '.join(map(str, missing[:10]))}"
            f"{' and others' if len(missing) > 10 else ''}."
            f"{' Labels start at 0.' if 0 in missing else ''}"
        )


def _read_npz(path: str) -> dict[str, list[np.ndarray]]:
    if not pathlib.Path(path).is_file():
        raise DataError(f"There is no file {path}.")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds a single array")
        with file:
            missing = [key for key in _NPZ_KEYS if key not in file]
            if missing:
                raise DataError(
                    f"{path}: expected the keys {', '.join(_NPZ_KEYS)}; "
                    f"{', '.join(missing)} missing, "
                    f"{', '.join(file.keys()) or 'none'} found."
                )
            splits = {"train": "train", "test": "test"}
            if "x_val" in file and "y_val" in file:
                splits["validation"] = "val"
            return {
                split: [file[f"x_{key}"], file[f"y_{key}"]]
                for split, key in splits.items()
            }
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"{path} is not a readable .npz file: {error}") from (
            error
        )


def _read_tfds(
    name: str, data_dir: str | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    import tensorflow_datasets as tfds

    if name == "digits":
        import archcomp_tf.digits  # noqa: F401  registers the name
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise DataError(
            f"Unknown data set {name!r}: expected 'digits', the path of an "
            ".npz file, or a TFDS name such as 'cifar10' or 'fashion_mnist'."
        ) from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever the network or the disk says
        raise DataError(
            f"{name!r} is not prepared in {builder.data_dir} and could not be "
            f"prepared there ({error}). Two ways out: set TFDS_DATA_DIR to a "
            "folder in which it is prepared, or give an .npz file with "
            f"{', '.join(_NPZ_KEYS)}."
        ) from error
    # A mocked builder knows of no splits before it is read.
    splits = set(builder.info.splits)
    missing = splits and {"train", "test"} - splits
    if missing or builder.info.supervised_keys != ("image", "label"):
        raise DataError(
            f"{name!r}: expected train and test splits of (image, label); got "
            f"the splits {sorted(splits)} of "
            f"{builder.info.supervised_keys}."
        )
    # Of images whose shape is not known TFDS would fill up the smaller ones.
    known = None not in builder.info.features["image"].shape
    given = {}
    for split in ("train", "test"):
        batches = tfds.as_numpy(
            builder.as_dataset(
                split=split,
                batch_size=_READ_BATCH if known else None,
                as_supervised=True,
            )
        )
        given[split] = _gathered(f"{name}, {split} split", batches)
    return given, builder.info.features["label"].num_classes


def _checked_split(
    name: str,
    split: str,
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int | None,
) -> Split:
    """The arrays as a `Split`, or a DataError that says what is wrong."""
    where = f"{name}, {split} split"
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not images.size:
        raise DataError(
            f"{where}: expected images of shape [N, height, width(, channels)]"
            f"; got {list(images.shape)}."
        )
    labels = _classes(where, labels, len(images), num_classes)
    return Split(_pixels(where, images), labels)


def _classes(
    where: str, labels: np.ndarray, num: int, num_classes: int | None
) -> np.ndarray:
    """Labels as int32 `[num]`; they may come in a column, or one-hot."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and _is_one_hot(labels):
        labels = np.argmax(labels, axis=1)
    if labels.shape != (num,):
        raise DataError(
            f"{where}: expected labels of shape [{num}], one an image, or "
            f"one-hot; got {list(labels.shape)}."
        )
    is_float = np.issubdtype(labels.dtype, np.floating)
    is_whole = is_float and np.array_equal(labels, np.rint(labels))
    if is_whole or labels.dtype == bool:
        labels = labels.astype(np.int64)
    if not np.issubdtype(labels.dtype, np.integer):
        hint = ", of which np.unique(labels, return_inverse=True)[1] makes them"
        raise DataError(
            f"{where}: expected integer labels; got {labels.dtype}"
            f"{hint * (labels.dtype.kind in 'OSU')}."
        )
    low, high = labels.min(), labels.max()
    # Of more classes than there are images some have none.
    if low < 0 or high >= (num_classes or num):
        expected = (
            f"from 0 to {num_classes - 1}"
            if num_classes
            else "from 0 on, each with images"
        )
        raise DataError(
            f"{where}: expected labels {expected}; got labels from {low} to "
            f"{high}."
        )
    return labels.astype(np.int32)


def _is_one_hot(labels: np.ndarray) -> bool:
    if not np.issubdtype(labels.dtype, np.number) and labels.dtype != bool:
        return False
    return bool(np.all((labels == 0) | (labels == 1))) and bool(
        np.all(labels.sum(axis=1) == 1)
    )


def _pixels(where: str, images: np.ndarray) -> np.ndarray:
    """Images as a `Split` has them.

    Floats up to 255, as Keras reads files, are rounded to bytes.
    """
    if images.dtype == np.uint8:
        return images
    is_whole = np.issubdtype(images.dtype, np.integer)
    if not is_whole and not np.issubdtype(images.dtype, np.floating):
        raise DataError(
            f"{where}: expected integer or float images; got {images.dtype}."
        )
    low, high = images.min(), images.max()
    if np.isnan(low):
        raise DataError(f"{where}: expected images of numbers; some are NaN.")
    if is_whole:
        if low < 0 or high > MAX_PIXEL:
            raise DataError(
                f"{where}: expected integer images with values from 0 to 255; "
                f"got values from {low} to {high}."
            )
        return images.astype(np.uint8)
    if low >= 0 and high <= 1:
        return images.astype(np.float32, copy=False)
    # The brightest pixel of a data set is above half of 255, and floats that
    # were resized in [0, 1] may end a little above 1.  What lies between is
    # refused, not guessed.
    if low >= 0 and MAX_PIXEL / 2 <= high <= MAX_PIXEL:
        return np.rint(images).astype(np.uint8)
    raise DataError(
        f"{where}: expected float images with values in [0, 1] or from 0 to "
        f"255; got values from {low} to {high}. What a model makes of pixels "
        "first belongs into the model: Rescaling, Normalization, a "
        "preprocess_input."
    )


def _cut(
    name: str, train: Split, fraction: float, seed: int
) -> tuple[Split, Split]:
    try:
        parts = sklearn.model_selection.train_test_split(
            np.arange(len(train)),
            test_size=fraction,
            stratify=train.labels,
            random_state=seed,
        )
    except ValueError as error:
        raise DataError(
            f"{name}: {len(train)} images cannot be cut into two splits by "
            f"class: {error}"
        ) from error
    return train[parts[0]], train[parts[1]]
