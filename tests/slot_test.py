"""Tests of `archcomp_tf.slot`."""

import numpy as np
import pytest

from archcomp_tf.layer import KINDS, Layer
from archcomp_tf.slot import FIELDS, Slot


def test_choices_are_sorted_and_each_counts_once():
    slot = Slot(["conv"], filters=[8, 2, 8], kernel_sizes=[3, 3])
    assert slot == Slot(("conv",), filters=(2, 8), kernel_sizes=(3,))
    assert slot.num_choices == 2


def test_a_kind_that_is_named_twice_counts_once():
    # Counted twice, `mutate` would look for another layer without end.
    assert Slot(("conv", "conv"), filters=(8,)).num_choices == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kinds": ()}, "needs at least one kind"),
        ({"kinds": ("lstm",)}, "Unknown kind 'lstm' in a slot; expected some"),
        ({"kinds": ("identity",)}, "identity is allowed with optional=True"),
        ({"kinds": ("conv",)}, "conv needs at least one choice of filters"),
        (
            {"kinds": ("max_pool",), "kernel_sizes": ()},
            "max_pool needs at least one choice of kernel_sizes",
        ),
        (
            {"kinds": ("max_pool",), "strides": ()},
            "max_pool needs at least one choice of strides",
        ),
        (
            {
                "kinds": ("inverted_residual",),
                "filters": (8,),
                "expansions": (),
            },
            "needs at least one choice of expansions",
        ),
        (
            {"kinds": ("conv",), "filters": (0, 8)},
            "positive integer filters; got 0",
        ),
        (
            {"kinds": ("conv",), "filters": (8,), "strides": (-1, 1)},
            "positive integer strides; got -1",
        ),
        ({"kinds": ("conv",), "filters": (2.5, 8)}, "2.5"),
        ({"kinds": ("conv",), "filters": (float("inf"), 8)}, "filters; .*inf"),
        ({"kinds": ("conv",), "filters": ("8",)}, "as filters; got .*'8'"),
        (
            {"kinds": ("conv", "dense"), "filters": (8,)},
            "all take feature maps, or all vectors; got conv, dense",
        ),
        (
            {"kinds": ("max_pool", "flatten")},
            "all take feature maps, or all vectors; got max_pool, flatten",
        ),
    ],
)
def test_a_bad_slot_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Slot(**fields)


def test_every_field_of_a_layer_has_its_choices_in_a_slot():
    used = {field for kind in KINDS.values() for field in kind.fields}
    assert set(FIELDS) == used


def test_a_slots_layers_are_as_many_as_its_choices_and_all_fit():
    slots = (
        Slot(("conv", "inverted_residual"), (8, 16), (1, 3), (2,), (1, 4)),
        Slot(("max_pool",), strides=(2,), kernel_sizes=(2, 3), optional=True),
        Slot(("dense",), (4,)),
    )
    for slot, num in zip(slots, (2 * 2 + 2 * 2 * 2, 3, 1), strict=True):
        layers = list(slot.layers)
        assert len(set(layers)) == len(layers) == slot.num_choices == num
        assert all(slot.why_not(layer) is None for layer in layers)


def test_what_is_drawn_swapped_or_changed_is_of_the_slot():
    slot = Slot(
        ("conv", "inverted_residual"),
        filters=(8, 16, 32),
        kernel_sizes=(1, 3),
        expansions=(1, 4),
        optional=True,
    )
    rng = np.random.default_rng(0)
    for kind in slot.kinds:
        for level, widths in ((0.0, {8, 16}), (1.0, {16, 32})):
            layers = [slot.sample(kind, level, rng) for _ in range(50)]
            assert {layer.filters for layer in layers} <= widths
            assert all(layer.kind == kind for layer in layers)
            mutated = [slot.mutate(layer, rng) for layer in layers]
            assert all(slot.why_not(layer) is None for layer in mutated)
            assert {layer.kind for layer in mutated} == {*slot.all_kinds}
    given = Layer("conv", filters=20, kernel_size=5)
    assert slot.swapped(given, "conv", 4) is given
    assert str(slot.swapped(given, "inverted_residual", 6)) == (
        "inverted_residual3x3-16x4"
    )
    assert slot.nearest_width(25) == 32


def test_a_slot_that_holds_layers_holds_no_more_than_it_must():
    layers = {
        Layer("conv", filters=8),
        Layer("separable_conv", filters=16),
        Layer("identity"),
    }
    slot = Slot.holding(layers)
    assert slot == Slot(("conv", "separable_conv"), (8, 16), optional=True)
