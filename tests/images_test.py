"""Tests of `archcomp_tf.images`."""

import numpy as np
import pytest

from archcomp_tf.images import (
    DataError,
    as_bytes,
    as_classes,
    as_pixels,
    digest_of,
    unit,
)

_PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), np.uint8)
_LABELS = np.arange(12) % 4


def test_uint8_images_are_kept_as_they_are():
    assert as_pixels("", _PIXELS) is _PIXELS


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_up_to_1_are_float32(dtype):
    given = (_PIXELS / 255).astype(dtype)
    found = as_pixels("", given)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, given.astype(np.float32))


@pytest.mark.parametrize(
    "given",
    [_PIXELS.astype(np.int32), _PIXELS.astype(np.float32), _PIXELS * 0.999],
    ids=["integers", "floats", "not whole"],
)
def test_values_up_to_255_are_bytes(given):
    found = as_pixels("", given)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, _PIXELS)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.where(_PIXELS < 9, np.nan, 1.0),
            "expected images of numbers; some are NaN",
        ),
        (
            np.linspace(0, 1.04, 12),
            r"expected .* in \[0, 1\] .*; got values from 0.0 to 1.04",
        ),
        (
            np.linspace(-1, 255, 12),
            r"expected .* from 0 to 255; got values from -1.0 to 255",
        ),
        (
            _PIXELS.astype(np.int64) + 250,
            r"expected integer images .* 255; got .* to \d{3}",
        ),
        (_PIXELS.astype(bool), "expected integer or float images; got bool"),
    ],
)
def test_what_are_no_pixels_is_refused(images, message):
    with pytest.raises(DataError, match=f"^here: {message}"):
        as_pixels("here", images)


@pytest.mark.parametrize("scale", [1, 60, 255])
def test_a_batch_becomes_bytes_where_it_can_be_told(scale):
    batch = _PIXELS / 255 * scale
    found = as_bytes(batch)
    if scale == 255:
        np.testing.assert_array_equal(found, as_pixels("", batch))
        assert found.dtype == np.uint8
    else:
        assert found is batch


@pytest.mark.parametrize(
    "form",
    [
        lambda labels: labels,
        lambda labels: labels[:, None],
        lambda labels: labels.astype(np.float32),
        lambda labels: labels[:, None].astype(np.float32),
        lambda labels: np.eye(4)[labels],
        lambda labels: np.eye(4, dtype=np.uint8)[labels],
        lambda labels: np.eye(4, dtype=bool)[labels],
    ],
)
def test_labels_may_be_a_column_floats_or_one_hot(form):
    found = as_classes("", form(_LABELS), 12, None)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, _LABELS)


def test_classes_may_be_false_and_true():
    found = as_classes("", _LABELS % 2 == 1, 12, None)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, _LABELS % 2)


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        (_LABELS[1:], None, r"expected labels of shape \[12\].*; got \[11\]"),
        (
            np.full((12, 4), 0.25),
            None,
            r"expected labels of shape \[12\].*; got \[12, 4\]",
        ),
        (_LABELS + 0.5, None, "expected integer labels; got float64"),
        (
            np.where(_LABELS > 0, 1.0, np.nan),
            None,
            "expected integer labels; got float64",
        ),
        (
            _LABELS.astype("<U1"),
            None,
            "expected integer labels; got <U1, of which np.unique",
        ),
        (_LABELS - 1, None, "from 0 on, .* got labels from -1 to 2"),
        (
            _LABELS * 10**9,
            None,
            "from 0 on, each with images; got labels from 0 to 3000000000",
        ),
        (_LABELS, 3, "labels from 0 to 2; got labels from 0 to 3"),
    ],
)
def test_what_are_no_classes_is_refused(labels, num_classes, message):
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        as_classes("here", labels, 12, num_classes)


def test_whatever_images_are_kept_as_is_made_float32_from_0_to_1():
    pixels = np.arange(256, dtype=np.uint8)
    found = unit(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.arange(256) / 255, rtol=1e-6)
    assert unit(found) is found


@pytest.mark.parametrize(
    "other",
    [
        _PIXELS[::-1],
        _PIXELS.reshape(12, 5, 6, 3),
        _PIXELS.view(np.int8),
    ],
    ids=["order", "shape", "type"],
)
def test_a_digest_tells_arrays_apart(other):
    assert digest_of(_PIXELS) == digest_of(_PIXELS.copy())
    assert digest_of(_PIXELS) != digest_of(other)


def test_a_digest_is_of_the_values_however_they_lie_in_memory():
    assert digest_of(_PIXELS[::2]) == digest_of(_PIXELS[::2].copy())
