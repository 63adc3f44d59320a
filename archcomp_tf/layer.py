"""A layer, and what each kind of layer is made of.

`KINDS` is the one place where a kind of layer is defined: the fields it uses
and the primitive operations it expands into.  Shapes, closed-form cost, the
Keras layers and the reading of Keras models are all derived from that
expansion, so a new kind is one new entry here.

Sources: `residual` and `bottleneck`, He et al., arXiv 1512.03385 (strides on
the 3x3 convolution, as most later code has it); `separable_conv`, Howard et
al., arXiv 1704.04861; `inverted_residual`, Sandler et al., arXiv 1801.04381
(with ReLU in place of ReLU6).

Only the standard library is needed here.
"""

from __future__ import annotations

import dataclasses
import numbers
import re
from collections.abc import Callable
from typing import Any

# (height, width, channels) of a feature map, or (features,) of a vector.
Shape = tuple[int, ...]


def positive_integer(value: Any) -> int | None:
    """An integer of any library as an `int`; None for all that is not one.

    True and False are none, of no library: they would be written as words.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        return None
    return int(value) if value > 0 else None


def image_shape(shape: Any) -> Shape:
    """The shape of an image as three `int`.

    Raises:
      ValueError: it is not (height, width, channels), positive integers.
    """
    try:
        numbers = tuple(map(positive_integer, shape))
    except TypeError:
        numbers = ()
    if len(numbers) != 3 or None in numbers:
        raise ValueError(
            "Expected (height, width, channels), positive integers, as "
            f"input_shape; got {shape!r}."
        )
    return numbers


@dataclasses.dataclass(frozen=True)
class Op:
    """A primitive operation; padding is `same` wherever there is any.

    Attributes:
      name: "conv", "depthwise_conv", "batch_norm", "relu", "max_pool",
        "avg_pool", "global_avg_pool", "flatten" or "dense".
      filters: output channels of a convolution, units of a dense layer.
      kernel_size: side of the square window.
      strides: step of the window, the same in both directions.
      use_bias: whether a convolution or dense layer adds a bias.
    """

    name: str
    filters: int = 0
    kernel_size: int = 1
    strides: int = 1
    use_bias: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        """Shape, without the batch, of this operation's output."""
        if self.name == "global_avg_pool":
            return shape[-1:]
        if self.name == "flatten":
            return (shape[0] * shape[1] * shape[2],)
        if self.name == "dense":
            return (self.filters,)
        if len(shape) == 1:
            return shape
        height, width, channels = shape
        return (
            -(-height // self.strides),
            -(-width // self.strides),
            self.filters or channels,
        )


@dataclasses.dataclass(frozen=True)
class Block:
    """Operations in a row, optionally around a shortcut.

    With a shortcut the output is `after(branch(x) + shortcut(x))`; an empty
    shortcut adds x itself.  Without one (None) it is `after(branch(x))`.
    """

    branch: tuple[Op, ...] = ()
    shortcut: tuple[Op, ...] | None = None
    after: tuple[Op, ...] = ()

    def output_shape(self, shape: Shape) -> Shape:
        """Shape, without the batch, of this block's output."""
        for op in self.branch:
            shape = op.output_shape(shape)
        return shape


_BN = Op("batch_norm")
_RELU = Op("relu")


def _conv(filters: int, kernel_size: int, strides: int = 1) -> Op:
    return Op("conv", filters, kernel_size, strides)


def _shortcut(layer: Layer, channels: int) -> tuple[Op, ...]:
    """The input itself, or its projection where the shape changes."""
    if layer.strides == 1 and layer.filters == channels:
        return ()
    return (_conv(layer.filters, 1, layer.strides), _BN)


def _expand_conv(layer: Layer, channels: int) -> Block:
    del channels
    # The bias is VGG's, whose published sizes count it; batch norm makes it
    # redundant in training, and both fold into one at inference.
    conv = Op(
        "conv", layer.filters, layer.kernel_size, layer.strides, use_bias=True
    )
    return Block((conv, _BN, _RELU))


def _expand_separable_conv(layer: Layer, channels: int) -> Block:
    del channels
    depthwise = Op("depthwise_conv", 0, layer.kernel_size, layer.strides)
    pointwise = _conv(layer.filters, 1)
    return Block((depthwise, _BN, _RELU, pointwise, _BN, _RELU))


def _expand_residual(layer: Layer, channels: int) -> Block:
    first = _conv(layer.filters, layer.kernel_size, layer.strides)
    second = _conv(layer.filters, layer.kernel_size)
    return Block(
        (first, _BN, _RELU, second, _BN), _shortcut(layer, channels), (_RELU,)
    )


def _expand_bottleneck(layer: Layer, channels: int) -> Block:
    middle = max(1, layer.filters // 4)
    branch = (
        *(_conv(middle, 1), _BN, _RELU),
        *(_conv(middle, layer.kernel_size, layer.strides), _BN, _RELU),
        *(_conv(layer.filters, 1), _BN),
    )
    return Block(branch, _shortcut(layer, channels), (_RELU,))


def _expand_inverted_residual(layer: Layer, channels: int) -> Block:
    expand = (_conv(channels * layer.expansion, 1), _BN, _RELU)
    depthwise = Op("depthwise_conv", 0, layer.kernel_size, layer.strides)
    branch = (
        *(expand if layer.expansion > 1 else ()),
        *(depthwise, _BN, _RELU),
        *(_conv(layer.filters, 1), _BN),
    )
    same_shape = layer.strides == 1 and layer.filters == channels
    return Block(branch, () if same_shape else None)


def _expand_pool(layer: Layer, channels: int) -> Block:
    del channels
    return Block((Op(layer.kind, 0, layer.kernel_size, layer.strides),))


def _expand_flatten(layer: Layer, channels: int) -> Block:
    del layer, channels
    return Block((Op("flatten"),))


def _expand_dense(layer: Layer, channels: int) -> Block:
    del channels
    return Block((Op("dense", layer.filters, use_bias=True), _RELU))


def _expand_identity(layer: Layer, channels: int) -> Block:
    del layer, channels
    return Block()


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a kind of layer is made of.

    Attributes:
      fields: the fields of `Layer` the kind uses; the rest stay at their
        defaults.
      expand: `(layer, input channels) -> Block`.
      stage: where it may stand.  0: on feature maps, 1: between maps and
        vectors (`flatten`), 2: on vectors, None: anywhere.
    """

    fields: tuple[str, ...]
    expand: Callable[[Layer, int], Block]
    stage: int | None = 0


_CONV_FIELDS = ("filters", "kernel_size", "strides")
KINDS: dict[str, Kind] = {
    "conv": Kind(_CONV_FIELDS, _expand_conv),
    "separable_conv": Kind(_CONV_FIELDS, _expand_separable_conv),
    "residual": Kind(_CONV_FIELDS, _expand_residual),
    "bottleneck": Kind(_CONV_FIELDS, _expand_bottleneck),
    "inverted_residual": Kind(
        (*_CONV_FIELDS, "expansion"), _expand_inverted_residual
    ),
    "max_pool": Kind(("kernel_size", "strides"), _expand_pool),
    "avg_pool": Kind(("kernel_size", "strides"), _expand_pool),
    "flatten": Kind((), _expand_flatten, stage=1),
    "dense": Kind(("filters",), _expand_dense, stage=2),
    "identity": Kind((), _expand_identity, stage=None),
}

_TEXT = re.compile(
    r"(?P<kind>[a-z_]+)(?:(?P<kernel_size>\d+)x(?P=kernel_size))?(?:-(?P<filters>\d+))?"
    r"(?:x(?P<expansion>\d+))?(?:/(?P<strides>\d+))?"
)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of an architecture.

    Attributes:
      kind: a key of `KINDS`.
      filters: output channels, or units of a `dense` layer.
      kernel_size: side of the square window.
      strides: step of the window.
      expansion: channels inside an `inverted_residual`, as a multiple of its
        input channels.

    Raises:
      ValueError: the kind is unknown, a used field is not a positive integer
        (Python's or NumPy's), or a field is set that the kind does not use.
    """

    kind: str
    filters: int = 0
    kernel_size: int = 3
    strides: int = 1
    expansion: int = 1

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"Unknown layer kind {self.kind!r}; expected one of "
                f"{', '.join(KINDS)}."
            )
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name in KINDS[self.kind].fields:
                number = positive_integer(value)
                if number is None:
                    raise ValueError(
                        f"A {self.kind} layer needs a positive integer "
                        f"{field.name}; got {value!r}."
                    )
                if number is not value:
                    object.__setattr__(self, field.name, number)
            elif value != field.default:
                raise ValueError(
                    f"A {self.kind} layer has no {field.name}; got {value!r}."
                )

    def expand(self, channels: int) -> Block:
        """The block of operations this layer is, on an input of `channels`."""
        return KINDS[self.kind].expand(self, channels)

    def to_dict(self) -> dict[str, Any]:
        """The kind and the fields it uses."""
        fields = KINDS[self.kind].fields
        return {"kind": self.kind} | {f: getattr(self, f) for f in fields}

    def __str__(self) -> str:
        """For example "conv3x3-64", "inverted_residual5x5-32x6/2"."""
        used = self.to_dict()
        text = self.kind
        if "kernel_size" in used:
            text += f"{self.kernel_size}x{self.kernel_size}"
        if "filters" in used:
            text += f"-{self.filters}"
        if "expansion" in used:
            text += f"x{self.expansion}"
        return text + (f"/{self.strides}" if self.strides > 1 else "")

    @classmethod
    def parse(cls, text: str) -> Layer:
        """The layer that `str` writes as `text`.

        Raises:
          ValueError: `text` is not the text form of a layer.
        """
        match = _TEXT.fullmatch(text)
        if not match:
            raise ValueError(
                f"Expected a layer such as 'conv3x3-64/2'; got {text!r}."
            )
        fields = {k: v for k, v in match.groupdict().items() if v}
        kind = fields.pop("kind")
        return cls(kind, **{k: int(v) for k, v in fields.items()})
