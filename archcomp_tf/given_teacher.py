"""A trained teacher that a run is given: checked, and told from any other."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import keras
import numpy as np

from archcomp_tf.config import ConfigError
from archcomp_tf.datasets import Dataset
from archcomp_tf.environment import physical_memory
from archcomp_tf.images import digest_of
from archcomp_tf.keras_graph import ends
from archcomp_tf.layer import Shape
from archcomp_tf.preprocessing import Preprocessing
from archcomp_tf.two_classes import as_two_classes

# Of what Keras writes of a model: the names that it counts up, seeds that it
# draws, and what is no layer.
_NAMES = ("name", "keras_history", "input_layers", "output_layers", "seed")
_NO_LAYERS = ("build_config", "compile_config")


def load_teacher(path: str | os.PathLike) -> keras.Model:
    """The model of a `.keras` file.

    Raises:
      ConfigError: it has layers that are not known here.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except TypeError as error:  # a page, with all of its config
        reason = str(error).rpartition("Exception encountered: ")[2]
        reason = reason.partition(" Full object config")[0]
        raise ConfigError(
            f"{path} cannot be loaded: {reason.partition(chr(10))[0]} "
            "Layers of one's own are known to a program that imports them and "
            "calls archcomp_tf.compress."
        ) from error


def file_digest(path: str | os.PathLike) -> str:
    """Tells a file, such as a `.keras` file, from others by its bytes."""
    return digest_of(np.fromfile(path, np.uint8))


def model_digest(model: keras.Model) -> str:
    """Tells a model from others by its layers and weights.

    By neither alone: weights do not tell what is done to an image first.
    """
    layers = keras.saving.serialize_keras_object(model)
    text = json.dumps(_without_names(layers), sort_keys=True)
    return digest_of(
        np.frombuffer(text.encode(), np.uint8), *model.get_weights()
    )


def checked(
    model: keras.Model, dataset: Dataset, num_workers: int
) -> keras.Model:
    """A teacher that fits the data, with a logit a class.

    Args:
      model: images -> a number a class; of two classes perhaps that of the
        second alone.
      dataset: what it classifies.
      num_workers: processes that will label side by side.

    Raises:
      UnsupportedModelError: it has no graph.
      ConfigError: what it makes of images first does not fit into memory.
      ValueError: it does not fit the data, or cannot be loaded again.
    """
    ends(model)  # refuses several inputs or outputs, and what has no graph
    if isinstance(getattr(model, "output", None), dict):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if dataset.num_classes == 2:
        model = as_two_classes(model)
    _check_fit(model, dataset)
    preprocessing = Preprocessing(model)
    if None in preprocessing.output_shape:  # a student is of one size
        model = _of_size(model, dataset.input_shape)
        preprocessing = Preprocessing(model)
    _check_loadable(model)
    _check_front(model.name, preprocessing, dataset.input_shape)
    _check_memory(preprocessing, dataset, num_workers)
    return model


def _check_fit(model: keras.Model, dataset: Dataset) -> None:
    """Raises ValueError, saying how, where a classifier and data do not fit.

    Args:
      model: images -> a number a class.
      dataset: what it is to classify.
    """
    taken, given = tuple(model.input_shape[1:]), dataset.input_shape
    if len(taken) == 2:  # it adds the one channel itself
        taken += (1,)
    if len(taken) == 3 and taken[-1] != given[-1]:
        words = {1: "grey", 3: "colour"}
        raise ValueError(
            f"{model.name} takes {words.get(taken[-1], '')} images of "
            f"{taken[-1]} channels; those of {dataset.name} are "
            f"{words.get(given[-1], '')} images of {given[-1]}."
        )
    if len(taken) != 3 or any(
        size not in (None, actual)
        for size, actual in zip(taken, given, strict=True)
    ):
        raise ValueError(
            f"{model.name} takes inputs of shape {taken}; the images of "
            f"{dataset.name} have shape {given}."
        )
    if len(model.output_shape) != 2:
        raise ValueError(
            f"{model.name} gives {model.output_shape[1:]} for an image; "
            f"expected a number for each of {dataset.num_classes} classes. "
            "Where it is a matter of form: "
            "keras.Sequential([model, keras.layers.Flatten()])."
        )
    outputs = model.output_shape[-1]
    if outputs != dataset.num_classes:
        raise ValueError(
            f"{model.name} has {outputs} outputs; {dataset.name} has "
            f"{dataset.num_classes} classes."
        )


def _check_loadable(model: keras.Model) -> None:
    """Raises ValueError, naming the layer, for a model Keras cannot load again.

    Args:
      model: functional or Sequential.
    """
    if _loading_error(model) is None:  # whatever its layers do by themselves
        return
    layers = list(model._flatten_layers())
    # Layers before the models that they are in, to name what it is about.
    for layer in sorted(layers, key=lambda x: len(list(x._flatten_layers()))):
        if error := _loading_error(layer):
            kind = type(layer).__name__
            raise ValueError(
                f"Expected a model that Keras can load again; its layer "
                f"{layer.name!r} ({kind}) cannot be. Decorate what it is made "
                "of, a class or a function of your own, with "
                "keras.saving.register_keras_serializable(); a Lambda needs "
                "keras.config.enable_unsafe_deserialization(). Keras says: "
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            ) from error


def _loading_error(layer: keras.Layer) -> Exception | None:
    """What Keras says where it cannot load a layer or a model again."""
    try:
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(layer)
        )
    except Exception as error:  # of Keras, or of a layer of one's own
        return error
    return None


def _check_front(
    name: str, preprocessing: Preprocessing, image_shape: Shape
) -> None:
    """Raises ValueError where what is in front gives other sizes than it says.

    As layers that cut at random do, which leave images whole when they are only
    looked at.
    """
    image = np.zeros((1, *image_shape), np.uint8)
    found = preprocessing.apply(image).shape[1:]
    if found != preprocessing.output_shape:
        raise ValueError(
            f"Expected what {name} does to an image first to give "
            f"{preprocessing.output_shape}, which its layers are made for; "
            f"got {found}. Put a keras.layers.CenterCrop or Resizing in the "
            "place of what cuts images at random."
        )


def _of_size(model: keras.Model, image_shape: Shape) -> keras.Model:
    """A model that takes images of any size, for those of one."""
    (given,) = model.inputs
    shape = image_shape[: len(given.shape) - 1]
    inputs = keras.Input(shape, dtype=given.dtype)
    return keras.Model(inputs, model(inputs), name=model.name)


def _check_memory(
    preprocessing: Preprocessing, dataset: Dataset, num_workers: int
) -> None:
    """Raises ConfigError where what is trained on is more than fits."""
    shape = preprocessing.output_shape
    if preprocessing.is_unit:
        return  # images stay as they are
    num = sum(map(len, dataset.splits.values()))
    size = 4 * num * math.prod(shape)  # of float32
    # Beside this process' own: what those that label share, what those of the
    # final trainings share, and what each of these makes of it to train on.
    copies = 1 + (2 + num_workers) * (num_workers > 1)
    if copies * size > (memory := physical_memory()):
        raise ConfigError(
            "What the teacher does to an image first makes "
            f"{shape} of each of {num:,}, {size / 1e9:,.0f} GB, held in "
            f"{copies} cop{'ies' if copies > 1 else 'y'}: expected "
            f"at most {memory / 1e9:,.0f} GB, all memory of this machine. "
            "Give fewer images, a teacher of smaller ones, or "
            "config.num_workers = 1."
        )


def _without_names(config: Any) -> Any:
    """A serialized model as it is when it is made once more."""
    if isinstance(config, list | tuple):
        return [*map(_without_names, config)]
    if not isinstance(config, dict):
        return config
    return {
        key: _without_names(value)
        for key, value in config.items()
        if key not in _NAMES + _NO_LAYERS
    }
