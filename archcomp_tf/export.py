"""Writes trained models as files that need nothing of this package."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import keras
from etils import epy

from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.descent import Descent
from archcomp_tf.encoding import Encoding
from archcomp_tf.objective import LogParams, Objective

with epy.lazy_imports():
    import tensorflow as tf


def save_keras(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes a `.keras` file as small as the network is.

    Keras keeps the optimizer's state in the file of a compiled model, and does
    not compress: of a network of a few thousand weights most bytes are
    overhead.  Here the state is left out and the archive deflated, which
    `keras.models.load_model` reads as any other.

    Args:
      model: functional or Sequential.
      path: where to; ends in ".keras".
    """
    bare_copy(model).save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def bare_copy(
    model: keras.Model,
    changed: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> keras.Model:
    """A copy of a model with its weights and without its training state.

    Args:
      model: functional or Sequential.
      changed: the config of a layer -> that of its copy.
    """
    copy = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(
            changed(layer.get_config())
        ),
    )
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        # Adapted statistics take effect when they are told to.
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return copy


def export_saved_model(
    model: keras.Model, directory: str | os.PathLike, max_pixel: int = 1
) -> None:
    """Writes a SavedModel with one named endpoint.

    With `model = tf.saved_model.load(directory)`, `model.classify(images)`
    takes uint8 images `[N, height, width, channels]`, any N, and gives the
    probabilities of the classes, float32 `[N, num_classes]`.  It is the serving
    default too.

    Args:
      model: images -> logits.
      directory: where to; replaced if it is there.
      max_pixel: what the model takes for the largest pixel, 1 or 255.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, "images")
        ]
    )
    def classify(images):
        scaled = tf.cast(images, tf.float32) / (255 / max_pixel)
        # Keras leaves augmentation layers at work unless it is told not to.
        return tf.nn.softmax(
            model(tf.cast(scaled, model.inputs[0].dtype), training=False)
        )

    _write(model, directory, classify=classify)


def export_onnx(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes an ONNX file of a network, where tf2onnx is installed.

    Its one input, "image", takes float32 `[N, height, width, channels]`, any N,
    with the values that the model takes: a student those that its teacher
    takes; its one output is the model's.

    Args:
      model: float images -> logits or probabilities.
      path: where to; ends in ".onnx".
    """
    # Keras writes no model that was never called.
    model(keras.ops.zeros((1, *model.input_shape[1:])))
    with warnings.catch_warnings():
        # Keras brings back for tf2onnx what NumPy 2 has taken away.
        warnings.filterwarnings("ignore", ".*np.object", FutureWarning)
        model.export(os.fspath(path), format="onnx", verbose=False)


def export_embedding(
    autoencoder: ArchitectureAutoencoder,
    directory: str | os.PathLike,
    objective_type: type[Objective] = LogParams,
) -> None:
    """Writes a SavedModel of an embedding, with its heads and its descent.

    With `embedding = tf.saved_model.load(directory)`, all in float32 unless it
    is said otherwise:

      embedding.encode(x [N, L, F]) -> z [N, D]
      embedding.decode(z) -> x, one-hot, of members of the space
      embedding.predict(z) -> {"accuracy", "accuracy_std", "log10_params"},
        each [N]
      embedding.compress(z, numbers, num_steps, learning_rate) -> {"z" [N, D],
        "objective" [num_steps, N]}; `numbers` holds the objective's fields in
        their order, such as [0.05], and `num_steps` is an int32.

    They are signatures too.  `assets.extra/layout.json` says what the columns
    of x mean: the space, the groups of columns and the order of the kinds; and
    which fields the objective has.

    Args:
      autoencoder: trained, with its heads fitted.
      directory: where to; replaced if it is there.
      objective_type: the class of the objectives that `compress` follows.
    """
    descent = Descent(autoencoder, objective_type)
    encoding = autoencoder.encoding
    fields = [field.name for field in dataclasses.fields(objective_type)]
    x_spec = tf.TensorSpec((None, *encoding.shape), tf.float32, "x")
    z_spec = tf.TensorSpec((None, autoencoder.latent_dim), tf.float32, "z")

    @tf.function(input_signature=[x_spec])
    def encode(x):
        return autoencoder.encoder(x, training=False)

    @tf.function(input_signature=[z_spec])
    def decode(z):
        logits = autoencoder.decoder(z, training=False)
        return _choose(encoding, logits)

    @tf.function(input_signature=[z_spec])
    def predict(z):
        names = ("accuracy", "accuracy_std", "log10_params")
        return dict(zip(names, autoencoder.heads(z), strict=True))

    @tf.function(
        input_signature=[
            z_spec,
            tf.TensorSpec((len(fields),), tf.float32, "numbers"),
            tf.TensorSpec((), tf.int32, "num_steps"),
            tf.TensorSpec((), tf.float32, "learning_rate"),
        ]
    )
    def compress(z, numbers, num_steps, learning_rate):
        numbers = {
            name: tf.fill(tf.shape(z)[:1], numbers[index])
            for index, name in enumerate(fields)
        }
        z, trace = descent.descend(z, numbers, num_steps, learning_rate)
        return {"z": z, "objective": trace["objective"]}

    _write(
        autoencoder,
        directory,
        encode=encode,
        decode=decode,
        predict=predict,
        compress=compress,
    )
    layout = {
        "space": autoencoder.space.to_dict(),
        "kinds": encoding.kinds,
        "groups": {
            name: [group.start, group.stop]
            for name, group in encoding.groups.items()
        },
        "objective": {"name": objective_type.__name__, "fields": fields},
    }
    extra = pathlib.Path(directory) / "assets.extra"
    extra.mkdir()
    (extra / "layout.json").write_text(json.dumps(layout, indent=1) + "\n")


def _choose(encoding: Encoding, logits: tf.Tensor) -> tf.Tensor:
    """Logits `[N, L, F]` -> x of the members that they favour.

    `Encoding.decode` and `Encoding.encode` in one, as a graph.
    """
    logits = tf.where(encoding.mask, logits, -float("inf"))
    used, columns = None, []
    for index, group in enumerate(encoding.groups.values()):
        choice = tf.argmax(logits[..., group], axis=-1)
        if used is None:  # the first group is the kind
            used = tf.gather(tf.cast(encoding.uses, tf.float32), choice)
        one_hot = tf.one_hot(choice, group.stop - group.start)
        columns.append(one_hot * used[..., index, None])
    return tf.concat(columns, axis=-1)


def _write(model: keras.Model, directory: str | os.PathLike, **endpoints):
    """Writes a SavedModel with named endpoints."""
    if os.path.isdir(directory):
        shutil.rmtree(directory)
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function in endpoints.items():
        archive.add_endpoint(name, function)
    archive.write_out(os.fspath(directory), verbose=False)
