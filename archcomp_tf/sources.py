"""Where images come from: an `.npz` file, TFDS, or what a person has in memory.

Each gives split -> (images, labels), as they come: `datasets.py` checks them.

TensorFlow is loaded only for a TFDS name.
"""

from __future__ import annotations

import pathlib
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from archcomp_tf.images import DataError, as_bytes, digest_of

SPLITS = ("train", "validation", "test")
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
# What `np.load` raises for a file that is not an .npz, whole and plain.
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
_READ_BATCH = 1024
_INFINITE = -1  # `tf.data`'s cardinality of a data set without an end


def read_npz(path: str) -> dict[str, list[np.ndarray]]:
    """Split -> (images, labels), of a file; of validation where it has one.

    Raises:
      DataError: there is no such file, or it does not hold these arrays.
    """
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


def read_tfds(
    name: str, data_dir: str | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """Split -> (images, labels), and the number of classes, of a TFDS name.

    Raises:
      DataError: it is unknown, cannot be prepared, or holds something else.
    """
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


def in_memory(data: tuple | Iterable) -> dict[str, list[np.ndarray]]:
    """Split -> (images, labels), of arrays or batches: see `datasets.of`.

    Raises:
      DataError: it is neither, or of images of several shapes.
    """
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
            names, parts = SPLITS, data
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
        images.append(as_bytes(pair[0]))
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
    return as_bytes(np.concatenate(images)), np.concatenate(labels)


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


def _is_single(image: np.ndarray, label: np.ndarray) -> bool:
    """Whether it is one image with its class, as a number or one-hot."""
    if label.ndim != 1 or image.ndim != 3:
        return label.ndim == 0 or image.ndim == 2
    # Else as many grey images, without a channel, as there are labels.
    return len(image) != len(label) or image.shape[-1] in (1, 3)
