"""Tests of the regression heads."""

import keras
import numpy as np
import pytest

from archcomp_tf.backend import dtype_policy
from archcomp_tf.heads import Carry, CostHead, EnsembleHead


def test_a_carry_hands_on_what_the_last_kept_slot_left():
    values = np.arange(1.0, 6.0, dtype="float32").reshape(1, 5, 1)
    keep = np.array([1, 0, 0, 1, 0], "float32").reshape(1, 5, 1)
    carried = keras.ops.convert_to_numpy(Carry()(values, keep))
    assert carried.ravel().tolist() == [0, 1, 1, 1, 4]


def test_a_half_kept_slot_hands_on_half_of_each():
    values = np.array([4, 8, 0], "float32").reshape(1, 3, 1)
    keep = np.array([1, 0.5, 1], "float32").reshape(1, 3, 1)
    carried = keras.ops.convert_to_numpy(Carry()(values, keep))
    assert carried.ravel().tolist() == [0, 4, 6]


def test_a_cost_is_the_sum_of_its_slots():
    # With everything else at zero, each of 3 slots has 4 terms of 10^bias.
    head = CostHead(num_slots=3, channels=2)
    for weight in head.weights:
        weight.assign(np.zeros(weight.shape))
    head.get_layer("own").bias.assign(
        np.log10([[1.0] * 4, [10.0] * 4, [100.0] * 4])
    )
    cost = head(np.ones((2, 6), "float32"))
    np.testing.assert_allclose(cost, [[np.log10(444)]] * 2, rtol=1e-5)


def test_an_ensemble_speaks_in_the_units_of_its_target():
    head = EnsembleHead(num_slots=1, channels=3, num_members=4)
    inputs = [np.ones((5, 3), "float32"), np.full((5, 1), 4.0, "float32")]
    plain = keras.ops.convert_to_numpy(head(inputs))
    assert plain.shape == (5, 4)
    assert np.ptp(plain, axis=1).min() > 0  # the members differ
    head.units.mean.assign(0.8)
    head.units.scale.assign(0.01)
    np.testing.assert_allclose(head(inputs), 0.8 + 0.01 * plain, rtol=1e-5)


def test_the_spread_is_that_of_the_members_and_what_is_added():
    head = EnsembleHead(num_slots=1, channels=3, num_members=2)
    members = np.array([[0.5, 0.7], [0.6, 0.6]], "float32")
    mean, spread = head.statistics(members)
    np.testing.assert_allclose(mean, [0.6, 0.6], rtol=1e-5)
    np.testing.assert_allclose(spread, [0.1, 0], atol=1e-5)
    head.units.variance.assign(0.01)
    _, spread = head.statistics(members)
    np.testing.assert_allclose(spread, [0.02**0.5, 0.1], rtol=1e-4)
    head.units.variance.assign(-0.02)  # members that disagree too much
    _, spread = head.statistics(members)
    np.testing.assert_allclose(spread, [0, 0])


def test_a_logit_head_gives_shares_and_their_spread():
    head = EnsembleHead(num_slots=1, channels=3, num_members=2, link="logit")
    shares = np.array([0.5, 0.9, 0.98])
    logits = head.linked(shares)
    np.testing.assert_allclose(logits, np.log(shares / (1 - shares)))
    members = np.stack([logits - 0.01, logits + 0.01], axis=-1)
    mean, spread = head.statistics(members.astype("float32"))
    np.testing.assert_allclose(mean, shares, rtol=1e-4)
    # Where a share of 1 in its place moves by so much.
    moved = 1 / (1 + np.exp(-logits - 0.01)) - shares
    np.testing.assert_allclose(spread, moved, rtol=0.02)
    assert np.all(np.isfinite(head.linked(np.array([0.0, 1.0]))))


def test_an_ensemble_sees_what_the_slots_have_in_common():
    head = EnsembleHead(num_slots=4, channels=2, num_members=3)
    hidden = next(x for x in head.layers if isinstance(x, keras.layers.Dense))
    kernel = hidden.kernel.numpy()
    kernel[:8] = 0  # of z itself
    hidden.kernel.assign(kernel)
    codes = np.random.default_rng(0).normal(size=(1, 4, 2)).astype("float32")
    size = np.full((1, 1), 5.0, "float32")
    # Equal means, then others.
    same, other = codes[:, ::-1], codes + 1
    said, alike, not_alike = (
        head([x.reshape(1, 8), size]) for x in (codes, same, other)
    )
    np.testing.assert_allclose(said, alike, rtol=1e-4)
    assert np.abs(said - not_alike).min() > 1e-3


def test_an_unknown_link_is_refused():
    with pytest.raises(ValueError, match="got 'log'"):
        EnsembleHead(1, 3, 2, link="log")


@pytest.mark.parametrize(
    ("head", "inputs"),
    [
        (CostHead(3, 2), np.ones((1, 6), "float32")),
        (
            EnsembleHead(3, 2, 2, link="logit"),
            [np.ones((1, 6), "float32"), np.ones((1, 1), "float32")],
        ),
    ],
    ids=["cost", "ensemble"],
)
def test_a_head_is_saved_by_itself(head, inputs, tmp_path):
    head.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras", compile=False)
    np.testing.assert_allclose(loaded(inputs), head(inputs), atol=1e-6)


def test_a_dtype_policy_of_the_session_is_none_of_a_heads():
    with dtype_policy("mixed_float16"):
        heads = [CostHead(3, 2), EnsembleHead(3, 2, num_members=4)]
    for head in heads:
        found = {layer.compute_dtype for layer in head._flatten_layers()}
        assert found == {"float32"}
