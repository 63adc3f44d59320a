"""Tests of `archcomp_tf.encoding`."""

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.builder import build
from archcomp_tf.encoding import Encoding
from archcomp_tf.layer import KINDS
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import FIELDS, Slot

MEMBERS_PER_SPACE = 10
many_spaces = settings(max_examples=200, deadline=None)

SPACE = SearchSpace(
    (
        Slot(
            ("conv", "inverted_residual"),
            filters=(4, 8, 16),
            kernel_sizes=(3, 5),
            expansions=(1, 2),
            optional=True,
        ),
        Slot(("max_pool",), kernel_sizes=(2, 3), strides=(2,)),
        Slot(("dense",), filters=(10, 20), optional=True),
    ),
    input_shape=(8, 8, 1),
    num_classes=4,
)


@many_spaces
@given(strategies.spaces(), strategies.seeds)
def test_decode_inverts_encode(space, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    samples = [space.sample(rng) for _ in range(MEMBERS_PER_SPACE)]
    assert encoding.decode(encoding.encode(samples)) == samples


@given(strategies.spaces(), st.data())
def test_decode_inverts_encode_for_any_member(space, data):
    encoding = Encoding(space)
    member = data.draw(strategies.members(space))
    assert encoding.decode(encoding.encode([member])) == [member]


@given(strategies.spaces(), strategies.seeds)
def test_noise_below_a_half_does_not_change_a_decode(space, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    samples = [space.sample(rng) for _ in range(MEMBERS_PER_SPACE)]
    x = encoding.encode(samples)
    assert encoding.decode(x + rng.uniform(-0.49, 0.49, x.shape)) == samples


@many_spaces
@given(strategies.spaces(), strategies.seeds)
def test_decodes_of_random_logits_are_members(space, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    logits = rng.normal(size=(MEMBERS_PER_SPACE, *encoding.shape))
    decoded = encoding.decode(logits)
    assert len(decoded) == MEMBERS_PER_SPACE
    assert all(map(space.contains, decoded))


@given(strategies.spaces(), st.sampled_from([np.nan, np.inf, -np.inf, -1e30]))
def test_decodes_of_extreme_logits_are_members(space, value):
    encoding = Encoding(space)
    (decoded,) = encoding.decode(np.full((1, *encoding.shape), value))
    assert space.contains(decoded)


@settings(max_examples=10, deadline=None)
@given(strategies.spaces(), strategies.seeds)
def test_decodes_of_random_logits_build_at_their_closed_form_size(space, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    (decoded,) = encoding.decode(rng.normal(size=(1, *encoding.shape)))
    model = build(decoded, space.input_shape, space.num_classes)
    assert model.count_params() == cost.num_params(
        decoded, space.input_shape, space.num_classes
    )


@given(strategies.spaces(), strategies.seeds)
def test_what_the_mask_forbids_does_not_matter(space, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    logits = rng.normal(size=(1, *encoding.shape))
    louder = np.where(encoding.mask, logits, 1e6)
    assert encoding.decode(louder) == encoding.decode(logits)


@given(strategies.spaces(), strategies.seeds)
def test_an_encoding_is_zeros_and_ones_inside_the_mask(space, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    samples = [space.sample(rng) for _ in range(MEMBERS_PER_SPACE)]
    x = encoding.encode(samples)
    assert x.dtype == np.float32
    assert x.shape == (MEMBERS_PER_SPACE, len(space), encoding.shape[1])
    assert set(np.unique(x)) <= {0, 1}
    assert not np.any(x[:, ~encoding.mask])


@given(strategies.spaces(), st.data())
def test_a_group_has_a_one_exactly_where_the_kind_uses_its_field(space, data):
    encoding = Encoding(space)
    member = data.draw(strategies.members(space))
    (x,) = encoding.encode([member])
    for row, layer in zip(x, member.layers, strict=True):
        sums = {
            name: row[group].sum() for name, group in encoding.groups.items()
        }
        fields = KINDS[layer.kind].fields
        assert sums == {"kind": 1} | {
            field: field in fields for field in FIELDS
        }


@given(strategies.spaces())
def test_the_groups_divide_the_columns(space):
    encoding = Encoding(space)
    columns = np.arange(encoding.shape[1])
    parts = [columns[group] for group in encoding.groups.values()]
    np.testing.assert_array_equal(np.concatenate(parts), columns)
    assert list(encoding.groups) == ["kind", *FIELDS]
    assert encoding.mask.shape == encoding.shape


def test_the_layout_is_the_documented_one():
    encoding = Encoding(SPACE)
    member = Architecture.parse(
        "inverted_residual5x5-4x2 max_pool3x3/2 dense-20"
    )
    (x,) = encoding.encode([member])
    # Kinds in the order of KINDS: conv, inverted_residual, max_pool, dense,
    # identity; three widths, two windows, one step, two expansions.
    expected = [
        [0, 1, 0, 0, 0] + [1, 0, 0] + [0, 1] + [1] + [0, 1],
        [0, 0, 1, 0, 0] + [0, 0, 0] + [0, 1] + [1] + [0, 0],
        [0, 0, 0, 1, 0] + [0, 1, 0] + [0, 0] + [0] + [0, 0],
    ]
    np.testing.assert_array_equal(x, expected)


def test_the_largest_allowed_logit_of_a_group_decides():
    encoding = Encoding(SPACE)
    groups = encoding.groups
    logits = np.zeros((1, *encoding.shape))
    # "dense" is louder, but the first slot holds feature maps.
    logits[0, 0, groups["kind"]] = [1, 2, 3, 9, 0]
    logits[0, 0, groups["filters"]] = [1, 3, 2]
    logits[0, 0, groups["kernel_size"]] = [5, 4]
    logits[0, 0, groups["expansion"]] = [-2, -1]
    logits[0, 1, groups["kernel_size"]] = [-9, -8]
    # The third width is louder, but the third slot has two.
    logits[0, 2, groups["filters"]] = [1, 2, 3]
    logits[0, 2, groups["kind"]] = [0, 0, 0, 1, 0]
    expected = "inverted_residual3x3-8x2 max_pool3x3/2 dense-20"
    assert list(map(str, encoding.decode(logits))) == [expected]


def test_no_architectures_give_an_empty_batch():
    encoding = Encoding(SPACE)
    assert encoding.encode([]).shape == (0, *encoding.shape)
    assert encoding.decode(np.zeros((0, *encoding.shape))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_pool2x2/2 dense-10", "Expected 3 layers, one a slot, .*; got 2"),
        (
            "conv3x3-5 max_pool2x2/2 dense-10",
            "Slot 0 cannot hold conv3x3-5: filters 5",
        ),
        (
            "conv3x3-4 identity dense-10",
            "Slot 1 cannot hold identity: kind 'identity'",
        ),
    ],
)
def test_what_is_no_member_is_not_encoded(text, message):
    with pytest.raises(ValueError, match=message):
        Encoding(SPACE).encode([Architecture.parse(text)])


def test_points_that_decode_alike_give_equal_members():
    space = SearchSpace.uniform(
        num_slots=2, kinds=("conv", "identity"), filters=(2, 4)
    )
    encoding = Encoding(space)
    rng = np.random.default_rng(0)
    members = [space.sample(rng) for _ in range(50)]
    x = encoding.encode(members)
    assert encoding.decode(np.concatenate([x, x[::-1]])) == (
        members + members[::-1]
    )
    assert encoding.decode(x[:0]) == []


def test_uses_says_which_groups_a_kind_fills():
    space = SearchSpace.uniform(
        num_slots=1, kinds=("conv", "max_pool", "identity"), filters=(2, 4)
    )
    encoding = Encoding(space)
    names = list(encoding.groups)
    used = {
        kind: {n for n, used in zip(names, row, strict=True) if used}
        for kind, row in zip(encoding.kinds, encoding.uses, strict=True)
    }
    assert used == {
        "conv": {"kind", "filters", "kernel_size", "strides"},
        "max_pool": {"kind", "kernel_size", "strides"},
        "identity": {"kind"},
    }
