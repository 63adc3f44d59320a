"""Hypothesis strategies for layers, architectures, spaces and their members.

They read `layer.KINDS`, so that a new kind is tested without a change here.
The networks are tiny: what is tested with them holds for any size.
"""

from hypothesis import strategies as st

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import KINDS, Layer
from archcomp_tf.ranges import MAX_SEED
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import FIELDS, Slot

# The values that a random layer's fields come from.
_VALUES = {
    "filters": st.integers(1, 12),
    "kernel_size": st.integers(1, 5),
    "strides": st.integers(1, 3),
    "expansion": st.integers(1, 3),
}

seeds = st.integers(0, MAX_SEED)

input_shapes = st.tuples(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)
)


def _kinds_of(*stages: int | None) -> list[str]:
    return [name for name, kind in KINDS.items() if kind.stage in stages]


def layers(*stages: int | None):
    """Layers of any kind, or of the kinds of some stages alone."""
    kinds = _kinds_of(*(stages or (0, 1, 2, None)))
    return st.sampled_from(kinds).flatmap(
        lambda kind: st.builds(
            Layer,
            st.just(kind),
            **{field: _VALUES[field] for field in KINDS[kind].fields},
        )
    )


@st.composite
def architectures(draw) -> Architecture:
    """Architectures of up to 8 layers, identities among them."""
    rows = [
        *draw(st.lists(layers(0, None), max_size=4)),
        *draw(st.lists(layers(1), max_size=1)),
        *draw(st.lists(layers(2, None), max_size=3)),
    ]
    return Architecture(tuple(rows))


@st.composite
def slots(draw, stage: int) -> Slot:
    """Slots for layers of one stage."""
    kinds = draw(
        st.lists(
            st.sampled_from(_kinds_of(stage)),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    # A field that none of the kinds uses keeps the default of `Slot`.
    used = sorted({field for kind in kinds for field in KINDS[kind].fields})
    choices = {
        FIELDS[field]: draw(st.lists(_VALUES[field], min_size=1, max_size=4))
        for field in used
    }
    return Slot(tuple(kinds), **choices, optional=draw(st.booleans()))


@st.composite
def spaces(draw) -> SearchSpace:
    """Spaces of 1 to 8 slots that respect the order of stages."""
    rows = [
        *draw(st.lists(slots(0), max_size=5)),
        *draw(st.lists(slots(1), max_size=1)),
        *draw(st.lists(slots(2), max_size=2)),
    ]
    if not rows:
        rows = [draw(slots(0))]
    return SearchSpace(tuple(rows), draw(input_shapes), draw(st.integers(2, 6)))


def _slot_layers(slot: Slot):
    """The layers that a slot can hold, every kind as likely as another."""
    return st.sampled_from(slot.all_kinds).flatmap(
        lambda kind: st.builds(
            Layer,
            st.just(kind),
            **{
                field: st.sampled_from(slot.choices(field))
                for field in KINDS[kind].fields
            },
        )
    )


def members(space: SearchSpace):
    """Members of a space, drawn slot by slot and not by `space.sample`."""
    return st.tuples(*map(_slot_layers, space.slots)).map(Architecture)
