"""The choices for one layer of an architecture.

Only NumPy is needed here.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from archcomp_tf.layer import KINDS, Layer

# The field of `Layer` that each list of choices of a `Slot` fills.
FIELDS = {
    "filters": "filters",
    "kernel_size": "kernel_sizes",
    "strides": "strides",
    "expansion": "expansions",
}

# How far, as a share of all widths, a slot's width strays from its network's.
_WIDTH_SPREAD = 0.15


@dataclasses.dataclass(frozen=True)
class Slot:
    """The choices for one layer.

    Attributes:
      kinds: keys of `layer.KINDS`, all of one stage, without "identity".
      filters: widths, for the kinds that have one.
      kernel_sizes: window sides, for the kinds that have one.
      strides: window steps, for the kinds that have one.
      expansions: for `inverted_residual`.
      optional: whether the slot may hold an `identity` instead.

    Raises:
      TypeError: choices are not given as a row of them.
      ValueError: there are none, a kind is unknown, a number is not a positive
        integer, or the kinds stand in different places of a network.
    """

    kinds: tuple[str, ...]
    filters: tuple[int, ...] = ()
    kernel_sizes: tuple[int, ...] = (3,)
    strides: tuple[int, ...] = (1,)
    expansions: tuple[int, ...] = (1,)
    optional: bool = False

    def __post_init__(self):
        kinds = as_tuple("kinds", self.kinds)
        object.__setattr__(self, "kinds", tuple(dict.fromkeys(kinds)))
        for name in FIELDS.values():
            given = as_tuple(name, getattr(self, name))
            if not all(map(_is_whole, given)):
                raise ValueError(
                    f"Expected whole numbers as {name}; got {given}."
                )
            values = tuple(sorted({int(v) for v in given}))
            object.__setattr__(self, name, values)
        if not self.kinds:
            raise ValueError("A slot needs at least one kind of layer.")
        for kind in self.kinds:
            if kind not in KINDS or kind == "identity":
                raise ValueError(
                    f"Unknown kind {kind!r} in a slot; expected some of "
                    f"{', '.join(k for k in KINDS if k != 'identity')}; an "
                    "identity is allowed with optional=True."
                )
            for field in KINDS[kind].fields:
                if not self.choices(field):
                    raise ValueError(
                        f"A slot with {kind} needs at least one choice of "
                        f"{FIELDS[field]}."
                    )
            self.lowest(kind)  # refuses bad values
        if len({KINDS[kind].stage for kind in self.kinds}) > 1:
            raise ValueError(
                "A slot's kinds must all take feature maps, or all vectors; "
                f"got {', '.join(self.kinds)}."
            )

    def lowest(self, kind: str) -> Layer:
        """The layer of a kind with the lowest choice of each field."""
        fields = KINDS[kind].fields
        return Layer(kind, **{f: self.choices(f)[0] for f in fields})

    @property
    def all_kinds(self) -> tuple[str, ...]:
        """The kinds, with "identity" first where the slot is optional."""
        return (("identity",) if self.optional else ()) + self.kinds

    def choices(self, field: str) -> tuple[int, ...]:
        """The values that `Layer.field` may take here."""
        return getattr(self, FIELDS[field])

    @functools.cached_property
    def num_choices(self) -> int:
        """How many different layers the slot can hold."""
        return sum(
            math.prod(len(self.choices(f)) for f in KINDS[kind].fields)
            for kind in self.all_kinds
        )

    @property
    def layers(self) -> Iterator[Layer]:
        """Every layer that the slot can hold."""
        for kind in self.all_kinds:
            fields = KINDS[kind].fields
            for values in itertools.product(*map(self.choices, fields)):
                yield Layer(kind, **dict(zip(fields, values, strict=True)))

    def why_not(self, layer: Layer) -> str | None:
        """What keeps `layer` out of this slot; None where nothing does."""
        if layer.kind not in self.all_kinds:
            return f"kind {layer.kind!r} is not one of {self.all_kinds}"
        for field in KINDS[layer.kind].fields:
            if getattr(layer, field) not in self.choices(field):
                return (
                    f"{field} {getattr(layer, field)} is not one of "
                    f"{self.choices(field)}"
                )
        return None

    def nearest_width(self, width: float) -> int:
        """Of the slot's widths the one that is nearest to `width`."""
        return _nearest(self.filters, width)

    def swapped(self, layer: Layer, kind: str, expansion: int) -> Layer:
        """The layer of a kind that the slot has which is nearest to `layer`.

        Args:
          layer: itself where it is of that kind.
          kind: one of `kinds`.
          expansion: wanted of it, where the kind has any.
        """
        if layer.kind == kind:
            return layer
        wanted = dataclasses.asdict(layer) | {"expansion": expansion}
        return Layer(
            kind,
            **{
                field: _nearest(self.choices(field), wanted[field])
                for field in KINDS[kind].fields
            },
        )

    def sample(
        self, kind: str, level: float, rng: np.random.Generator
    ) -> Layer:
        """A layer of `kind` whose width is near `level` of the slot's widths.

        Args:
          kind: one of `kinds`.
          level: in [0, 1], from the narrowest to the widest.
          rng: the randomness.
        """
        values = {}
        for field in KINDS[kind].fields:
            choices = self.choices(field)
            if field == "filters":
                place = min(max(rng.normal(level, _WIDTH_SPREAD), 0), 1)
                values[field] = choices[round(place * (len(choices) - 1))]
            else:
                values[field] = pick(choices, rng)
        return Layer(kind, **values)

    def mutate(self, old: Layer, rng: np.random.Generator) -> Layer:
        """`old` with its kind or a field drawn anew, perhaps as it was."""
        fields = KINDS[old.kind].fields
        field = pick(("kind", *fields), rng)
        if field != "kind":
            value = pick(self.choices(field), rng)
            return dataclasses.replace(old, **{field: value})
        kind = pick(self.all_kinds, rng)
        kept = {f: getattr(old, f) for f in KINDS[kind].fields if f in fields}
        new = self.sample(kind, rng.uniform(), rng)
        return dataclasses.replace(new, **kept)

    @classmethod
    def holding(cls, layers: set[Layer]) -> Slot:
        """The slot with the fewest choices that can hold all of these."""
        kept = [layer for layer in layers if layer.kind != "identity"]
        choices = {
            plural: tuple(
                getattr(layer, field)
                for layer in kept
                if field in KINDS[layer.kind].fields
            )
            for field, plural in FIELDS.items()
        }
        return cls(
            kinds=tuple(sorted({layer.kind for layer in kept})),
            optional=len(kept) < len(layers),
            **{plural: values for plural, values in choices.items() if values},
        )


def as_tuple(name: str, given: Any) -> tuple:
    """A row of choices as a tuple; TypeError for a single one without a row."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(
            f"Expected a row of choices, such as ({given!r},), as {name}; got "
            f"{given!r}."
        )
    return tuple(given)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Real) and float(value).is_integer()


def pick(values: Sequence[Any], rng: np.random.Generator) -> Any:
    """One of `values`; `rng.choice` takes several times as long."""
    return values[rng.integers(len(values))]


def _nearest(choices: Sequence[int], wanted: float) -> int:
    return min(choices, key=lambda choice: abs(choice - wanted))
