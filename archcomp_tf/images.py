"""Images and labels as arrays: what they may come as, and what they are here.

Images are float32 in [0, 1] or uint8 from 0 to 255, labels int32.
"""

from __future__ import annotations

import hashlib

import numpy as np

MAX_PIXEL = 255  # of uint8


class DataError(ValueError):
    """A data set that cannot be found, read or used."""


def digest_of(*arrays: np.ndarray) -> str:
    """Tells arrays from others by shapes, types and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def unit(images: np.ndarray) -> np.ndarray:
    """Images as they are here -> float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / MAX_PIXEL
    return images


def as_bytes(images: np.ndarray) -> np.ndarray:
    """A batch as `as_pixels` would have all, at once, to save memory.

    As it is where it takes all of them to tell.
    """
    if np.issubdtype(images.dtype, np.floating) and images.size:
        if images.min() >= 0 and MAX_PIXEL / 2 <= images.max() <= MAX_PIXEL:
            return np.rint(images).astype(np.uint8)
    return images


def as_classes(
    where: str, labels: np.ndarray, num: int, num_classes: int | None
) -> np.ndarray:
    """Labels as int32 `[num]`; they may come in a column, or one-hot.

    Args:
      where: what an error is to begin with: the data set and the split.
      labels: of `num` images.
      num: how many there should be.
      num_classes: below which they should be; None where that is not known.

    Raises:
      DataError: they are no such labels.
    """
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


def as_pixels(where: str, images: np.ndarray) -> np.ndarray:
    """Images as they are here; floats up to 255, as Keras reads files, rounded.

    Args:
      where: what an error is to begin with: the data set and the split.
      images: integers or floats, `[N, height, width, channels]`.

    Raises:
      DataError: they are no pixels.
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
