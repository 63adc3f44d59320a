"""`keras.Model` -> LiteRT (TFLite) files, for phones and microcontrollers.

A file takes one image a call, `[1, height, width, channels]`, so that every
shape in it is fixed, which runtimes for microcontrollers want.  It is the
network and little else: batch norms are folded into the convolutions, the names
of the layers and the converter's metadata are left out.  Of a network of a few
thousand weights those would be half of the file.

  float32  the network as it is.
  float16  weights in float16, arithmetic and images in float32.
  int8     weights, activations, images and outputs in int8, with a scale a
           filter in convolutions and a scale a layer elsewhere.

The int8 file takes int8, not uint8: the kernels for microcontrollers know
nothing else, and a uint8 input would be one more operation that only subtracts
128.  A uint8 pixel p goes in as p - 128, exactly.  The largest output is the
class, with no need to scale it back.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
from etils import epy

from archcomp_tf.backend import dtype_policy, in_float32
from archcomp_tf.export import bare_copy
from archcomp_tf.images import unit
from archcomp_tf.quiet import silent_stderr

with epy.lazy_imports():
    import tensorflow as tf

PRECISIONS = ("float32", "float16", "int8")

_MAX_CALIBRATION_IMAGES = 256


class ConversionError(ValueError):
    """A model that LiteRT cannot hold, or that cannot be calibrated."""


def convert(
    model: keras.Model,
    precision: str = "float32",
    images: np.ndarray | None = None,
) -> bytes:
    """The contents of a `.tflite` file.

    Its one signature, "serving_default", takes "image" and gives "outputs".

    Args:
      model: float images in [0, 1] -> logits or probabilities; functional or
        Sequential.
      precision: one of `PRECISIONS`.
      images: `[N, height, width, channels]`, as a `Split` has them: real ones,
        from which the ranges of the activations are taken.  Of many, 256 that
        lie evenly are used.  Only int8 needs them.

    Raises:
      ConversionError: the model holds what LiteRT does not know, or there are
        no images to calibrate it with.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"Expected a precision of {', '.join(PRECISIONS)}; got "
            f"{precision!r}."
        )
    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise ConversionError(
            f"{model.name} takes images of any size, {shape}: LiteRT files are "
            "made for one size; build it with a fixed input shape."
        )
    if precision == "int8":
        images = _calibration_images(model.name, shape, images)
    module = _bare_module(_in_float32(model))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.classify.get_concrete_function()], module
    )
    converter.exclude_conversion_metadata = True
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ([i[None]] for i in images)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        ]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        # A scale a filter in dense layers is recent: the microcontroller
        # runtime of before September 2024 refuses it or computes nonsense.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: E501
    try:
        # It reports every step, some whatever TF_CPP_MIN_LOG_LEVEL says.
        with silent_stderr():
            return converter.convert()
    except Exception as error:  # ConverterError, RuntimeError, ValueError
        reason = str(error).partition("\n")[0]  # a page of the compiler's
        raise ConversionError(
            f"{model.name} cannot be converted to a {precision} LiteRT file: "
            f"{reason}"
        ) from error


def export_litert(
    model: keras.Model,
    directory: str | os.PathLike,
    images: np.ndarray | None = None,
    precisions: Sequence[str] = PRECISIONS,
) -> dict[str, pathlib.Path]:
    """Writes `float32.tflite`, `float16.tflite` and `int8.tflite`.

    Args:
      model: as for `convert`.
      directory: where to; made if it is not there.
      images: as for `convert`.
      precisions: which of the files to write.

    Returns:
      The path of each precision's file.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = {}
    for precision in precisions:
        content = convert(model, precision, images)
        paths[precision] = directory / f"{precision}.tflite"
        paths[precision].write_bytes(content)
    return paths


def file_bytes(model: keras.Model) -> int:
    """Size of the int8 file that the network will have once it is trained.

    The weights do not count, and the network is left as it is.
    """
    rng = np.random.default_rng(0)
    # Fresh biases are all zero, and what is equal is stored once.
    filled = bare_copy(model)
    filled.set_weights(
        [w + rng.uniform(0, 1e-3, w.shape) for w in model.get_weights()]
    )
    images = rng.random((8, *model.input_shape[1:]), np.float32)
    return len(convert(filled, "int8", images))


def _calibration_images(
    name: str, shape: tuple[int, ...], images: np.ndarray | None
) -> np.ndarray:
    """Images to calibrate with, which reach from 0 to 1."""
    if images is None or not len(images) or images.shape[1:] != shape:
        got = "none" if images is None else f"shape {list(images.shape)}"
        raise ConversionError(
            f"An int8 file of {name} is calibrated with images of shape "
            f"{['N', *shape]}; got {got}."
        )
    num = min(len(images), _MAX_CALIBRATION_IMAGES)
    chosen = np.linspace(0, len(images) - 1, num).astype(int)
    images = unit(images[chosen]).astype(np.float32)
    if not 0 <= images.min() <= images.max() <= 1:
        raise ConversionError(
            f"An int8 file of {name} is calibrated with images whose values "
            f"are in [0, 1]; got {images.min():g} to {images.max():g}."
        )
    # One black and one white value, so that the scale of the input is 1/255
    # and its zero point -128 even if the images are all pale.
    images[0].flat[0], images[0].flat[-1] = 0, 1
    return images


def _in_float32(model: keras.Model) -> keras.Model:
    """The model; if it was made for mixed precision, a copy without it."""
    layers = model._flatten_layers()  # those of nested models too
    if all(layer.compute_dtype == "float32" for layer in layers):
        return model
    with dtype_policy("float32"):
        return bare_copy(model, in_float32)


def _bare_module(model: keras.Model) -> tf.Module:
    """The model as a module whose operations have the shortest of names.

    A LiteRT file names each tensor after all operations that were folded into
    it.
    """
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    num_trainable = len(model.trainable_variables)
    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, "image")

    @tf.function(autograph=False)
    def call(image, weights):
        trainable, rest = weights[:num_trainable], weights[num_trainable:]
        return model.stateless_call(trainable, rest, image, training=False)[0]

    specs = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
    function = call.get_concrete_function(image, specs)
    graph = function.graph.as_graph_def()
    names = {node.name: f"{i:x}" for i, node in enumerate(graph.node)}
    for node in graph.node:
        node.name = names[node.name]
        # Gradients of SiLU and its like know tensors by their old names.
        node.attr.pop("_gradient_op_type", None)
        for i, tensor in enumerate(node.input):
            control = "^" if tensor.startswith("^") else ""
            name, *port = tensor.lstrip("^").split(":")
            node.input[i] = control + ":".join([names[name], *port])
    inputs = [f"{names[x.op.name]}:0" for x in function.inputs]
    output = f"{names[function.outputs[0].op.name]}:0"

    module = tf.Module()
    # Variables, not constants: the converter copies these many times.
    module.weights = [v.value for v in variables]

    @tf.function(autograph=False, input_signature=[image])
    def classify(image):
        # Beside the weights, constants, such as those of a Normalization.
        values = [*module.weights, *function.captured_inputs]
        values = [image, *map(tf.identity, values)]
        (logits,) = tf.graph_util.import_graph_def(
            graph, dict(zip(inputs, values, strict=True)), [output], name=""
        )
        return {"outputs": logits}

    module.classify = classify
    return module
