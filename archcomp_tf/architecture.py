"""An architecture: layers in a row, closed by a classifier.

The description of a network, without any framework.  A network is its layers
and, after them, the classifier: where no `flatten` stands, the features are
pooled globally before the first vector layer (a `dense` one or the
classifier), which gives one logit a class.

Only the standard library is needed here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from archcomp_tf.layer import KINDS, Block, Layer, Op, Shape, image_shape
from archcomp_tf.ranges import check_number

# Names of blocks that are of no layer: the global pool, and the last one.
POOL, CLASSIFIER = "pool", "classifier"


@dataclasses.dataclass(frozen=True, repr=False)
class Architecture:
    """The layers of a network, without its input and its classifier.

    Attributes:
      layers: the layers in order.  An `identity` stands for a removed layer:
        it keeps the slots of a search space aligned and builds nothing.

    Raises:
      ValueError: a layer stands behind one that it cannot follow, such as a
        convolution behind a dense layer.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        stage, last = 0, None
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"Expected a Layer at position {index}; got {layer!r}."
                )
            own = KINDS[layer.kind].stage
            if own is None:
                continue
            if own < stage or own == stage == 1:
                raise ValueError(
                    f"Layer {index} ({layer}) cannot follow {last}: feature "
                    "maps come first, then at most one flatten, then dense "
                    "layers."
                )
            stage, last = own, layer

    @functools.cached_property
    def compact(self) -> Architecture:
        """The same network with its `identity` layers left out."""
        layers = [layer for layer in self.layers if layer.kind != "identity"]
        return Architecture(tuple(layers))

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the network.

        Architectures that differ in `identity` layers alone are the same
        network and share a fingerprint.
        """
        text = self.compact.to_json().encode()
        return hashlib.sha256(text).hexdigest()[:16]

    def blocks(
        self, input_shape: Shape, num_classes: int
    ) -> Iterator[tuple[str, Block, Shape]]:
        """Walks the whole network, classifier included.

        Args:
          input_shape: (height, width, channels) of an image.
          num_classes: number of logits.

        Yields:
          The name of the block, unique in the network; the block; the shape,
          without the batch, of its input.

        Raises:
          ValueError: the input shape is none of an image, or there is no class.
        """
        check_number("num_classes", num_classes, 1, whole=True)
        num_classes = int(num_classes)  # a small NumPy number would overflow
        shape = image_shape(input_shape)
        for index, layer in enumerate(self.compact.layers):
            if layer.kind == "dense" and len(shape) == 3:
                yield POOL, Block((Op("global_avg_pool"),)), shape
                shape = shape[-1:]
            block = layer.expand(shape[-1])
            yield f"{layer.kind}_{index}", block, shape
            shape = block.output_shape(shape)
        if len(shape) == 3:
            yield POOL, Block((Op("global_avg_pool"),)), shape
            shape = shape[-1:]
        classifier = Op("dense", num_classes, use_bias=True)
        yield CLASSIFIER, Block((classifier,)), shape

    def scale_width(self, factor: float) -> Architecture:
        """The same layers with every `filters` multiplied by `factor`.

        Widths are rounded and never fall below 1; a factor of 1 gives the
        architecture itself.
        """
        layers = [
            dataclasses.replace(
                layer, filters=max(1, round(layer.filters * factor))
            )
            if layer.filters
            else layer
            for layer in self.layers
        ]
        return Architecture(tuple(layers))

    def to_dict(self) -> dict[str, Any]:
        """`{"layers": [{"kind": ..., used fields}, ...]}`."""
        return {"layers": [layer.to_dict() for layer in self.layers]}

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Architecture:
        """The inverse of `to_dict`.

        Raises:
          ValueError: `config` does not describe an architecture.
        """
        try:
            return cls(tuple(Layer(**layer) for layer in config["layers"]))
        except (KeyError, TypeError) as error:
            raise ValueError(
                "Expected {'layers': [{'kind': ..., 'filters': ..., ...}]}; "
                f"got {config!r}."
            ) from error

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """The inverse of `to_json`; ValueError where `text` is none."""
        return cls.from_dict(json.loads(text))

    def __str__(self) -> str:
        """For example "conv3x3-32 max_pool2x2/2 dense-64"."""
        return " ".join(map(str, self.layers))

    def __repr__(self) -> str:
        """As it would be written; of its layers' own it would be a page."""
        return f"Architecture.parse({str(self)!r})"

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """The inverse of `str`.

        Raises:
          TypeError: `text` is no text.
          ValueError: it is of no architecture.
        """
        if not isinstance(text, str):
            raise TypeError(
                "Expected the text form of an architecture, such as "
                f"'conv3x3-64 max_pool2x2/2'; got {text!r}."
            )
        return cls(tuple(map(Layer.parse, text.split())))


def check_architecture(name: str, value: Any) -> None:
    """Raises TypeError for what is no `Architecture`, such as its text.

    Args:
      name: what the error calls it.
      value: what was given.
    """
    if not isinstance(value, Architecture):
        raise TypeError(
            f"Expected an Architecture as {name}, such as "
            f"Architecture.parse('conv3x3-64') gives; got {value!r}."
        )
