"""Writes trained models as files that need nothing of this package."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import zipfile

import keras
import tensorflow as tf

from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.descent import Descent
from archcomp_tf.encoding import Encoding
from archcomp_tf.objective import LogParams, Objective


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
    bare = keras.models.clone_model(model)
    bare.set_weights(model.get_weights())
    bare.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def export_saved_model(
    model: keras.Model, directory: str | os.PathLike
) -> None:
    """Writes a SavedModel with one named endpoint.

    With `model = tf.saved_model.load(directory)`, `model.classify(images)`
    takes uint8 images `[N, height, width, channels]`, any N, and gives the
    probabilities of the classes, float32 `[N, num_classes]`.  It is the serving
    default too.

    Args:
      model: float images in [0, 1] -> logits.
      directory: where to; replaced if it is there.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, "images")
        ]
    )
    def classify(images):
        return tf.nn.softmax(model(tf.cast(images, tf.float32) / 255))

    _write(model, directory, classify=classify)


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
