"""A data set -> train, validation and test splits in memory.

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
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import sklearn.model_selection

from archcomp_tf.images import DataError, as_classes, as_pixels, digest_of
from archcomp_tf.layer import Shape
from archcomp_tf.sources import SPLITS, in_memory, read_npz, read_tfds


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and their classes.

    Attributes:
      images: `[N, height, width, channels]`: float32 in [0, 1], or uint8 from 0
        to 255, a quarter of the memory, see `images.unit`.
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
        return {name: getattr(self, name) for name in SPLITS}

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
        given, num_classes = read_npz(name), None
    else:
        given, num_classes = read_tfds(name, data_dir)
    fractions = {"validation": validation_fraction}
    return _assembled(name, given, num_classes, fractions, seed)


def of(
    data: Dataset | tuple | Iterable,
    *,
    validation_fraction: float = 0.2,
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
    if isinstance(data, Dataset):
        name, num_classes = data.name, data.num_classes
        given = {n: (s.images, s.labels) for n, s in data.splits.items()}
    else:
        name, num_classes, given = "arrays", None, in_memory(data)
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


def _check_classes(where: str, labels: np.ndarray, num_classes: int) -> None:
    missing = sorted(set(range(num_classes)) - set(labels.tolist()))
    if missing:
        raise DataError(
            f"{where}: expected images of each of the {num_classes} classes; "
            f"there are none of {', '.join(map(str, missing[:10]))}"
            f"{' and others' if len(missing) > 10 else ''}."
            f"{' Labels start at 0.' if 0 in missing else ''}"
        )


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
    labels = as_classes(where, labels, len(images), num_classes)
    return Split(as_pixels(where, images), labels)


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
