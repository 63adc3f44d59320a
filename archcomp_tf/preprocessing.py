"""What a model does to an image before its first layer that counts.

The front of a model (`keras_graph`) is kept: networks learn on what comes out
of it, and the one that is given back has a copy of it in front, so that it
takes exactly what the model takes.  Random layers of the copy do nothing:
Keras has them at work wherever `training=False` is not said, in a SavedModel
too, and students are trained with an `Augmentation` of their own.  It computes
in float32, also where the model was made for mixed precision.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
import numpy as np

from archcomp_tf import keras_graph
from archcomp_tf.backend import dtype_policy, in_float32
from archcomp_tf.images import MAX_PIXEL, unit
from archcomp_tf.layer import Shape

_BATCH_SIZE = 256
# A front that takes [0, 1] makes neither every value so small nor this one 0.
_SMALL_GAIN, _LARGE_ZERO = 1 / 64, 1.5
_INPUT_NAME = "image"  # as in `builder.build`
_UNIT_NAME = "image_in_unit"
_ANY_SIZE = 32  # side of a probe where a model takes images of any size


class Preprocessing:
    """The front of a model, apart from the model.

    Attributes:
      input_shape: (height, width, channels) of the model's images; None where
        any size will do.
      output_shape: of what comes out of the front, which networks take.
    """

    def __init__(self, model: keras.Model):
        """Takes the front of `model`, which stays as it is.

        Raises:
          UnsupportedModelError: the model has no graph.
        """
        self._front = keras_graph.front(keras_graph.calls(model))
        self._tensor = model.inputs[0]
        self.input_shape: Shape = tuple(self._tensor.shape[1:])
        self.output_shape: Shape = keras_graph.front_shape(model, self._front)

    @functools.cached_property
    def max_pixel(self) -> int:
        """The model's largest pixel: 255, or 1 for images in [0, 1].

        It is 255 where the input is of whole numbers, and where the front of
        the model is meant for that.
        """
        if self._takes_whole or self._front_is_for_bytes:
            return MAX_PIXEL
        return 1

    @property
    def _takes_whole(self) -> bool:
        return "int" in self._tensor.dtype

    @functools.cached_property
    def _front_is_for_bytes(self) -> bool:
        """Whether the front is meant for pixels up to 255.

        It makes an image of ones differ from one of zeros by 1/64 at most
        (`Rescaling(1 / 255)`), or makes zero of a value above 1.5 (a mean of
        0..255, subtracted).
        """
        if not self._front:
            return False
        shape = [size or _ANY_SIZE for size in self.input_shape]
        values = np.stack([np.zeros(shape), np.ones(shape)])
        front = keras.Model(*self._copy(set(), in_unit=False))
        zeros, ones = _predicted(front, values.astype(np.float32))
        gain, zeros = (ones - zeros).ravel(), zeros.ravel()
        moved = np.abs(gain) > _SMALL_GAIN
        if not moved.any():
            return True
        return (-zeros[moved] / gain[moved]).max() > _LARGE_ZERO

    @property
    def mirrors(self) -> bool:
        """Whether, in training, it turned images left to right at random."""
        return any(
            isinstance(call.layer, keras.layers.RandomFlip)
            and call.layer.mode.startswith("horizontal")
            for call in keras_graph.flat(self._front)
        )

    @functools.cached_property
    def is_unit(self) -> bool:
        """Whether what comes out are the images in [0, 1], unchanged."""
        if not self._front:
            return True
        if self.output_shape != self.input_shape:
            return False  # though a probe may be of the size that comes out
        shape = [size or _ANY_SIZE for size in self.input_shape]
        rng = np.random.default_rng(0)
        probe = rng.integers(0, MAX_PIXEL, (1, *shape), np.uint8, endpoint=True)
        found = self._run(self.scaled(probe))
        return found.shape == probe.shape and np.allclose(
            found, unit(probe), atol=1e-6
        )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """What comes out of the front, without any randomness.

        Args:
          images: of a `Split`, whatever the model takes (`max_pixel`).

        Returns:
          float32 `[N, *output_shape]`; the images themselves where the front
          does nothing but bring them to [0, 1].
        """
        if self.is_unit:
            return images
        return self._run(self.scaled(images))

    def scaled(self, images: np.ndarray) -> np.ndarray:
        """Images of a `Split` as the model takes them: in its range and shape.

        Returns:
          float32; uint8 as it came, where the model takes images in [0, 1].
        """
        if len(self.input_shape) < 3:  # its own front adds the channel
            images = images.reshape(len(images), *self.input_shape)
        if self.max_pixel == 1:
            return images
        if images.dtype == np.uint8:
            return images.astype(np.float32)
        images = images * np.float32(self.max_pixel)
        return np.rint(images) if self._takes_whole else images

    @dtype_policy("float32")
    def on_unit_images(
        self, model: keras.Model, image_shape: Shape
    ) -> keras.Model:
        """A model with this front, made to take images in [0, 1].

        Args:
          model: it takes what `scaled` gives, perhaps of any size.
          image_shape: (height, width, channels) of the images.

        Returns:
          Float images `[N, *image_shape]` in [0, 1] -> the outputs of `model`;
          itself where that is what it takes.
        """
        if self.max_pixel == 1 and self.input_shape == image_shape:
            return model
        inputs = x = keras.Input(image_shape)
        if len(self.input_shape) < 3:
            x = keras.layers.Reshape(image_shape[:2])(x)
        x = keras.layers.Rescaling(float(self.max_pixel))(x)
        x = model(x, training=False)  # random layers are to do nothing
        return keras.Model(inputs, x, name=model.name)

    def in_front_of(self, network: keras.Model) -> keras.Model:
        """The network behind a copy of the front.

        Args:
          network: one that `from_keras` reads, on images of `output_shape`.

        Returns:
          A functional model that takes what the model takes: copies of the
          front's layers, which have no weights, and the layers of the network,
          which it shares; the network itself where there is no front.

        Raises:
          ValueError: the network takes another shape.
        """
        if tuple(network.input_shape[1:]) != self.output_shape:
            raise ValueError(
                f"Expected a network on images of {self.output_shape}, what "
                f"comes out of the front; got {network.input_shape[1:]}."
            )
        if (
            not self._front
            and self.input_shape == self.output_shape
            and not self._takes_whole
        ):
            return network
        calls = keras_graph.calls(network)
        names = {call.layer.name for call in keras_graph.flat(calls)}
        inputs, x = self._copy(names, self._is_left_whole)
        for call in calls:
            x = call(x)
        return keras.Model(inputs, x, name=network.name)

    @property
    def _is_left_whole(self) -> bool:
        """Whether whole numbers, which networks do not take, pass the front."""
        return self._takes_whole and not self._front_is_for_bytes

    @functools.cached_property
    def _model(self) -> keras.Model:
        return keras.Model(*self._copy(set(), self._is_left_whole))

    def _run(self, images: np.ndarray) -> np.ndarray:
        return _predicted(self._model, images)

    @dtype_policy("float32")
    def _copy(self, taken: set[str], in_unit: bool) -> tuple:
        """An input and what copies of the front's layers make of it.

        Args:
          taken: names that the copies must not have.
          in_unit: whether the image is brought to [0, 1] first.
        """
        dtype = self._tensor.dtype
        inputs = x = keras.Input(
            self.input_shape,
            dtype="float32" if "float" in dtype else dtype,
            name=_INPUT_NAME,
        )
        if in_unit:
            x = keras.layers.Rescaling(1 / MAX_PIXEL, name=_UNIT_NAME)(x)
        taken, copies = taken | {_INPUT_NAME, _UNIT_NAME}, {}

        def copied(layer):
            if not isinstance(layer, keras.Layer):
                return layer  # an operation, which has no weights
            if layer not in copies:
                config = _config(layer)
                while config["name"] in taken:
                    config["name"] += "_in_front"
                taken.add(config["name"])
                copies[layer] = type(layer).from_config(config)
            if "training" in inspect.signature(layer.call).parameters:
                return functools.partial(copies[layer], training=False)
            return copies[layer]

        for call in self._front:
            x = call(x, copied)
        if len(x.shape) == 3:
            x = keras.layers.Reshape((*x.shape[1:], 1))(x)
        return inputs, x


def _predicted(model: keras.Model, images: np.ndarray) -> np.ndarray:
    outputs = model.predict(unit(images), _BATCH_SIZE, verbose=0)
    return np.asarray(outputs, np.float32)


def _config(layer: keras.Layer) -> dict[str, Any]:
    """What a copy of a front's layer is made from."""
    config = layer.get_config()
    # What was adapted becomes constants: the layer would work with others than
    # its weights where these are set after it was built, as in a clone.
    if isinstance(layer, keras.layers.Normalization) and layer.weights:
        for name in ("mean", "variance"):
            value = getattr(layer, f"adapt_{name}")
            config[name] = keras.ops.convert_to_numpy(value).tolist()
    return in_float32(config)
