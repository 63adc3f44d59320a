"""Writes a trained classifier as files that need nothing of this package."""

from __future__ import annotations

import os
import shutil
import zipfile

import keras
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

    if os.path.isdir(directory):
        shutil.rmtree(directory)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("classify", classify)
    archive.write_out(os.fspath(directory), verbose=False)
