"""The calls of a Keras graph -> steps, the operations that `KINDS` is made of.

Here is decided what a Keras layer counts as, and what is left out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

import keras

from archcomp_tf.keras_graph import Call, UnsupportedModelError
from archcomp_tf.layer import Op, Shape

# Keras layers and functions, in lower case without underscores -> name of the
# operation, or nothing where it is left out.
_OP_NAMES = {
    r"averagepooling2d": "avg_pool",
    r"batchnormalization": "batch_norm",
    r"conv2d": "conv",
    r"dense": "dense",
    r"depthwiseconv2d": "depthwise_conv",
    r"flatten|reshape": "flatten",
    r"global(average|max)pooling2d|mean": "global_avg_pool",
    r"maxpooling2d": "max_pool",
    r"separableconv2d": "separable_conv",  # two operations, see `_ops`
    r"softmax": "softmax",
    r"\w*(elu|ilu|relu6|swish|mish)": "relu",
    r"\w*(sigmoid|tanh|shrink)|soft(plus|sign)": "relu",
    r"activation|linear|identity|\w*dropout(2d)?|gaussiannoise": "",
    r"activityregularization": "",
    r"zeropadding2d": "",  # what stands behind it has the shape that counts
}
RELU, POOL, BATCH_NORM = Op("relu"), Op("global_avg_pool"), Op("batch_norm")
_WINDOWED = ("conv", "depthwise_conv", "max_pool", "avg_pool")
_WEIGHTED = ("conv", "depthwise_conv", "dense", "batch_norm")
_ADDED = "an activation added between depthwise and pointwise"

# An operation, or the set of the two paths of a sum; None is left out.
Item = Op | frozenset[tuple[Op, ...]] | None


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation, or one sum, of a Keras model.

    Attributes:
      item: what it counts as.
      layer: the Keras layer to name where it cannot be read.
      input_shape: without the batch, in the model.
      output_shape: without the batch, in the model.
      layers: the Keras layers whose weights are counted here.
      remarks: how it differs from the item, weights aside.
    """

    item: Item
    layer: keras.Layer
    input_shape: Shape
    output_shape: Shape
    layers: tuple[keras.Layer, ...] = ()
    remarks: tuple[str, ...] = ()

    def with_weights_of(self, *others: Step, first: bool = False) -> Step:
        """The same step, that counts the weights of others too."""
        rows = [*others, self] if first else [self, *others]
        return dataclasses.replace(
            self,
            layers=tuple(layer for row in rows for layer in row.layers),
            remarks=tuple(text for row in rows for text in row.remarks),
        )


def steps(calls: Iterable[Call], shape: Shape) -> list[Step]:
    """The steps of calls that begin with a tensor of `shape`.

    Raises:
      UnsupportedModelError: names a layer that is no operation of any kind.
    """
    row = []
    for call in calls:
        if call.error:
            raise call.error
        if call.paths and call.name == "add":
            row.append(_sum(call, shape))
        elif call.is_gate:
            row.append(_gate(call, shape))
        else:
            row += _steps_of_layer(call, shape)
        shape = row[-1].output_shape
    return row


def without(row: list[Step], item: Item) -> list[Step]:
    """Steps without those of an item, whose weights the step before counts."""
    kept, waiting = [], []
    for step in row:
        if step.item != item:
            kept.append(step.with_weights_of(*waiting, first=True))
            waiting = []
        elif kept and not isinstance(step.layer, keras.layers.ZeroPadding2D):
            kept[-1] = kept[-1].with_weights_of(step)
        else:
            waiting.append(step)
    if kept:
        kept[-1] = kept[-1].with_weights_of(*waiting)
    return kept


def path_text(ops: tuple[Op, ...]) -> str:
    """For example "(conv3x3-64 relu)"."""
    return f"({' '.join(map(item_text, ops)) or 'nothing'})"


def item_text(item: Item) -> str:
    """For example "conv3x3-64", or the sum of its paths."""
    if isinstance(item, frozenset):
        return f"the sum of {' and '.join(sorted(map(path_text, item)))}"
    if item is None:
        return "nothing"
    text = item.name
    if item.name in _WINDOWED:
        text += f"{item.kernel_size}x{item.kernel_size}"
    text += f"-{item.filters}" if item.filters else ""
    return text + (f"/{item.strides}" if item.strides > 1 else "")


def activation_name(layer) -> str:
    """The activation that a Keras layer is or ends with; "linear" for none."""
    function = getattr(layer, "activation", None)
    if isinstance(function, keras.Layer):
        return activation_name(function)
    if function is not None:
        return getattr(function, "__name__", type(function).__name__)
    name = type(layer).__name__
    if _op_name(name) not in ("relu", "softmax"):
        return "linear"
    if type(layer) is not keras.layers.ReLU:
        return name
    given = [] if layer.max_value is None else [f"{layer.max_value:g}"]
    given += [
        f"{field}={getattr(layer, field):g}"
        for field in ("negative_slope", "threshold")
        if getattr(layer, field)
    ]
    return f"{name}({', '.join(given)})" if given else name


def _sum(call: Call, shape: Shape) -> Step:
    paths = [steps(path, shape) for path in call.paths]
    inner = [step for path in paths for step in path]
    items = frozenset(
        tuple(step.item for step in path if step.item) for path in paths
    )
    output = paths[0][-1].output_shape if paths[0] else shape
    step = Step(items, call.layer, shape, output, (call.layer,))
    return step.with_weights_of(*inner, first=True)


def _gate(call: Call, shape: Shape) -> Step:
    """A gate, which is left out, or an activation written as a product."""
    (path,) = filter(None, call.paths)
    layers = (*(inner.layer for inner in path), call.layer)
    end, item, remark = path[-1].output_shape, None, "a gate left out"
    if end == shape and not any(getattr(x, "weights", ()) for x in layers):
        item, remark = RELU, f"x * {activation_name(layers[-2])} built as relu"
    elif end not in (shape[-1:], (1, 1, *shape[-1:])):
        expected = "a gate of one number a channel"
        raise UnsupportedModelError(call.layer, expected, end)
    return Step(item, call.layer, shape, shape, layers, (remark,))


def _steps_of_layer(call: Call, shape: Shape) -> Iterator[Step]:
    """The steps of a call of a single layer; one without item for nothing."""
    layer, actual = call.layer, call.output_shape
    ops, remarks = _ops(call, shape)
    owner = next((i for i, op in enumerate(ops) if op.name in _WEIGHTED), 0)
    for index, op in enumerate(ops):
        before, shape = shape, op.output_shape(shape)
        if op.name in _WINDOWED and len(actual) == 3:
            same, shape = shape, (*actual[:2], shape[-1])
            if same != shape and layer.padding == "same":
                # As they are behind a zero padding that is left out.
                remarks += (f"maps of {shape} built as {same}",)
            elif same != shape:
                remarks += (f"padding {layer.padding!r} built as 'same'",)
        elif op.name == "flatten" and len(actual) == 1 and len(ops) == 1:
            shape = actual
        layers = (layer,) if index == owner else ()
        yield Step(op, layer, before, shape, layers, remarks)
        remarks = ()
    # A vector may have the form of a map of one pixel.
    if shape[-1:] != actual[-1:] or (
        len(shape) != len(actual) and actual[:-1] != (1, 1)
    ):
        expected = f"output shape {shape} (no Dense on maps)"
        raise UnsupportedModelError(layer, expected, actual)
    if not ops:
        yield Step(None, layer, shape, shape, (layer,), remarks)


def _op_name(name: str) -> str | None:
    word = name.replace("_", "").lower()
    names = (op for key, op in _OP_NAMES.items() if re.fullmatch(key, word))
    return next(names, None)


def _ops(call: Call, shape: Shape) -> tuple[list[Op], tuple[str, ...]]:
    """The operations of a layer on an input of `shape`, and remarks."""
    layer = call.layer
    name = _op_name(call.name)
    if name is None and call.in_front:
        # Behind the front it may scale, but neither cut nor resize.
        if call.output_shape == call.input_shape:
            return [], (f"{type(layer).__name__} left out",)
        got = f"{call.output_shape} from {call.input_shape}"
        raise UnsupportedModelError(layer, "it in front of all layers", got)
    if name is None:
        expected = (
            "a layer that convolves, pools or classifies (in front of them, "
            "one that scales or augments)"
        )
        raise UnsupportedModelError(layer, expected, type(layer).__name__)
    if getattr(layer, "data_format", None) == "channels_first":
        raise UnsupportedModelError(layer, "channels last", "channels first")
    word = activation_name(layer)
    activation = _op_name(word.partition("(")[0])
    if activation not in ("", "relu", "softmax"):
        raise UnsupportedModelError(layer, "an activation such as relu", word)
    remarks = ()
    if activation == "relu" and word.lower() != "relu":
        remarks = (f"{word} built as relu",)
    after = [Op(activation)] if activation else []
    if name in ("relu", "softmax"):
        return after, remarks
    ops, remark = _ops_without_activation(call, name, shape)
    return ops + after, remark + remarks


def _ops_without_activation(
    call: Call, name: str, shape: Shape
) -> tuple[list[Op], tuple[str, ...]]:
    """The operations of a layer but for its activation, and remarks."""
    layer = call.layer
    on_maps = len(shape) == 3
    if call.name == "mean":
        _check_whole_mean(call)
    if not name or (name in ("flatten", "global_avg_pool") and not on_maps):
        return [], ()
    filters = getattr(layer, "filters", None) or getattr(layer, "units", 0)
    bias = getattr(layer, "use_bias", False)
    valid = getattr(layer, "padding", None) == "valid"
    dense = Op("dense", filters, use_bias=bias)
    if name == "global_avg_pool":
        word = type(layer).__name__
        return [POOL], ("the largest values, built as means",) * ("Max" in word)
    if name == "flatten" and len(call.output_shape) != 1:
        got = call.output_shape
        raise UnsupportedModelError(layer, "a reshape to one vector", got)
    # With padding `same` it is what `build` makes of an `avg_pool` layer.
    whole_map = shape[:2] if valid and shape == call.input_shape else None
    if name == "avg_pool" and layer.pool_size == whole_map:
        return [POOL], ()
    if name == "conv" and not on_maps and layer.kernel_size == (1, 1):
        _check_plain(layer)
        return [dense], ("a convolution of one pixel",)
    if name == "conv" and layer.kernel_size == whole_map != (1, 1):
        _check_plain(layer)
        return [Op("flatten"), dense], ("a convolution of the whole map",)
    window = _window(layer, shape)
    if name == "separable_conv":
        depthwise = Op("depthwise_conv", 0, *window)
        return [depthwise, RELU, Op("conv", filters, use_bias=bias)], (_ADDED,)
    return [Op(name, filters, *window, bias)], ()


def _check_whole_mean(call: Call) -> None:
    """Refuses a mean that is not that of each channel of a map."""
    rank, axes = len(call.input_shape) + 1, call.layer.axis or ()
    if rank != 4 or {axis % rank for axis in axes} != {1, 2}:
        expected = "a mean over the axes (1, 2) of maps"
        raise UnsupportedModelError(call.layer, expected, call.layer.axis)


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
    _check_plain(layer)
    return sizes[0], layer.strides[0]


def _check_plain(layer) -> None:
    for word in ("dilation_rate", "groups", "depth_multiplier"):
        value = getattr(layer, word, 1)
        if value not in (1, (1, 1)):
            raise UnsupportedModelError(layer, f"{word} 1", value)
