"""Tests of `archcomp_tf.search_space`."""

import collections
import itertools
import json

import numpy as np
import pytest
import strategies
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archcomp_tf import cost
from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import KINDS, Layer
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import Slot

MEMBERS_PER_SPACE = 10
many_spaces = settings(max_examples=200, deadline=None)

TEACHERS = {
    "a VGG": "conv3x3-64 conv3x3-64 max_pool2x2/2 conv3x3-128 conv3x3-128 "
    "max_pool2x2/2 conv3x3-256 conv3x3-256 max_pool2x2/2 dense-256",
    "a CIFAR ResNet": "conv3x3-16 residual3x3-16 residual3x3-16 "
    "residual3x3-32/2 residual3x3-32 residual3x3-64/2 residual3x3-64",
    "a ResNet of bottlenecks": "conv3x3-64 bottleneck3x3-256 "
    "bottleneck3x3-256 bottleneck3x3-512/2 bottleneck3x3-512",
    "a MobileNet": "conv3x3-32 inverted_residual3x3-16x1 "
    "inverted_residual3x3-24x6/2 inverted_residual3x3-24x6 "
    "inverted_residual5x5-40x6/2 inverted_residual5x5-40x6",
}


def _layers_of(slot: Slot) -> list[Layer]:
    """Every layer the slot can hold, by plain enumeration."""
    layers = []
    for kind in dict.fromkeys(slot.all_kinds):
        fields = KINDS[kind].fields
        choices = [slot.choices(field) for field in fields]
        for values in itertools.product(*choices):
            layers.append(Layer(kind, **dict(zip(fields, values, strict=True))))
    return layers


@many_spaces
@given(strategies.spaces(), strategies.seeds)
def test_samples_are_members(space, seed):
    rng = np.random.default_rng(seed)
    for _ in range(MEMBERS_PER_SPACE):
        assert space.contains(space.sample(rng))


@many_spaces
@given(strategies.spaces(), strategies.seeds)
def test_json_of_samples_reads_back(space, seed):
    rng = np.random.default_rng(seed)
    for _ in range(MEMBERS_PER_SPACE):
        architecture = space.sample(rng)
        text = architecture.to_json()
        assert Architecture.from_json(text) == architecture


@given(strategies.spaces(), strategies.seeds)
def test_the_same_seed_draws_the_same_samples_and_mutations(space, seed):
    def draw():
        rng = np.random.default_rng(seed)
        samples = [space.sample(rng) for _ in range(3)]
        if space.num_members == 1:
            return samples
        return samples + [space.mutate(sample, rng) for sample in samples]

    assert draw() == draw()


@many_spaces
@given(strategies.spaces(), strategies.seeds, st.data())
def test_a_mutation_is_a_member_that_differs_in_one_layer(space, seed, data):
    rng = np.random.default_rng(seed)
    architecture = data.draw(strategies.members(space))
    if space.num_members == 1:
        with pytest.raises(ValueError, match="single member"):
            space.mutate(architecture, rng)
        return
    for _ in range(MEMBERS_PER_SPACE):
        mutated = space.mutate(architecture, rng)
        assert space.contains(mutated)
        pairs = zip(architecture.layers, mutated.layers, strict=True)
        assert sum(before != after for before, after in pairs) == 1
        architecture = mutated


SMALL_SPACE = SearchSpace(
    (
        Slot(
            ("conv", "max_pool", "inverted_residual"),
            filters=(2, 4, 8),
            kernel_sizes=(1, 3),
            strides=(1, 2),
            expansions=(1, 4),
            optional=True,
        ),
        Slot(("flatten",), optional=True),
        Slot(("dense",), filters=(2, 4), optional=True),
    )
)


def test_samples_reach_every_layer_of_every_slot():
    rng = np.random.default_rng(0)
    samples = [SMALL_SPACE.sample(rng) for _ in range(2000)]
    for index, slot in enumerate(SMALL_SPACE.slots):
        drawn = {sample.layers[index] for sample in samples}
        assert drawn == set(_layers_of(slot))


def test_mutations_reach_every_layer_of_every_slot():
    rng = np.random.default_rng(0)
    seen = collections.defaultdict(set)
    architecture = SMALL_SPACE.sample(rng)
    for _ in range(2000):
        architecture = SMALL_SPACE.mutate(architecture, rng)
        for index, layer in enumerate(architecture.layers):
            seen[index].add(layer)
    for index, slot in enumerate(SMALL_SPACE.slots):
        assert seen[index] == set(_layers_of(slot))


@given(strategies.spaces())
def test_the_number_of_members_is_that_of_all_combinations(space):
    counts = [len(_layers_of(slot)) for slot in space.slots]
    assert [slot.num_choices for slot in space.slots] == counts
    assert space.num_members == np.prod(counts, dtype=object)


@given(strategies.spaces(), st.data())
def test_what_is_drawn_slot_by_slot_is_a_member(space, data):
    architecture = data.draw(strategies.members(space))
    assert space.contains(architecture)
    space.validate(architecture)


@given(strategies.spaces())
def test_a_space_survives_json(space):
    text = json.dumps(space.to_dict())
    assert SearchSpace.from_dict(json.loads(text)) == space


@given(strategies.spaces())
def test_a_space_is_as_long_as_its_slots_and_its_members(space):
    member = space.sample(np.random.default_rng(0))
    assert len(space) == len(space.slots) == len(member.layers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv3x3-8", "Expected 3 layers, one a slot, .*; got 1"),
        (
            "conv3x3-6 flatten dense-2",
            r"Slot 0 cannot hold conv3x3-6: filters 6 .* one of \(2, 4, 8\)",
        ),
        ("conv5x5-8 flatten dense-2", "Slot 0 .*: kernel_size 5 is not one of"),
        ("conv3x3-8/3 flatten dense-2", "Slot 0 .*: strides 3 is not one of"),
        (
            "inverted_residual3x3-8x2 flatten dense-2",
            "Slot 0 .*: expansion 2 is not one of",
        ),
        (
            "avg_pool3x3 flatten dense-2",
            "Slot 0 .*: kind 'avg_pool' is not one of .*max_pool",
        ),
        ("conv3x3-8 flatten dense-3", "Slot 2 .*: filters 3 is not one of"),
    ],
)
def test_what_is_no_member_is_refused_by_slot_and_field(text, message):
    architecture = Architecture.parse(text)
    with pytest.raises(ValueError, match=message):
        SMALL_SPACE.validate(architecture)
    with pytest.raises(ValueError, match=message):
        SMALL_SPACE.mutate(architecture, np.random.default_rng(0))
    assert not SMALL_SPACE.contains(architecture)


def test_only_an_optional_slot_holds_an_identity():
    identity = Architecture.parse("identity")
    assert not SearchSpace((Slot(("flatten",)),)).contains(identity)
    assert SearchSpace((Slot(("flatten",), optional=True),)).contains(identity)


@given(strategies.spaces(), strategies.seeds)
def test_around_holds_the_teacher(space, seed):
    teacher = space.sample(np.random.default_rng(seed)).compact
    assume(teacher.layers)
    around = SearchSpace.around(teacher, space.input_shape, space.num_classes)
    assert around.contains(teacher)
    assert around.input_shape == space.input_shape
    assert around.num_classes == space.num_classes


def test_around_holds_the_teacher_even_with_one_width():
    teacher = Architecture.parse("conv3x3-64 max_pool2x2/2 conv3x3-128")
    assert SearchSpace.around(teacher, num_widths=1).contains(teacher)


@given(strategies.spaces(), strategies.seeds, st.integers(2, 20))
def test_around_is_never_wider_than_the_teacher(space, seed, num_widths):
    rng = np.random.default_rng(seed)
    teacher = space.sample(rng).compact
    assume(teacher.layers)
    around = SearchSpace.around(teacher, num_widths=num_widths)
    for slot, layer in zip(around.slots, teacher.layers, strict=True):
        if layer.filters:
            assert max(slot.filters) == layer.filters
            assert min(slot.filters) == max(1, round(layer.filters / 16))
            assert len(slot.filters) <= num_widths
    for _ in range(MEMBERS_PER_SPACE):
        pairs = zip(around.sample(rng).layers, teacher.layers, strict=True)
        assert all(own.filters <= layer.filters for own, layer in pairs)


@given(strategies.spaces(), strategies.seeds, st.integers(1, 16))
def test_widths_are_multiples_of_the_divisor_or_the_teachers_own(
    space, seed, divisor
):
    teacher = space.sample(np.random.default_rng(seed)).compact
    assume(teacher.layers)
    around = SearchSpace.around(teacher, divisor=divisor)
    assert around.contains(teacher)
    for slot, layer in zip(around.slots, teacher.layers, strict=True):
        for filters in slot.filters:
            assert filters <= layer.filters
            assert filters == layer.filters or filters % divisor == 0


def test_a_width_goes_to_the_nearest_multiple():
    teacher = Architecture.parse("conv3x3-60")
    around = SearchSpace.around(teacher, num_widths=3, divisor=8)
    assert around.slots[0].filters == (8, 16, 60)  # of 3.75, 15 and 60
    with pytest.raises(ValueError, match="at least 1; got 0"):
        SearchSpace.around(teacher, divisor=0)


def test_layers_are_swapped_for_the_kinds_that_are_given():
    teacher = Architecture.parse("conv3x3-64 max_pool2x2/2 residual3x3-64")

    def kinds(**options):
        space = SearchSpace.around(teacher, **options)
        return [slot.kinds for slot in space.slots]

    swaps = ("separable_conv", "inverted_residual")
    assert kinds() == [
        ("conv", *swaps),
        ("max_pool",),
        ("residual", "conv", *swaps),
    ]
    assert kinds(swaps=("conv",)) == [
        ("conv",),
        ("max_pool",),
        ("residual", "conv"),
    ]
    with pytest.raises(ValueError, match="among conv, .*; got 'dense'"):
        SearchSpace.around(teacher, swaps=("conv", "dense"))


@pytest.mark.parametrize(
    ("teacher", "wide", "narrow"),
    [
        ("bottleneck3x3-64", "conv3x3-64", "conv3x3-4"),
        ("conv1x1-64", "separable_conv1x1-64", "separable_conv1x1-4"),
        ("conv1x1-64", "inverted_residual1x1-64x4", "inverted_residual1x1-4x1"),
    ],
)
def test_a_swap_may_be_larger_and_is_smaller_where_it_is_narrow(
    teacher, wide, narrow
):
    networks = [
        Architecture.parse(f"conv3x3-64 {text}")
        for text in (narrow, teacher, wide)
    ]
    space = SearchSpace.around(networks[1])
    assert all(map(space.contains, networks))
    sizes = list(map(space.count_params, networks))
    assert sizes == sorted(set(sizes))


@given(strategies.spaces(), strategies.seeds)
def test_around_keeps_every_step_that_shrinks_the_feature_maps(space, seed):
    rng = np.random.default_rng(seed)
    teacher = space.sample(rng).compact
    assume(teacher.layers)
    around = SearchSpace.around(teacher, space.input_shape, space.num_classes)
    for _ in range(MEMBERS_PER_SPACE):
        pairs = zip(around.sample(rng).layers, teacher.layers, strict=True)
        assert all(own.strides == layer.strides for own, layer in pairs)


@pytest.mark.parametrize("text", TEACHERS.values(), ids=TEACHERS.keys())
def test_a_teacher_is_narrowed_evenly_within_its_space(text):
    teacher = Architecture.parse(text)
    space = SearchSpace.around(teacher)
    narrowed = space.narrowed(teacher)
    assert 12 <= len(narrowed) <= 15 and all(map(space.contains, narrowed))
    sizes = list(map(space.count_params, narrowed))
    assert sizes == sorted(sizes) and sizes[-1] < space.count_params(teacher)
    pairs = [
        (layer.filters, own.filters)
        for layer, own in zip(narrowed[7].layers, teacher.layers, strict=True)
        if own.filters
    ]
    share = sum(width for width, _ in pairs) / sum(width for _, width in pairs)
    for width, own in pairs:
        assert abs(width - share * own) <= 1  # whole widths are not exact


def test_a_teacher_is_swapped_for_each_other_kind_at_its_own_size():
    teacher = Architecture.parse(
        "conv3x3-64 conv1x1-32/2 max_pool2x2/2 residual3x3-48 dense-16"
    )
    space = SearchSpace.around(teacher)
    swapped = space.swapped(teacher)
    assert {kind: list(map(str, found)) for kind, found in swapped.items()} == {
        "conv": ["conv3x3-64 conv1x1-32/2 max_pool2x2/2 conv3x3-48 dense-16"],
        "separable_conv": [
            "conv3x3-64 separable_conv1x1-32/2 max_pool2x2/2 "
            "separable_conv3x3-48 dense-16"
        ],
        "inverted_residual": [
            f"conv3x3-64 inverted_residual1x1-32x{expansion}/2 max_pool2x2/2 "
            f"inverted_residual3x3-48x{expansion} dense-16"
            for expansion in (1, 2, 4)
        ],
    }
    for member in itertools.chain(*swapped.values()):
        assert space.contains(member)
        assert all(map(space.contains, space.narrowed(member)))


def test_where_slots_have_no_other_kind_nothing_is_swapped():
    for text in ("conv3x3-8", "conv3x3-8 max_pool2x2/2", "dense-4 dense-4"):
        teacher = Architecture.parse(text)
        assert SearchSpace.around(teacher).swapped(teacher) == {}
    teacher = Architecture.parse("conv3x3-8 conv3x3-8")
    assert SearchSpace.around(teacher, swaps=()).swapped(teacher) == {}


def test_what_has_no_width_or_but_one_is_not_narrowed():
    for widths in ((), (8,)):
        kinds = ("conv",) if widths else ("max_pool",)
        space = SearchSpace.uniform(num_slots=2, kinds=kinds, filters=widths)
        member = space.sample(np.random.default_rng(0))
        assert space.narrowed(member) == []


@pytest.mark.parametrize("text", TEACHERS.values(), ids=TEACHERS.keys())
def test_samples_around_a_teacher_spread_over_sizes(text):
    space = SearchSpace.around(Architecture.parse(text))
    rng = np.random.default_rng(0)
    decades = np.log10(
        [
            cost.num_params(
                space.sample(rng), space.input_shape, space.num_classes
            )
            for _ in range(400)
        ]
    )
    # Between the percentiles, so that a few odd ones are not enough.
    assert np.ptp(np.percentile(decades, [5, 95])) >= 1.5


def test_a_uniform_space_has_like_slots_that_may_be_empty():
    space = SearchSpace.uniform(
        num_slots=3,
        kinds=("identity", "conv"),
        kernel_sizes=(1, 3),
        strides=(1, 2),
        filters=(8, 16),
        input_shape=(8, 8, 1),
        num_classes=4,
    )
    assert set(space.slots) == {
        Slot(("conv",), (8, 16), (1, 3), (1, 2), optional=True)
    }
    assert space.num_members == (2 * 2 * 2 + 1) ** 3
    assert space.contains(Architecture.parse("conv1x1-8/2 identity conv3x3-16"))
    assert (space.input_shape, space.num_classes) == ((8, 8, 1), 4)


def test_an_empty_space_is_refused():
    with pytest.raises(ValueError, match="Empty search space"):
        SearchSpace(())
    with pytest.raises(ValueError, match="Empty search space"):
        SearchSpace.around(Architecture.parse("identity"))


def test_a_space_is_one_of_images():
    with pytest.raises(ValueError, match=r"channels\).*got \(28, 28\)"):
        SearchSpace((Slot(("conv",), (8,)),), (28, 28))


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ((Slot(("dense",), (8,)), Slot(("max_pool",))), "Layer 1 .* cannot"),
        ((Slot(("flatten",)), Slot(("conv",), (8,))), "Layer 1 .* cannot"),
        (
            (Slot(("flatten",), optional=True), Slot(("flatten",))),
            "Layer 1 .* cannot",
        ),
    ],
)
def test_slots_in_an_order_that_cannot_be_built_are_refused(slots, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(slots)


def test_a_cross_takes_every_layer_from_one_of_two_members():
    space = SearchSpace.around(Architecture.parse("conv3x3-32 " * 12))
    rng = np.random.default_rng(0)
    first, second = space.sample(rng), space.sample(rng)
    crosses = {space.cross(first, second, rng) for _ in range(20)}
    assert len(crosses) > 10
    for cross in crosses:
        assert space.contains(cross)
        assert all(
            layer in pair
            for layer, *pair in zip(
                cross.layers, first.layers, second.layers, strict=True
            )
        )


@given(strategies.seeds)
@settings(deadline=None)
def test_the_space_that_spans_all_members_is_the_space(seed):
    space = SearchSpace.uniform(
        num_slots=2,
        kinds=("identity", "conv", "separable_conv"),
        kernel_sizes=(1, 3),
        filters=(4, 6),
        strides=(1, 2),
    )
    rng = np.random.default_rng(seed)
    members = [
        Architecture(layers)
        for layers in itertools.product(*(slot.layers for slot in space.slots))
    ]
    rng.shuffle(members)
    spanned = SearchSpace.spanning(members)
    assert spanned.num_members == space.num_members == len(members)
    assert all(map(spanned.contains, members))


def test_a_space_spans_what_it_was_not_shown():
    some = [
        Architecture.parse(text)
        for text in ("conv3x3-8 dense-4", "max_pool2x2/2 dense-8")
    ]
    space = SearchSpace.spanning(some, (8, 8, 1), 5)
    assert space.contains(Architecture.parse("conv2x2-8/2 dense-8"))
    assert not space.contains(Architecture.parse("conv3x3-4 dense-8"))
    assert (space.input_shape, space.num_classes) == ((8, 8, 1), 5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((), r"got lengths \[\]"),
        (("conv3x3-8", "conv3x3-8 conv3x3-8"), r"got lengths \[1, 2\]"),
        (("identity", "identity"), "at least one kind"),
        (("conv3x3-8", "dense-8"), "all vectors"),
    ],
)
def test_what_no_space_spans_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.spanning([Architecture.parse(text) for text in texts])


def test_a_space_is_a_row_of_slots():
    with pytest.raises(TypeError, match="row of slots; got 'conv' in it"):
        SearchSpace(("conv",))
    with pytest.raises(TypeError, match="as slots; got Slot"):
        SearchSpace(Slot(("conv",), filters=(4,)))
    with pytest.raises(ValueError, match="num_slots, a whole .* got 2.5"):
        SearchSpace.uniform(num_slots=2.5, kinds=("conv",), filters=(4,))


def test_what_a_space_is_made_around_and_holds_is_an_architecture():
    with pytest.raises(TypeError, match="Architecture.parse.*got 'conv3x3-64'"):
        SearchSpace.around("conv3x3-64")
    space = SearchSpace.around(Architecture.parse("conv3x3-64"))
    with pytest.raises(TypeError, match="as a member.* got 'conv3x3-64'"):
        space.contains("conv3x3-64")


@pytest.mark.parametrize("min_width", [0, -0.5, 1.5, float("nan")])
def test_the_smallest_width_is_a_share(min_width):
    teacher = Architecture.parse("conv3x3-64")
    with pytest.raises(
        ValueError, match=rf"above 0, at most 1; got {min_width}"
    ):
        SearchSpace.around(teacher, min_width=min_width)


def test_choices_are_given_as_a_row():
    def uniform(kinds=("conv",), filters=(8,)):
        return SearchSpace.uniform(num_slots=1, kinds=kinds, filters=filters)

    with pytest.raises(TypeError, match=r"\('conv',\), as kinds; got 'conv'"):
        uniform(kinds="conv")
    with pytest.raises(TypeError, match=r"\(64,\), as filters; got 64"):
        uniform(filters=64)
    with pytest.raises(TypeError, match="as kinds; got 'conv'"):
        Slot("conv", (8,))
    with pytest.raises(TypeError, match="as swaps; got 'conv'"):
        SearchSpace.around(Architecture.parse("conv3x3-8"), swaps="conv")
