"""Tests of `archcomp_tf.augmentation`."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from archcomp_tf.augmentation import Augmentation

SHAPE = (5, 6, 2)
IMAGES = (
    np.random.default_rng(0).uniform(0.1, 1, (3, *SHAPE)).astype(np.float32)
)


def _changed(augmentation: Augmentation, draws) -> np.ndarray:
    return ops.convert_to_numpy(
        augmentation(
            ops.convert_to_tensor(IMAGES),
            ops.convert_to_tensor(np.array(draws, np.int32)),
        )
    )


def test_without_any_change_images_stay_as_they_are():
    none = Augmentation()
    assert not none
    draws = none.draw(np.random.default_rng(0), (3,), SHAPE)
    np.testing.assert_array_equal(_changed(none, draws), IMAGES)


@pytest.mark.parametrize(
    "fields", [{"max_shift": 1}, {"mirror": True}, {"cutout": 2}]
)
def test_each_change_counts_as_one(fields):
    assert Augmentation(**fields)


def test_a_shifted_image_shows_what_lay_beside_and_black():
    shifted = _changed(
        Augmentation(max_shift=2), [[1, 0, 0, 0, 0], [0, -2, 0, 0, 0], [0] * 5]
    )
    expected = np.zeros_like(IMAGES)
    expected[0, :-1] = IMAGES[0, 1:]
    expected[1, :, 2:] = IMAGES[1, :, :-2]
    expected[2] = IMAGES[2]
    np.testing.assert_array_equal(shifted, expected)


def test_mirrored_images_are_turned_left_to_right():
    mirrored = _changed(
        Augmentation(mirror=True), [[0, 0, 1, 0, 0], [0] * 5, [0, 0, 1, 0, 0]]
    )
    np.testing.assert_array_equal(mirrored[0], IMAGES[0, :, ::-1])
    np.testing.assert_array_equal(mirrored[1], IMAGES[1])
    np.testing.assert_array_equal(mirrored[2], IMAGES[2, :, ::-1])


def test_a_square_is_cut_out_where_its_centre_was_drawn():
    cut = _changed(
        Augmentation(cutout=3),
        [[0, 0, 0, 2, 3], [0, 0, 0, 0, 0], [0, 0, 0, 4, 5]],
    )
    expected = IMAGES.copy()
    expected[0, 1:4, 2:5] = 0
    expected[1, :2, :2] = 0  # the part that lies in the image
    expected[2, 3:, 4:] = 0
    np.testing.assert_array_equal(cut, expected)


def test_what_is_drawn_stays_within_the_limits_and_reaches_them():
    rng = np.random.default_rng(0)
    augmentation = Augmentation(max_shift=2, mirror=True)
    draws = augmentation.draw(rng, (100, 10), SHAPE)
    assert draws.shape == (100, 10, 5)
    lowest, highest = draws.min(axis=(0, 1)), draws.max(axis=(0, 1))
    assert lowest.tolist() == [-2, -2, 0, 0, 0]
    assert highest.tolist() == [2, 2, 1, 4, 5]
    plain = dataclasses.replace(augmentation, mirror=False)
    assert not plain.draw(rng, (100,), SHAPE)[:, 2].any()
