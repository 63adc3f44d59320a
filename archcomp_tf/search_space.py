"""Which architectures are allowed: a row of slots, each with its choices.

A space is a product: any choice in one slot goes with any choice in another,
and since padding is `same` everywhere every member builds.  A slot that may
be left empty holds an `identity` there, so that members of one space all have
as many layers as the space has slots.

Only NumPy is needed here.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from archcomp_tf.architecture import Architecture, check_architecture
from archcomp_tf.cost import num_params
from archcomp_tf.layer import KINDS, Layer, Shape, image_shape
from archcomp_tf.ranges import check_number
from archcomp_tf.slot import Slot, as_tuple, pick

# What a teacher's layer may be swapped for, besides itself.  At the same width
# a stand-in may be larger, as a conv in place of a bottleneck is; narrower ones
# are smaller.
_STAND_INS = {
    "residual": ("conv", "separable_conv", "inverted_residual"),
    "bottleneck": ("conv", "separable_conv", "inverted_residual"),
    "conv": ("separable_conv", "inverted_residual"),
    "inverted_residual": ("separable_conv",),
}
# All that a teacher's layers may be swapped for.
SWAPS = tuple(dict.fromkeys(itertools.chain(*_STAND_INS.values())))


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """The architectures that a search may choose from.

    Attributes:
      slots: the choices, layer by layer.
      input_shape: (height, width, channels) of the images.
      num_classes: number of logits.

    Raises:
      TypeError: the slots are no row of them.
      ValueError: the space is empty, some choice of one slot cannot stand
        behind some choice of a slot before it, the input shape is none of an
        image, or there is no class.
    """

    slots: tuple[Slot, ...]
    input_shape: Shape = (32, 32, 3)
    num_classes: int = 10

    def __post_init__(self):
        slots = as_tuple("slots", self.slots)
        if wrong := [slot for slot in slots if not isinstance(slot, Slot)]:
            raise TypeError(f"Expected a row of slots; got {wrong[0]!r} in it.")
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "input_shape", image_shape(self.input_shape))
        check_number("num_classes", self.num_classes, 1, whole=True)
        object.__setattr__(self, "num_classes", int(self.num_classes))
        if not self.slots:
            raise ValueError("Empty search space: it has no slots.")
        # One member stands for all: the kinds of a slot take the same input.
        Architecture(tuple(slot.lowest(slot.kinds[0]) for slot in self.slots))

    def __len__(self) -> int:
        """Number of slots."""
        return len(self.slots)

    @property
    def num_members(self) -> int:
        """How many architectures there are, removed layers told apart."""
        return math.prod(slot.num_choices for slot in self.slots)

    @property
    def members(self) -> Iterator[Architecture]:
        """All of them, `num_members`: of most spaces far too many."""
        for layers in itertools.product(*(slot.layers for slot in self.slots)):
            yield Architecture(layers)

    @classmethod
    def around(
        cls,
        teacher: Architecture,
        input_shape: Shape = (32, 32, 3),
        num_classes: int = 10,
        *,
        num_widths: int = 16,
        min_width: float = 1 / 16,
        divisor: int = 1,
        swaps: Sequence[str] = SWAPS,
    ) -> SearchSpace:
        """A space of narrower and cheaper networks, the compact teacher too.

        One slot a layer of the teacher: make it narrower, its window smaller,
        swap it for another kind or, where it does not change the size of the
        feature maps, leave it out.

        Most swaps are cheaper as they are, but not all: a `conv` in place of a
        `bottleneck` and what stands in for a window of 1 may be larger at the
        same width.  They are allowed since narrower ones are cheaper.

        Args:
          teacher: the network to compress.
          input_shape: (height, width, channels) of the images.
          num_classes: number of logits.
          num_widths: at most so many widths a slot.
          min_width: the smallest width, as a share of the teacher's, in
            (0, 1].
          divisor: of all widths but the teacher's own.  Kernels of many
            processors are made for multiples of 8.
          swaps: the kinds that layers may be swapped for: some of `SWAPS`.
            Not every accelerator is fast at the depthwise convolutions that
            two of them have.

        Raises:
          TypeError: the teacher is no `Architecture`, or `swaps` is no row.
          ValueError: the number of widths or the divisor is not a positive
            whole number, the smallest width is no such share, or layers cannot
            be swapped for one of `swaps`.
        """
        check_architecture("the teacher", teacher)
        check_number("num_widths", num_widths, 1, whole=True)
        check_number("min_width", min_width, 0, 1, above=True)
        check_number("divisor", divisor, 1, whole=True)
        swaps = as_tuple("swaps", swaps)
        if unknown := [kind for kind in swaps if kind not in SWAPS]:
            raise ValueError(
                f"Expected swaps among {', '.join(SWAPS)}; got "
                f"{', '.join(map(repr, unknown))}."
            )
        shares = np.geomspace(1.0, min_width, num_widths)
        slots = []
        for layer in teacher.compact.layers:
            fields = KINDS[layer.kind].fields
            windowed = "filters" in fields and "kernel_size" in fields
            stand_ins = _STAND_INS.get(layer.kind, ())
            slots.append(
                Slot(
                    kinds=(layer.kind, *(k for k in stand_ins if k in swaps)),
                    filters=[
                        _scaled_width(layer.filters, share, divisor)
                        for share in shares
                    ]
                    if "filters" in fields
                    else (),
                    # A pool keeps its window, which costs nothing.
                    kernel_sizes=(
                        {layer.kernel_size, max(1, layer.kernel_size - 2)}
                        if windowed
                        else (layer.kernel_size,)
                    ),
                    strides=(layer.strides,),
                    expansions={1, 2, 4, layer.expansion}
                    if "expansion" in fields
                    else {1, 2, 4},
                    optional=layer.strides == 1,
                )
            )
        return cls(tuple(slots), input_shape, num_classes)

    @classmethod
    def uniform(
        cls,
        *,
        num_slots: int,
        kinds: Sequence[str],
        kernel_sizes: Sequence[int] = (3,),
        strides: Sequence[int] = (1,),
        filters: Sequence[int] = (),
        expansions: Sequence[int] = (1,),
        input_shape: Shape = (32, 32, 3),
        num_classes: int = 10,
    ) -> SearchSpace:
        """A space whose slots are all alike.

        Args:
          num_slots: number of slots.
          kinds: keys of `layer.KINDS`; "identity" lets slots be empty.
          kernel_sizes: choices, as in `Slot`.
          strides: choices, as in `Slot`.
          filters: choices, as in `Slot`.
          expansions: choices, as in `Slot`.
          input_shape: (height, width, channels) of the images.
          num_classes: number of logits.
        """
        check_number("num_slots", num_slots, 1, whole=True)
        kinds = as_tuple("kinds", kinds)
        slot = Slot(
            kinds=tuple(kind for kind in kinds if kind != "identity"),
            filters=filters,
            kernel_sizes=kernel_sizes,
            strides=strides,
            expansions=expansions,
            optional="identity" in kinds,
        )
        return cls((slot,) * num_slots, input_shape, num_classes)

    @classmethod
    def spanning(
        cls,
        architectures: Sequence[Architecture],
        input_shape: Shape = (32, 32, 3),
        num_classes: int = 10,
    ) -> SearchSpace:
        """The smallest space that some networks are members of.

        Args:
          architectures: networks with as many layers each.
          input_shape: (height, width, channels) of the images.
          num_classes: number of logits.

        Raises:
          ValueError: there are none, they differ in length, or their layers
            cannot be put together in every way.
        """
        lengths = sorted({len(a.layers) for a in architectures})
        if len(lengths) != 1:
            raise ValueError(
                "Expected architectures with as many layers each, `identity` "
                f"where one is removed; got lengths {lengths}."
            )
        columns = zip(*(a.layers for a in architectures), strict=True)
        return cls(
            tuple(Slot.holding(set(layers)) for layers in columns),
            input_shape,
            num_classes,
        )

    def count_params(self, architecture: Architecture) -> int:
        """Exact parameters of a member, for the space's images and classes."""
        return num_params(architecture, self.input_shape, self.num_classes)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draws a member, small and large ones alike.

        A level of width and a share of removed layers are drawn for the
        network first and the slots around them: slots drawn one by one would
        make all networks of one size.
        """
        level, removed = rng.uniform(), rng.uniform(0, 0.5)
        return Architecture(
            tuple(
                Layer("identity")
                if slot.optional and rng.uniform() < removed
                else slot.sample(pick(slot.kinds, rng), level, rng)
                for slot in self.slots
            )
        )

    def mutate(
        self, architecture: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """Changes one layer of a member; the result is another member.

        Raises:
          ValueError: `architecture` is not a member, or the space has no
            other.
        """
        self.validate(architecture)
        open_slots = [i for i, s in enumerate(self.slots) if s.num_choices > 1]
        if not open_slots:
            raise ValueError("The space has a single member: nothing differs.")
        index = pick(open_slots, rng)
        slot, old = self.slots[index], architecture.layers[index]
        new = old
        while new == old:
            new = slot.mutate(old, rng)
        layers = list(architecture.layers)
        layers[index] = new
        return Architecture(tuple(layers))

    def cross(
        self,
        first: Architecture,
        second: Architecture,
        rng: np.random.Generator,
    ) -> Architecture:
        """Takes each layer from one of two members; it is a member again."""
        pairs = zip(first.layers, second.layers, strict=True)
        return Architecture(tuple(pick(pair, rng) for pair in pairs))

    def narrowed(self, member: Architecture) -> list[Architecture]:
        """A member with all widths scaled by one factor below 1, for several.

        As near as its slots have such widths, the narrowest first; as many as
        the slot with most widths has narrower ones, or fewer.
        """
        widths = max((slot.filters for slot in self.slots), key=len)
        scaled = {}
        for width in widths[:-1]:
            factor = width / widths[-1]
            layers = (
                dataclasses.replace(
                    layer,
                    filters=slot.nearest_width(factor * layer.filters),
                )
                if layer.filters
                else layer
                for slot, layer in zip(self.slots, member.layers, strict=True)
            )
            scaled[Architecture(tuple(layers))] = None
        return [a for a in scaled if a != member]

    def swapped(self, member: Architecture) -> dict[str, list[Architecture]]:
        """A member with its layers swapped for one kind, for each kind.

        The first layer stays, since an image has few channels, and so do those
        without a width and those whose slots have no such kind.  The others
        keep their size, as near as their slots come to it.

        Returns:
          Kind -> the networks that differ from the member: one for each
          expansion, where the kind has any.
        """
        with_width = [i for i, x in enumerate(member.layers) if x.filters]
        found: dict[str, dict[Architecture, None]] = {}
        for kind, expansion in dict.fromkeys(
            (layer.kind, layer.expansion)
            for index in with_width[1:]
            for layer in self.slots[index].layers
            if layer.filters
        ):
            layers = list(member.layers)
            for index in with_width[1:]:
                if kind in self.slots[index].kinds:
                    layers[index] = self.slots[index].swapped(
                        layers[index], kind, expansion
                    )
            swapped = Architecture(tuple(layers))
            if swapped != member:
                found.setdefault(kind, {})[swapped] = None
        return {kind: list(networks) for kind, networks in found.items()}

    def validate(self, architecture: Architecture) -> None:
        """Raises ValueError, naming slot and field, for one not in here.

        TypeError for what is no architecture.
        """
        check_architecture("a member", architecture)
        if len(architecture.layers) != len(self.slots):
            raise ValueError(
                f"Expected {len(self.slots)} layers, one a slot, `identity` "
                f"in one that is empty; got {len(architecture.layers)} in "
                f"{architecture}."
            )
        pairs = zip(self.slots, architecture.layers, strict=True)
        for index, (slot, layer) in enumerate(pairs):
            if reason := slot.why_not(layer):
                raise ValueError(f"Slot {index} cannot hold {layer}: {reason}.")

    def contains(self, architecture: Architecture) -> bool:
        """Whether `architecture` is a member."""
        try:
            self.validate(architecture)
        except ValueError:
            return False
        return True

    def to_dict(self) -> dict[str, Any]:
        """All of it as lists, numbers and strings."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> SearchSpace:
        """The inverse of `to_dict`."""
        slots = tuple(Slot(**slot) for slot in config["slots"])
        return cls(slots, tuple(config["input_shape"]), config["num_classes"])


def _scaled_width(filters: int, share: float, divisor: int) -> int:
    """The multiple of `divisor` that is nearest to a share of a width."""
    if share == 1:
        return filters  # whether it is a multiple or not
    nearest = divisor * max(1, round(share * filters / divisor))
    return min(filters, nearest)
