"""`Architecture` <-> float32 `[L, F]`, and the mask that keeps decodes valid.

The tensor layout, written down here and nowhere else.  Axis L is the slots of
the space.  Axis F is five groups of columns, one after another, each one-hot:

    kind         one column a kind, over the kinds of the whole space
    filters      one column a choice: column i is the slot's i-th width
    kernel_size  the same for windows
    strides      the same for steps
    expansion    the same for expansions

Fields are numbered within their slot, so that "the third width" of a narrow
and of a wide layer share a column.  A group that the layer's kind does not use
is all zeros.  `mask [L, F]` is true where a column stands for a choice of its
slot.  Decoding takes the largest logit among the allowed columns of a group,
so every decode is a member of the space.

Only NumPy is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import KINDS, Layer
from archcomp_tf.search_space import SearchSpace
from archcomp_tf.slot import FIELDS


class Encoding:
    """The encoding of the members of one space.

    Args:
      space: the space.

    Attributes:
      space: the same.
      groups: name of a group -> its slice of axis F.
      shape: (L, F).
      mask: bool `[L, F]`, true where a column stands for a choice.
      kinds: the kinds of the space, in the order of the columns.
      uses: bool `[len(kinds), len(groups)]`, which groups a kind uses.
    """

    def __init__(self, space: SearchSpace):
        self.space = space
        present = {kind for slot in space.slots for kind in slot.all_kinds}
        self.kinds = tuple(kind for kind in KINDS if kind in present)
        widths = {"kind": len(self.kinds)} | {
            field: max(1, *(len(slot.choices(field)) for slot in space.slots))
            for field in FIELDS
        }
        ends = np.cumsum(list(widths.values()))
        self.groups = {
            name: slice(int(end - width), int(end))
            for (name, width), end in zip(widths.items(), ends, strict=True)
        }
        self.shape = (len(space.slots), int(ends[-1]))
        self.mask = np.zeros(self.shape, bool)
        for row, slot in zip(self.mask, space.slots, strict=True):
            row[: len(self.kinds)] = [k in slot.all_kinds for k in self.kinds]
            for field in FIELDS:
                start = self.groups[field].start
                row[start : start + len(slot.choices(field))] = True
        self.uses = np.array(
            [
                [name in ("kind", *KINDS[kind].fields) for name in self.groups]
                for kind in self.kinds
            ]
        )
        self._columns: dict[tuple[int, Layer], list[int]] = {}

    def encode(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Encodes members of the space.

        Args:
          architectures: N members.

        Returns:
          float32 `[N, L, F]`, zeros and ones.

        Raises:
          ValueError: one is not a member; names the slot and the field.
        """
        x = np.zeros((len(architectures), *self.shape), np.float32)
        for row, architecture in zip(x, architectures, strict=True):
            self.space.validate(architecture)
            for index, layer in enumerate(architecture.layers):
                row[index, self._columns_of(index, layer)] = 1
        return x

    def decode(self, logits: np.ndarray) -> list[Architecture]:
        """The members that the logits favour.

        Args:
          logits: float `[N, L, F]`, any values.

        Returns:
          N members of the space.
        """
        logits = np.where(self.mask, np.nan_to_num(logits), -np.inf)
        best = np.stack(
            [np.argmax(logits[:, :, g], axis=-1) for g in self.groups.values()],
            axis=-1,
        )
        # Many points of a descent's path decode alike: each is made once.
        rows, places = np.unique(
            best.reshape(len(best), math.prod(best.shape[1:])),
            axis=0,
            return_inverse=True,
        )
        names = tuple(self.groups)
        members = [
            Architecture(
                tuple(
                    self._layer(slot, dict(zip(names, choice, strict=True)))
                    for slot, choice in zip(
                        self.space.slots, row.tolist(), strict=True
                    )
                )
            )
            for row in rows.reshape(len(rows), *best.shape[1:])
        ]
        return [members[place] for place in places.ravel()]

    def _columns_of(self, index: int, layer: Layer) -> list[int]:
        key = (index, layer)
        if key not in self._columns:
            slot = self.space.slots[index]
            self._columns[key] = [self.kinds.index(layer.kind)] + [
                self.groups[field].start
                + slot.choices(field).index(getattr(layer, field))
                for field in KINDS[layer.kind].fields
            ]
        return self._columns[key]

    def _layer(self, slot, best: dict[str, int]) -> Layer:
        kind = self.kinds[best["kind"]]
        values = {f: slot.choices(f)[best[f]] for f in KINDS[kind].fields}
        return Layer(kind, **values)
