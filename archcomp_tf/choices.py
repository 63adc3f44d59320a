"""Members as named choices, the interface of black-box optimisers.

An optimiser that knows nothing of layers chooses an index by name: the kind of
layer in each slot, and the fields that this kind has.
"""

from __future__ import annotations

from collections.abc import Callable

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import KINDS, Layer
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import FIELDS

# (name, number of choices, whether they are in order) -> index.
Suggest = Callable[[str, int, bool], int]


def choose(space: SearchSpace, suggest: Suggest) -> Architecture:
    """The member that an optimiser's choices make, slot by slot."""
    layers = []
    for index, slot in enumerate(space.slots):
        kinds = slot.all_kinds
        kind = kinds[suggest(f"{index}_kind", len(kinds), False)]
        fields = {}
        for field in KINDS[kind].fields:
            values = slot.choices(field)
            fields[field] = values[
                suggest(f"{index}_{field}", len(values), True)
            ]
        layers.append(Layer(kind, **fields))
    return Architecture(tuple(layers))


def declare(space: SearchSpace, suggest: Suggest) -> None:
    """Asks for every choice of every slot, used together or not."""
    for index, slot in enumerate(space.slots):
        suggest(f"{index}_kind", len(slot.all_kinds), False)
        used = {field for kind in slot.kinds for field in KINDS[kind].fields}
        for field in FIELDS:
            if field in used:
                suggest(f"{index}_{field}", len(slot.choices(field)), True)


def indices(space: SearchSpace, architecture: Architecture) -> dict[str, int]:
    """The choices that make a member, name -> index: `choose` backwards."""
    found = {}
    pairs = zip(space.slots, architecture.layers, strict=True)
    for index, (slot, layer) in enumerate(pairs):
        found[f"{index}_kind"] = slot.all_kinds.index(layer.kind)
        for field in KINDS[layer.kind].fields:
            found[f"{index}_{field}"] = slot.choices(field).index(
                getattr(layer, field)
            )
    return found
