"""Keras model -> `Architecture`, the inverse of `builder.build`.

The graph is read into the primitive operations of `layer.Op`, a sum into the
set of its two paths.  At each position the layer is then the longest one whose
own expansion is what stands there: all that is known of a kind is in `KINDS`.

An architecture has the structure alone.  Biases and batch norm do not count,
every common activation is a `relu`, and dropout, noise, random augmentation
and scaling are left out, as is zero padding in front of an operation that then
does what padding `same` does.  A `SeparableConv2D` is read as if an activation
stood between its two convolutions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import operator
import re
from collections.abc import Callable, Iterator

import keras

from archcomp_tf.architecture import Architecture
from archcomp_tf.layer import KINDS, Block, Layer, Op, Shape

# Keras layers and functions, in lower case without underscores -> name of the
# operation, or nothing where it is left out.
_OP_NAMES = {
    r"averagepooling2d": "avg_pool",
    r"batchnormalization": "batch_norm",
    r"conv2d": "conv",
    r"dense": "dense",
    r"depthwiseconv2d": "depthwise_conv",
    r"flatten": "flatten",
    r"globalaveragepooling2d": "global_avg_pool",
    r"maxpooling2d": "max_pool",
    r"separableconv2d": "separable_conv",  # two operations, see `_ops`
    r"softmax": "softmax",
    r"\w*(lu|relu6|swish|mish)": "relu",
    r"activation|linear|identity|\w*dropout(2d)?|gaussiannoise": "",
    r"rescaling|normalization|random\w+": "",
}
_RELU, _POOL = Op("relu"), Op("global_avg_pool")
_NESTED = "two straight paths from one tensor", "nested ones"
_REACH = 12  # steps looked at for one layer, more than any kind has


class UnsupportedModelError(ValueError):
    """The model has a part that no `Architecture` describes."""

    def __init__(self, layer, expected: str, got):
        super().__init__(
            f"Cannot read {layer.name!r} ({type(layer).__name__}): expected "
            f"{expected}; got {got}."
        )


@dataclasses.dataclass(frozen=True)
class _Step:
    """An operation, or the set of the paths of a sum, and its origin."""

    item: Op | frozenset[tuple[Op, ...]]
    layer: keras.Layer
    channels: int  # of the input


def from_keras(model: keras.Model) -> Architecture:
    """Reads the architecture of a Keras classifier of images.

    `from_keras(build(a, input_shape, num_classes)) == a.compact`.  Structure
    alone cannot tell a 1x1 `conv` and then an `inverted_residual` of expansion
    1 from one wider `inverted_residual`.  Biases and batch norms do, where
    they are those of `build` all through the model; elsewhere the single layer
    is read.

    Args:
      model: functional or built Sequential, nested or not: images
        `[N, height, width, channels]` -> logits or probabilities
        `[N, num_classes]`.

    Returns:
      The layers between the input and the classifier.

    Raises:
      UnsupportedModelError: names the Keras layer that no layer describes,
        what was expected and what was found.
    """
    start, end = _ends(model)
    shape = tuple(start.shape[1:])
    if len(shape) != 3 or None in shape:
        raise UnsupportedModelError(model, "(height, width, channels)", shape)
    steps, _ = _steps(start, end, shape, set())
    if steps and steps[-1].item == Op("softmax"):
        steps.pop()
    *steps, last = steps or [_Step(Op("nothing"), model, 0)]
    if (got := _text(last.item)) != "dense":
        expected = "a linear or softmax Dense classifier at the end"
        raise UnsupportedModelError(last.layer, expected, got)
    with contextlib.suppress(UnsupportedModelError):
        return Architecture(_layers(steps, tuple))
    return Architecture(_layers(steps, _structure))


def _ends(model: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input and the output of a model."""
    # A subclassed model has none, nor has a Sequential that is not built.
    ins = getattr(model, "inputs", None) or []
    outs = getattr(model, "outputs", None) or []
    if len(ins) != 1 or len(outs) != 1:
        ends = [[_made_by(x)[0].name for x in side] for side in (ins, outs)]
        expected = "a graph of [one input, one output]"
        raise UnsupportedModelError(model, expected, ends)
    return ins[0], outs[0]


def _made_by(tensor: keras.KerasTensor) -> tuple[keras.Layer, list]:
    """The layer that gives a tensor, and the tensors that it is given."""
    # `layer.input` is that of its first call, which may be in another model.
    layer, call, _ = tensor._keras_history
    return layer, layer._inbound_nodes[call].input_tensors


def _steps(start, end, shape: Shape, seen: set) -> tuple[list[_Step], Shape]:
    """The steps from `start`, which has `shape`, to `end`; and its shape."""
    calls = []
    while end is not start:
        layer, sources = _made_by(end)
        calls.append((layer, end, sources))
        end = sources[0] if len(sources) == 1 else _fork(layer, sources)
    steps = []
    for layer, output, sources in reversed(calls):
        if layer in seen and getattr(layer, "weights", ()):
            raise UnsupportedModelError(layer, "one use", "shared weights")
        seen.add(layer)
        if isinstance(layer, keras.layers.ZeroPadding2D):
            continue  # the shape behind the next layer tells if it matters
        if len(sources) > 1:
            fork = _fork(layer, sources)
            paths = [_steps(fork, source, shape, seen) for source in sources]
            item = frozenset(tuple(s.item for s in path) for path, _ in paths)
            if not all(isinstance(op, Op) for path in item for op in path):
                raise UnsupportedModelError(layer, *_NESTED)
            steps.append(_Step(item, layer, shape[-1]))
            shape = paths[0][1]
        elif isinstance(layer, keras.Model):
            inner, shape = _steps(*_ends(layer), shape, seen)
            steps += inner
        else:
            for op in _ops(layer, shape):
                steps.append(_Step(op, layer, shape[-1]))
                shape = op.output_shape(shape)
        actual = tuple(output.shape[1:])
        if len(shape) == 1 and actual[:-1] == (1, 1):
            actual = actual[-1:]  # pooled with `keepdims`
        if shape != actual:
            expected = (
                f"output shape {shape} (padding 'same', no Dense on maps)"
            )
            raise UnsupportedModelError(layer, expected, actual)
    return steps, shape


def _fork(layer, sources: list):
    """The tensor at which the two straight paths into a sum part."""
    if type(layer).__name__ != "Add" or len(sources) != 2:
        got = f"{len(sources)} inputs"
        raise UnsupportedModelError(layer, "one input, or Add of two", got)
    runs = [[source] for source in sources]
    for run in runs:
        while len(above := _made_by(run[-1])[1]) == 1:
            run += above
    for tensor in runs[0]:
        if any(tensor is other for other in runs[1]):
            return tensor
    raise UnsupportedModelError(layer, *_NESTED)


def _op_name(name: str) -> str | None:
    word = name.replace("_", "").lower()
    names = (op for key, op in _OP_NAMES.items() if re.fullmatch(key, word))
    return next(names, None)


def _ops(layer, shape: Shape) -> list[Op]:
    """The operations of a Keras layer on an input of `shape`."""
    name = _op_name(type(layer).__name__)
    if name is None:
        expected = "a layer that convolves, pools or classifies"
        raise UnsupportedModelError(layer, expected, type(layer).__name__)
    if getattr(layer, "data_format", None) == "channels_first":
        raise UnsupportedModelError(layer, "channels last", "channels first")
    # With padding `same` it is what `build` makes of an `avg_pool` layer.
    valid = getattr(layer, "padding", None) == "valid"
    if name == "avg_pool" and valid and layer.pool_size == shape[:2]:
        return [_POOL]
    filters = getattr(layer, "filters", None) or getattr(layer, "units", 0)
    bias = getattr(layer, "use_bias", False)
    window = _window(layer, shape)
    ops = [Op(name, filters, *window, bias)]
    if name == "separable_conv":
        depthwise = Op("depthwise_conv", 0, *window)
        ops = [depthwise, _RELU, Op("conv", filters, use_bias=bias)]
    elif not name or (name == "flatten" and len(shape) == 1):
        ops = []
    function = getattr(layer, "activation", None) or keras.activations.linear
    word = getattr(function, "__name__", type(function).__name__)
    name = _op_name(word)
    if name not in ("", "relu", "softmax"):
        raise UnsupportedModelError(layer, "an activation such as relu", word)
    return [*ops, Op(name)] if name else ops


def _window(layer, shape: Shape) -> tuple[int, int]:
    """Kernel size and strides of a layer; 1 and 1 where it has none."""
    if not hasattr(layer, "strides"):
        return 1, 1
    if len(shape) != 3:
        raise UnsupportedModelError(layer, "feature maps", "a vector")
    sizes = getattr(layer, "kernel_size", None) or layer.pool_size
    for word, pair in (("window", sizes), ("strides", layer.strides)):
        if pair[0] != pair[1]:
            raise UnsupportedModelError(layer, f"square {word}", pair)
    for word in ("dilation_rate", "groups", "depth_multiplier"):
        value = getattr(layer, word, 1)
        if value not in (1, (1, 1)):
            raise UnsupportedModelError(layer, f"{word} 1", value)
    return sizes[0], layer.strides[0]


def _structure(items: tuple) -> tuple:
    """Items without their batch norms and biases."""
    return tuple(
        dataclasses.replace(item, use_bias=False)
        if isinstance(item, Op)
        else frozenset(map(_structure, item))
        for item in items
        if item != Op("batch_norm")
    )


_View = Callable[[tuple], tuple]


def _layers(steps: list[_Step], view: _View) -> list[Layer]:
    """The layers that steps are, compared as `view` shows their items."""
    steps = [
        dataclasses.replace(step, item=item)
        for step in steps
        for item in view((step.item,))
    ]
    layers = []
    while steps:
        length = 1
        # The pool is implied, and `_window` lets no map operation follow it.
        if steps[0].item != _POOL:
            layer, length = _longest(steps[:_REACH], view)
            layers.append(layer)
        steps = steps[length:]
    return layers


def _longest(steps: list[_Step], view: _View) -> tuple[Layer, int]:
    """The longest layer that steps begin with, and its number of steps."""
    items, channels = tuple(step.item for step in steps), steps[0].channels
    best = None
    for layer in _candidates(items, channels):
        wanted = view(_items(layer.expand(channels)))
        equal = map(operator.eq, items, wanted)
        same = sum(itertools.takewhile(bool, equal))
        # No kind begins with an activation: one that follows belongs here.
        fits = 0 < same == len(wanted) and items[same:][:1] != (_RELU,)
        rank = fits, same, -len(wanted)
        if best is None or rank > best[0]:
            best = rank, layer, wanted
    (fits, same, _), layer, wanted = best
    if fits:
        return layer, same
    expected = f"the start of one of {', '.join(KINDS)}"
    if same:  # the kind that comes closest
        expected = f"{_text(*wanted[same:][:1])} next in {layer}"
    got = _text(*items[same:][:1])
    raise UnsupportedModelError(steps[0].layer, expected, got)


def _candidates(items: tuple, channels: int) -> Iterator[Layer]:
    """Every layer whose fields have values that occur in `items`."""
    ops = []
    for item in items:
        ops += [item] if isinstance(item, Op) else itertools.chain(*item)
    filters = {op.filters for op in ops if op.filters}
    values = {
        "filters": filters,
        "kernel_size": {op.kernel_size for op in ops},
        "strides": {op.strides for op in ops},
        "expansion": {1} | {n // channels for n in filters if n >= channels},
    }
    for kind, spec in KINDS.items():
        choices = (sorted(values[field]) for field in spec.fields)
        for chosen in itertools.product(*choices):
            yield Layer(kind, **dict(zip(spec.fields, chosen, strict=True)))


def _items(block: Block) -> tuple:
    if block.shortcut is None:
        return block.branch + block.after
    return (frozenset((block.branch, block.shortcut)), *block.after)


def _text(item: Op | frozenset | None = None) -> str:
    if isinstance(item, frozenset):
        paths = (" ".join(op.name for op in path) for path in item)
        return f"the sum of ({') and ('.join(sorted(paths))})"
    return item.name if item else "nothing"
