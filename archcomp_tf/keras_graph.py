"""The graph of a Keras model: a row of calls, nested models unfolded.

A graph can be read where it is a row of layers, some of which add the results
of two straight rows, and some scale a tensor by a gate: by what was made of
that tensor itself.  Any other part, between one tensor that it starts from and
one that it ends in, is one call that holds the error to raise.

What is done to the image in front of the first layer that counts (scaling,
normalization, augmentation, a change of size) is the front of a model; there,
operations such as `x / 255` do as well as layers.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras

from archcomp_tf.layer import Shape

# Layers and operations of a front, in lower case without underscores.
_FRONT = re.compile(
    r"rescaling|normalization|resizing|resize|centercrop|random\w+"
    r"|(aug|cut)?mix(up)?|randaugment|autocontrast|solarization|\w*equalization"
    r"|cast|(true)?divide|multiply|subtract|add|getitem|stack|concatenate"
)
_IMAGE_FRONT = re.compile(r"reshape|expanddims")  # where they give an image
_NESTED = "two straight paths from one tensor", "nested ones"


class UnsupportedModelError(ValueError):
    """The model has a part that no `Architecture` describes."""

    def __init__(self, layer, expected: str, got):
        super().__init__(
            f"Cannot read {layer.name!r} ({type(layer).__name__}): expected "
            f"{expected}; got {got}."
        )


def _itself(layer):
    return layer


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A layer, or an operation such as `x / 255`, at work in a graph.

    Attributes:
      layer: what is called, a `keras.Layer` or another `keras.Operation`.
      node: Keras' record of the call.
      paths: the calls that lead to each of the tensors that it joins, from the
        tensor where they part; none where it takes a single tensor.
      input_shape: without the batch, of the tensor that it takes or where the
        paths part.
      output_shape: without the batch.
      error: why the part of the graph that ends here cannot be read.
    """

    layer: Any
    node: Any
    paths: tuple[tuple[Call, ...], ...] = ()
    input_shape: Shape = ()
    output_shape: Shape = ()
    error: UnsupportedModelError | None = None

    @property
    def name(self) -> str:
        """The layer's type in lower case, without underscores."""
        return type(self.layer).__name__.replace("_", "").lower()

    @property
    def is_gate(self) -> bool:
        """Whether it scales a tensor by what is made of that tensor."""
        is_product = self.name == "multiply" and any(self.paths)
        return is_product and () in self.paths

    @property
    def in_front(self) -> bool:
        """Whether it prepares an image, where nothing stands before it."""
        if self.error:
            return False
        if _IMAGE_FRONT.fullmatch(self.name):
            return len(self.output_shape) == 3
        if self.paths and self.name == "add":
            return False
        inner = itertools.chain(*self.paths)
        return all(call.in_front for call in inner) and bool(
            _FRONT.fullmatch(self.name)
        )

    def __call__(self, x, replaced: Callable[[Any], Any] = _itself):
        """Does the same to another tensor.

        A `training=True` of the first call is left out.

        Args:
          x: the tensor.
          replaced: what is called in the place of each layer.
        """
        ends = [
            functools.reduce(lambda y, call: call(y, replaced), path, x)
            for path in self.paths
        ] or [x]
        given = map(id, self.node.input_tensors)
        args, kwargs = self.node.arguments.fill_in(
            dict(zip(given, ends, strict=True))
        )
        if kwargs.get("training"):
            del kwargs["training"]
        return replaced(self.layer)(*args, **kwargs)

    def with_shapes(self, shape: Shape) -> Call:
        """The same call, where it takes a tensor of `shape`."""
        paths = tuple(_with_shapes(path, shape) for path in self.paths)
        output = tuple(self.node.output_tensors[0].shape[1:])
        # A model that takes images of any size may stand in one that does not.
        if None in output and paths:
            output = paths[0][-1].output_shape if all(paths) else shape
        elif None in output and isinstance(self.layer, keras.Layer):
            output = self.layer.compute_output_shape((None, *shape))[1:]
        elif None in output:
            output = self(keras.KerasTensor((None, *shape))).shape[1:]
        return dataclasses.replace(
            self, paths=paths, input_shape=shape, output_shape=tuple(output)
        )


def calls(model: keras.Model) -> tuple[Call, ...]:
    """Every call from the input of a model to its output, in order.

    Behind a part that cannot be read there are no shapes.

    Raises:
      TypeError: it is not a Keras model.
      UnsupportedModelError: the model has no graph with one input and one
        output.
    """
    start, end = ends(model)
    return _with_shapes(_between(start, end), tuple(start.shape[1:]))


def ends(model: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input and the output of a model.

    Raises:
      TypeError: it is no model.
      UnsupportedModelError: it has not one of each, or no graph.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "Expected a Keras model, such as keras.models.load_model gives; "
            f"got {model!r}."
        )
    # A subclassed model has none, nor has a Sequential that is not built.
    ins = getattr(model, "inputs", None) or []
    outs = getattr(model, "outputs", None) or []
    expected = "a graph of [one input, one output]"
    if not ins:
        got = (
            "none (call or build it first; a subclassed model has no graph, "
            "but keras.Model(i, model.call(i)) with i = keras.Input(shape) has)"
        )
        raise UnsupportedModelError(model, expected, got)
    if len(ins) != 1 or len(outs) != 1:
        names = [[made_by(x)[0].name for x in side] for side in (ins, outs)]
        raise UnsupportedModelError(model, expected, names)
    return ins[0], outs[0]


def front(row: Iterable[Call]) -> tuple[Call, ...]:
    """The calls in front of the first one that does not prepare the image."""
    return tuple(itertools.takewhile(lambda call: call.in_front, row))


def front_shape(model: keras.Model, front: Sequence[Call]) -> Shape:
    """The shape, without the batch, of what comes out of a model's front.

    Grey images may have no channel even there; they get it here.
    """
    last = front[-1].output_shape if front else model.inputs[0].shape[1:]
    return (*last, 1) if len(last) == 2 else tuple(last)


def flat(row: Iterable[Call]) -> Iterator[Call]:
    """All calls, those on the paths of a join before it."""
    for call in row:
        for path in call.paths:
            yield from flat(path)
        yield call


def num_flops(row: Iterable[Call]) -> int:
    """Floating-point operations for one image, see `cost.num_flops`.

    Of the model as it is, in which maps may be of other sizes than in what is
    built of its architecture, and of its gates.
    """
    return sum(
        2 * math.prod(weight.shape) * math.prod(call.output_shape[:-1])
        for call in flat(row)
        for weight in getattr(call.layer, "weights", ())
        if weight.name.endswith("kernel")
    )


def made_by(tensor: keras.KerasTensor) -> tuple[Any, Any]:
    """The layer that gives a tensor, and Keras' record of that call."""
    # `layer.input` is that of its first call, which may be in another model.
    layer, call, _ = tensor._keras_history
    return layer, layer._inbound_nodes[call]


def _between(start, end) -> tuple[Call, ...]:
    """The calls from one tensor to another."""
    row = []
    while end is not start:
        layer, node = made_by(end)
        sources = node.input_tensors
        try:
            end, paths = sources[0], ()
            if len(sources) > 1:
                end = _fork(layer, sources)
                paths = tuple(_between(end, source) for source in sources)
            if isinstance(layer, keras.Model):
                row += reversed(_between(*ends(layer)))
            else:
                call = Call(layer, node, paths)
                _check_paths(call)
                row.append(call)
        except UnsupportedModelError as error:
            row.append(Call(layer, node, error=error))
            end = _source(sources)
    return tuple(reversed(row))


def _source(tensors: list) -> keras.KerasTensor:
    """The nearest common dominator: all paths to them lead through it."""
    found = list(tensors)
    for tensor in found:
        if _is_made_of(tensors, tensor):
            break
        new = made_by(tensor)[1].input_tensors
        found += (x for x in new if not any(x is other for other in found))
    return tensor


def _is_made_of(tensors: list, source: keras.KerasTensor) -> bool:
    """Whether all paths from the input to the tensors lead through `source`."""
    waiting, seen = list(tensors), {id(source)}
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in seen:
            seen.add(id(tensor))
            waiting += (above := made_by(tensor)[1].input_tensors)
            if not above:
                return False
    return True


def _fork(layer, sources: list):
    """The tensor at which the straight paths into a layer part."""
    runs = [[source] for source in sources]
    for run in runs:
        while (above := _above(run[-1])) is not None:
            run.append(above)
    for tensor in runs[0]:
        if all(any(tensor is other for other in run) for run in runs):
            return tensor
    if not _is_sum(layer, sources):
        raise _not_a_sum(layer, sources)
    for run in runs:  # what keeps them from being straight
        inner, node = made_by(run[-1])
        if node.input_tensors and not _is_sum(inner, node.input_tensors):
            raise _not_a_sum(inner, node.input_tensors)
    raise UnsupportedModelError(layer, *_NESTED)


def _above(tensor: keras.KerasTensor) -> keras.KerasTensor | None:
    """What a tensor is made of, where that is one tensor or a gated one."""
    layer, node = made_by(tensor)
    sources = node.input_tensors
    return sources[0] if len(sources) == 1 else _gated(layer, sources)


def _gated(layer, sources: list) -> keras.KerasTensor | None:
    """The one of two tensors of which the other, its gate, is made."""
    if type(layer).__name__ != "Multiply" or len(sources) != 2:
        return None
    for scaled, gate in (sources, sources[::-1]):
        while len(above := made_by(gate)[1].input_tensors) == 1:
            (gate,) = above
            if gate is scaled:
                return scaled
    return None


def _check_paths(call: Call) -> None:
    inner = list(itertools.chain(*call.paths))
    if _is_sum(call.layer, call.paths):
        if any(other.paths and not other.is_gate for other in inner):
            raise UnsupportedModelError(call.layer, *_NESTED)
    elif not call.is_gate:
        # Channels of an image may be put in another order, or repeated.
        if not all(_FRONT.fullmatch(other.name) for other in inner):
            raise _not_a_sum(call.layer, call.paths)


def _is_sum(layer, inputs: Sequence) -> bool:
    return type(layer).__name__ == "Add" and len(inputs) == 2


def _not_a_sum(layer, inputs: Sequence) -> UnsupportedModelError:
    got = f"{len(inputs)} inputs"
    return UnsupportedModelError(layer, "one input, or Add of two", got)


def _with_shapes(row: Iterable[Call], shape: Shape) -> tuple[Call, ...]:
    found, row = [], iter(row)
    for call in row:
        if call.error:
            return (*found, call, *row)
        found.append(call.with_shapes(shape))
        shape = found[-1].output_shape
    return tuple(found)
