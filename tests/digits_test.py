"""Tests of `archcomp_tf.digits`, which is read through `datasets`."""

import numpy as np
import pytest
import sklearn.datasets

from archcomp_tf import datasets


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
