"""Tests of `archcomp_tf.checkpoint`."""

import numpy as np
import pytest

from archcomp_tf import checkpoint
from archcomp_tf.checkpoint import Checkpoint

ARRAYS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int32))


@pytest.fixture(autouse=True)
def every_write(monkeypatch):
    """A state is kept however short the time since the last."""
    monkeypatch.setattr(checkpoint, "_MIN_SECONDS", 0)


def test_a_state_comes_back_as_it_was_written(tmp_path):
    kept = Checkpoint(tmp_path / "new" / "state.npz", "a training")
    kept.write(ARRAYS, [0.5, 0.25])
    state = Checkpoint(tmp_path / "new" / "state.npz", "a training").read()
    for one, other in zip(state.arrays, ARRAYS, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert state.losses == (0.5, 0.25)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["state.npz"]


def test_there_is_no_state_before_the_first_and_after_it_is_removed(tmp_path):
    kept = Checkpoint(tmp_path / "state.npz", "a training")
    assert kept.read() is None
    kept.remove()
    kept.write(ARRAYS, [])
    assert kept.read() is not None
    kept.remove()
    assert kept.read() is None


def test_the_state_of_another_training_is_not_taken(tmp_path):
    Checkpoint(tmp_path / "state.npz", "one training").write(ARRAYS, [1.0])
    assert Checkpoint(tmp_path / "state.npz", "another").read() is None


def test_states_are_written_no_oftener_than_they_are_worth(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, "_MIN_SECONDS", 1000)
    kept = Checkpoint(tmp_path / "state.npz", "a training")
    kept.write(ARRAYS, [1.0])
    assert kept.read() is None
